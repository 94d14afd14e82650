/** Batches at the shard: the same as their calls one by one where all succeed, and nothing at all where one does not. */
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Actors } from "../../src/actor/actors.ts";
import { decodeEntry, stateAfter } from "../../src/actor/entry.ts";
import type { Answer, Call, Shard } from "../../src/actor/shard.ts";
import type { Message } from "../../src/actor/word.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { BATCH_RESOLVED_BYTES_MAX, TURN_FUEL_MAX, TURN_OUTPUT_BYTES_MAX } from "../../src/limits.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import { type BatchCall, resultOf } from "../../src/sdk/batch.ts";
import { anyLetter, anyProtocol } from "../protocol/arbitrary.ts";
import { prefixes, WORD_LENGTH_MAX } from "../protocol/oracle.ts";
import { batchOf, caveat, shardOf, TOOK } from "./counter.ts";
import { LEDGER, ledgerBatch, ledgerRun, messagesOf, singly } from "./ledger.ts";
import { changesOf, loaded, Shelf, ShelfLog } from "./shelf.ts";

const ACTOR = "t/account/1";

class Node {
  readonly shelf: Shelf;
  readonly actors: Actors;
  readonly log: ShelfLog;
  readonly shard: Shard;

  constructor(shelf = new Shelf()) {
    this.shelf = shelf;
    this.log = new ShelfLog(shelf);
    this.actors = shelf.recover();
    this.shard = shardOf({ actors: this.actors, log: this.log, read: shelf.read });
  }

  async each(calls: readonly Call[]): Promise<(Answer | Refusal)[]> {
    const answers: (Answer | Refusal)[] = [];
    for (const call of calls) answers.push(await this.shard.call(call));
    return answers;
  }

  batch(calls: readonly BatchCall[], given: Partial<Call> = {}): Promise<Answer | Refusal> {
    return this.shard.call(ledgerBatch(messagesOf(calls), given));
  }

  /** What the next call would meet, but for nonces and kept replies. */
  async position() {
    const { state, behaviour, monitors } = await loaded(this.actors, ACTOR, this.shelf.read);
    return { state, behaviour, monitors: new Map(monitors) };
  }

  async balance(): Promise<number | undefined> {
    const { state } = await this.position();
    return state === undefined ? undefined : (JSON.parse(state) as { balance: number }).balance;
  }
}

const once = (key: string, digest = "d") => ({ idempotency: { key, digest } });
const open = { message: "open" };
const deposit = (args: BatchCall["args"] = 1) => ({ message: "deposit", args }) as BatchCall;
const withdraw = (args: BatchCall["args"] = 1) => ({ message: "withdraw", args }) as BatchCall;
const echo = (args: BatchCall["args"]) => ({ message: "echo", args }) as BatchCall;

describe("a batch", () => {
  test("is answered with a result for each call, and is one entry with all inputs of its turns", async () => {
    const node = new Node();
    const answer = await node.batch([open, deposit(5), withdraw(resultOf(1, "balance"))]);
    const replies = [{ balance: 0 }, { balance: 5 }, { balance: 0 }];
    expect(answer).toEqual({ reply: replies, kept: false });
    expect(node.shelf.entries).toHaveLength(1);
    const entry = decodeEntry(node.shelf.entries[0] ?? "");
    expect(entry).toMatchObject({ batch: true });
    expect(entry.turns.map(([message, args, , reply]) => [message, args, reply])).toEqual([
      ["open", {}, replies[0]],
      ["deposit", 5, replies[1]],
      ["withdraw", 5, replies[2]],
    ]);
    expect(new Set(entry.turns.map(([, , seed]) => seed)).size).toBe(3);
  });

  test("can be run again from its entry: each turn answers the same, and the state is the entry's", async () => {
    const node = new Node();
    await node.batch([open, deposit(7)]);
    await node.batch([deposit(5), echo({ a: [1] }), withdraw(resultOf(0, "balance"))]);
    let state: string | undefined;
    for (const text of node.shelf.entries) {
      const entry = decodeEntry(text);
      const after = stateAfter(entry, state) ?? state;
      for (const [message, args, seed, reply] of entry.turns) {
        const turn = await ledgerRun({ state, message, args, seed, now_ms: entry.at, actor: "account/1" });
        if (isRefusal(turn)) throw new Error(turn.detail);
        expect(turn.reply).toEqual(reply);
        state = turn.state ?? state;
      }
      expect(state).toBe(after);
    }
  });

  test("of one call is answered with an array, too", async () => {
    expect(await new Node().batch([open])).toEqual({ reply: [{ balance: 0 }], kept: false });
  });

  test("under an idempotency key takes effect once; the key is of the batch", async () => {
    const node = new Node();
    const first = await node.batch([open, deposit(5)], once("k"));
    expect(await node.batch([open, deposit(5)], once("k"))).toEqual({ ...first, kept: true });
    expect(await node.batch([open, deposit(6)], once("k", "other"))).toMatchObject({
      code: "idempotency_mismatch",
    });
    const next = new Node(node.shelf);
    expect(await next.batch([open, deposit(5)], once("k"))).toEqual({ ...first, kept: true });
    next.shelf.checkpoint(next.actors);
    expect(await new Node(next.shelf).batch([open, deposit(5)], once("k"))).toEqual({ ...first, kept: true });
    expect(await next.balance()).toBe(5);
  });

  test("of reads whose monitors come back to where they were is no entry: it has only looked", async () => {
    const node = new Node();
    await node.batch([open, deposit(5)]);
    const before = await node.position();
    const monitors = [caveat("there-and-back", "(echo ; balance)*")];
    const looked = await node.batch([echo(1), { message: "balance" }], { monitors, ...once("k") });
    expect(looked).toMatchObject({ reply: [1, { balance: 5 }], kept: false });
    expect(await node.position()).toEqual(before);
    expect(node.shelf.entries).toHaveLength(1);
    await node.batch([echo(1)], { monitors });
    expect(node.shelf.entries).toHaveLength(2);
    expect(node.shelf.entries.at(-1)).not.toMatch(/"state"|"delta"/);
  });
});

describe("a batch that fails", () => {
  const failing: Record<string, [BatchCall[], object]> = {
    "in the handler": [
      [deposit(5), withdraw(100), deposit(1)],
      { code: "handler_error", facts: { call: 1, handler_code: "too_little" } },
    ],
    "for its order": [
      [deposit(5), open],
      {
        code: "out_of_order",
        facts: { call: 1, enabled: ["balance", "close", "deposit", "echo", "withdraw"] },
      },
    ],
    "for its order after it was closed, with what was enabled there": [
      [{ message: "close" }, deposit(5)],
      { code: "out_of_order", facts: { call: 1, enabled: [] } },
    ],
    "for a reference to what is not there": [
      [deposit(5), echo({ a: [resultOf(0, "nothing")] })],
      { code: "schema_violation", facts: { call: 1, path: "/a/0" } },
    ],
    "for a reference into what is no object": [
      [deposit(5), echo(resultOf(0, "balance", "cents"))],
      { code: "schema_violation", facts: { call: 1, path: "" } },
    ],
    "for a reference to a name that every object has": [
      [deposit(5), echo(resultOf(0, "constructor"))],
      { code: "schema_violation", facts: { call: 1 } },
    ],
    "for what a resolved argument is": [
      [echo("much"), deposit(resultOf(0))],
      { code: "schema_violation", facts: { call: 1 } },
    ],
  };

  test.each(Object.entries(failing))("%s has no effect, and names the call", async (_, [calls, refusal]) => {
    const node = new Node();
    await node.batch([open, deposit(50)]);
    const before = [node.shelf.entries, changesOf(node.actors)];
    expect(await node.batch(calls, once("k"))).toMatchObject(refusal);
    expect([node.shelf.entries, changesOf(node.actors)]).toEqual(before);
    // The key was not used up.
    expect(await node.batch([deposit(1)], once("k", "another"))).toMatchObject({ kept: false });
  });

  test("is refused for its order before any of it has run", async () => {
    const node = new Node();
    let runs = 0;
    const messages = messagesOf([open, deposit(5), open], (turn) => {
      runs++;
      return ledgerRun(turn);
    });
    expect(await node.shard.call(ledgerBatch(messages))).toMatchObject({
      code: "out_of_order",
      facts: { call: 2 },
    });
    expect(runs).toBe(0);
  });

  test("because a message that reads has changed the state names it", async () => {
    const [first, second] = messagesOf([open, deposit(5)]);
    const answer = await new Node().shard.call(ledgerBatch([first, { ...second, reads: true }] as Message[]));
    expect(answer).toMatchObject({ code: "handler_invalid", facts: { call: 1 } });
  });

  test("in a single call names none", async () => {
    const [call] = singly(messagesOf([deposit(5)]));
    const answer = await new Node().shard.call(call as Call);
    expect(answer).toMatchObject({ code: "out_of_order" });
    expect((answer as Refusal).facts.call).toBeUndefined();
  });
});

describe("bounds", () => {
  test("the turns of a batch share the fuel of one turn", async () => {
    const given: number[] = [];
    const messages = messagesOf([open, deposit(), deposit()], async (turn, { fuel }) => {
      given.push(fuel);
      const done = await ledgerRun(turn);
      return isRefusal(done) ? done : { ...done, fuel: TURN_FUEL_MAX / 2 };
    });
    await new Node().shard.call(ledgerBatch(messages));
    expect(given).toEqual([TURN_FUEL_MAX, TURN_FUEL_MAX / 2, 0]);
  });

  test("and its output", async () => {
    const node = new Node();
    const large = (output_bytes: number) =>
      messagesOf([open, echo(1), echo(2)], async (turn) => {
        const done = await ledgerRun(turn);
        return isRefusal(done) || turn.message === "open" ? done : { ...done, output_bytes };
      });
    const half = (TURN_OUTPUT_BYTES_MAX - TOOK.output_bytes) / 2;
    expect(await node.shard.call(ledgerBatch(large(half + 1)))).toMatchObject({
      code: "too_large",
      facts: { call: 2 },
    });
    expect(await node.shard.call(ledgerBatch(large(half)))).toMatchObject({ kept: false });
  });

  test("references do not multiply what was sent", async () => {
    const node = new Node();
    // Each call would be three times as large as the one before.
    const tripling = Array.from({ length: 15 }, (_, i) => echo([resultOf(i), resultOf(i), resultOf(i)]));
    expect(await node.batch([open, ...tripling])).toMatchObject({ code: "too_large" });
    const copying = Array.from({ length: 14 }, () => echo(resultOf(1)));
    expect(await node.batch([open, echo("x".repeat(1000)), ...copying])).toMatchObject({ kept: false });
    const large = echo("x".repeat(BATCH_RESOLVED_BYTES_MAX / 4));
    const copies = [0, 1, 2, 3].map(() => echo(resultOf(0)));
    expect(await node.batch([large, ...copies])).toMatchObject({ code: "too_large", facts: { call: 4 } });
    expect(await node.batch([large, ...copies.slice(1)])).toMatchObject({ kept: false });
    // Written out, this would be more than a string may hold.
    const crowd = echo(Array.from({ length: 1000 }, () => resultOf(0)));
    const whole = echo("x".repeat(BATCH_RESOLVED_BYTES_MAX - 1000));
    expect(await node.batch([whole, crowd])).toMatchObject({ code: "too_large", facts: { call: 1 } });
    const beside = echo({ own: "x".repeat(BATCH_RESOLVED_BYTES_MAX * 0.8), other: resultOf(0) });
    expect(await node.batch([large, beside])).toMatchObject({ code: "too_large", facts: { call: 1 } });
  });

  test("nor nest deeper than a document may", async () => {
    const node = new Node();
    const nesting = Array.from({ length: 15 }, (_, i) => echo([[[[[resultOf(i)]]]]]));
    expect(await node.batch([open, ...nesting.slice(0, 12)])).toMatchObject({ kept: false });
    const answer = await node.batch([deposit(), ...nesting]);
    expect(answer).toMatchObject({ code: "too_large", facts: { call: 13 } });
  });
});

// ── Properties ───────────────────────────────────────────────────────────────────────────────────────────

/** A call before it is written: `back` says how many calls before it one stands that it refers to. */
interface Draft {
  readonly message: string;
  readonly amount: number;
  readonly back: number;
  /** What its handler becomes. */
  readonly become: string | undefined;
}

const BECOME = new Map([
  ["frozen", "(balance | echo)* ; close"],
  ["drained", "(withdraw | balance | echo)* ; close"],
  ["wide", "(open | deposit)*"],
]);

const anyDraft: fc.Arbitrary<Draft> = fc.record({
  message: fc.oneof(
    { arbitrary: fc.constantFrom("deposit", "withdraw", "balance", "echo"), weight: 12 },
    { arbitrary: fc.constantFrom("open", "close"), weight: 1 },
  ),
  amount: fc.integer({ min: 0, max: 9 }),
  back: fc.nat(6),
  become: fc.oneof(
    { arbitrary: fc.constant(undefined), weight: 8 },
    { arbitrary: fc.constantFrom("frozen", "drained", "wide", "unnamed"), weight: 1 },
  ),
});

/** Messages whose handlers become what their drafts say. */
const becoming = (messages: readonly Message[], drafts: readonly Pick<Draft, "become">[]): Message[] =>
  messages.map((message, i) => {
    const become = drafts[i]?.become;
    const run: Message["run"] = async (...turn) => {
      const done = await message.run(...turn);
      return isRefusal(done) || become === undefined ? done : { ...done, become };
    };
    return Object.assign({}, message, { run });
  });

/** The call that it refers to, if there is one whose result says a balance. */
function referring(drafts: readonly Draft[], index: number): number | undefined {
  const { message, back } = drafts[index] as Draft;
  const target = index - back;
  if (back === 0 || target < 0 || !["deposit", "withdraw", "echo"].includes(message)) return undefined;
  return drafts[target]?.message === "echo" ? undefined : target;
}

const inBatch = (drafts: readonly Draft[]): BatchCall[] =>
  drafts.map(({ message, amount }, i) => {
    const target = referring(drafts, i);
    const value = target === undefined ? amount : resultOf(target, "balance");
    return { message, args: message === "echo" ? { value, $own: "$0" } : value };
  });

/** The same call by itself, with what the replies before it were. */
function alone(drafts: readonly Draft[], index: number, replies: readonly Json[]): Json {
  const { message, amount } = drafts[index] as Draft;
  const target = referring(drafts, index);
  const value = target === undefined ? amount : (replies[target] as { balance: number }).balance;
  return message === "echo" ? { value, $own: "$0" } : value;
}

const chain = [
  caveat("root", "open ; (deposit | withdraw | balance | echo)*"),
  caveat("leaf", "(open | deposit | withdraw | echo{0,3} ; balance?)* ; close?"),
];

describe("law: a batch is the same as its calls one by one, or nothing", () => {
  test("holds for random words on random accounts, also after recovery", async () => {
    let whole = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(30),
        fc.array(anyDraft, { minLength: 1, maxLength: 7 }),
        fc.boolean(),
        fc.constantFrom("none", "from the log", "from a checkpoint"),
        async (funds, drafts, caveated, restart) => {
          const monitors = caveated ? chain : [];
          const opening = ledgerBatch(messagesOf([open, deposit(funds)]), { monitors: chain });
          const [begun, one] = await Promise.all(
            [new Node(), new Node()].map(async (node) => {
              await node.shard.call(opening);
              if (restart === "from a checkpoint") node.shelf.checkpoint(node.actors);
              return restart === "none" ? node : new Node(node.shelf);
            }),
          );
          if (begun === undefined || one === undefined) throw new Error("no nodes");
          expect(await one.position()).toEqual(await begun.position());

          const before = await begun.position();
          const entries = begun.shelf.entries.length;
          const messages = becoming(messagesOf(inBatch(drafts)), drafts);
          const given = { monitors, become: BECOME };
          const answer = await begun.shard.call(ledgerBatch(messages, given));

          const replies: Json[] = [];
          let stopped: Refusal | undefined;
          for (const [index, message] of messages.entries()) {
            const single = { ...message, args: alone(drafts, index, replies), references: new Map() };
            const [call] = singly([single], given);
            const reply = await one.shard.call(call as Call);
            if (isRefusal(reply)) stopped ??= reply;
            if (isRefusal(reply)) break;
            replies.push(reply.reply);
          }

          if (stopped === undefined) {
            whole++;
            expect(answer).toEqual({ reply: replies, kept: false });
            expect(await begun.position()).toEqual(await one.position());
            // What only looked has no entry; nothing has more than one.
            const written = begun.shelf.entries.length - entries;
            const hasMoved = !isDeepStrictEqual(await begun.position(), before);
            expect(written).toBeLessThanOrEqual(1);
            if (hasMoved || drafts.some(({ message }) => message !== "balance" && message !== "echo"))
              expect(written).toBe(1);
          } else {
            refused++;
            if (!isRefusal(answer)) throw new Error("the batch was done");
            // Order is looked at first, over the whole word, under what the actor has not become yet.
            const { call = 0 } = answer.facts;
            const hasBecome = drafts.slice(0, replies.length).some(({ become }) => become !== undefined);
            expect(call).toBeGreaterThanOrEqual(replies.length);
            if (call > replies.length || (hasBecome && answer.code === "out_of_order"))
              expect(answer.code).toBe("out_of_order");
            else expect(answer).toEqual(stopped.with({ call: replies.length }));
            expect(await begun.position()).toEqual(before);
            expect(begun.shelf.entries).toHaveLength(entries);
          }
          const kept = await begun.position();
          expect(await new Node(begun.shelf).position()).toEqual(kept);
        },
      ),
      { numRuns: 500 },
    );
    expect(Math.min(whole, refused)).toBeGreaterThan(40);
  });

  test("holds where the node dies while the batch is written: it is there whole or not at all", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyDraft, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        async (drafts, cut) => {
          const node = new Node();
          await node.batch([open, deposit(20)]);
          const before = await node.position();
          node.log.cut = cut;
          const answer = await node.batch(inBatch(drafts), once("k"));
          const next = new Node(node.shelf);
          if (cut || isRefusal(answer)) expect(await next.position()).toEqual(before);
          else expect(await next.position()).toEqual(await node.position());
          // Whoever asks again gets the same answer, or the first one that counts.
          const again = await next.batch(inBatch(drafts), once("k"));
          // What only looked has left nothing behind, not even its reply.
          const isWritten = drafts.some(({ message }) => message !== "balance" && message !== "echo");
          if (!cut && !isRefusal(answer)) expect(again).toEqual({ reply: answer.reply, kept: isWritten });
          else if (!isRefusal(again)) expect(again.kept).toBe(false);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe("a batch whose handler becomes something", () => {
  const batch = (node: Node, calls: readonly BatchCall[], ...become: readonly (string | undefined)[]) => {
    const drafts = become.map((name) => ({ become: name }));
    return node.shard.call(ledgerBatch(becoming(messagesOf(calls), drafts), { become: BECOME }));
  };

  test("goes on under it, and the actor after it", async () => {
    const node = new Node();
    const calls = [open, deposit(5), { message: "balance" }];
    expect(await batch(node, calls, undefined, "frozen")).toMatchObject({ kept: false });
    expect((await node.position()).behaviour).toMatchObject({ name: "frozen", state: 0 });
    expect(await new Node(node.shelf).batch([deposit()])).toMatchObject({ facts: { behaviour: "frozen" } });
  });

  test("is refused where the rest of it is not admitted under that any more, and has no effect", async () => {
    const node = new Node();
    const calls = [open, deposit(5), { message: "balance" }, deposit(1)];
    expect(await batch(node, calls, undefined, "frozen")).toMatchObject({
      code: "out_of_order",
      facts: { call: 3, behaviour: "frozen", enabled: ["balance", "close", "echo"], moved_by_sibling: false },
    });
    expect(node.shelf.entries).toEqual([]);
    expect((await node.position()).behaviour).toBeUndefined();
  });

  test("is refused where that is no narrower, or the message only reads", async () => {
    const node = new Node();
    for (const [name, index] of [
      ["wide", 1],
      ["unnamed", 1],
      ["frozen", 2],
    ] as const) {
      const become = [0, 1, 2].map((i) => (i === index ? name : undefined));
      const answer = await batch(node, [open, deposit(5), { message: "balance" }], ...become);
      expect(answer).toMatchObject({ code: "handler_invalid", facts: { call: index } });
    }
    expect(node.shelf.entries).toEqual([]);
  });

  test("may become something narrower still", async () => {
    const node = new Node();
    const calls = [open, deposit(5), withdraw(2), { message: "balance" }];
    expect(await batch(node, calls, undefined, "drained", "frozen")).toMatchObject({ kept: false });
    expect((await node.position()).behaviour).toMatchObject({ name: "frozen" });
    expect(await batch(new Node(), calls, undefined, "frozen", "drained")).toMatchObject({
      code: "out_of_order",
      facts: { call: 2 },
    });
  });
});

test("who has moved what refuses is told as it was at that call", async () => {
  const node = new Node();
  const monitors = [caveat("m", "open ; deposit ; withdraw")];
  const token = (digest: string) => ({ monitors, token: { root: "r", digest } });
  await node.batch([open], token("another"));
  expect(await node.batch([withdraw()], token("mine"))).toMatchObject({ facts: { moved_by_sibling: true } });
  expect(await node.batch([deposit(), deposit()], token("mine"))).toMatchObject({
    facts: { call: 1, moved_by_sibling: false },
  });
  // What the call itself has become, nobody else has brought about.
  const other = new Node();
  await other.batch([open], token("another"));
  const messages = becoming(messagesOf([deposit(), deposit()]), [{ become: "frozen" }]);
  const mine = { ...token("mine"), monitors: [], become: BECOME };
  expect(await other.shard.call(ledgerBatch(messages, mine))).toMatchObject({
    facts: { call: 1, behaviour: "frozen", moved_by_sibling: false },
  });
});

describe("law: a word is admitted exactly if it is admitted step by step", () => {
  const ok = async () => ({ ...TOOK, reply: null, state: "1" });
  const message = (name: string, index: number): Message => ({
    name,
    args: null,
    references: new Map(),
    seed: `w${index}`,
    reads: false,
    run: ok,
  });
  const given = (behaviour: Protocol, caveats: readonly Protocol[]) => ({
    behaviour: printProtocol(behaviour),
    monitors: caveats.map((protocol, i) => caveat(`m${i}`, printProtocol(protocol))),
  });

  test("holds for chains of random protocols, against an oracle without derivatives", async () => {
    let admitted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        anyProtocol,
        fc.array(anyProtocol, { maxLength: 3 }),
        fc.array(anyLetter, { maxLength: 2 }),
        fc.array(anyLetter, { minLength: 1, maxLength: WORD_LENGTH_MAX - 2 }),
        async (behaviour, caveats, done, word) => {
          const allowed = [behaviour, ...caveats].map(prefixes);
          const isAllowed = (letters: readonly string[]) =>
            allowed.every((words) => words.has(letters.join("")));
          const first = done.findIndex((_, i) => !isAllowed(done.slice(0, i + 1)));
          const past = first < 0 ? done : done.slice(0, first);
          const node = new Node();
          const call = given(behaviour, caveats);
          for (const [i, letter] of past.entries())
            expect(
              await node.shard.call(batchOf([message(letter, i)], { ...call, batch: false })),
            ).toMatchObject({
              kept: false,
            });
          const before = await node.position();
          const [head, ...rest] = word.map((letter, i) => message(letter, 10 + i));
          const answer = await node.shard.call(batchOf([head as Message, ...rest], call));
          const failing = word.findIndex((_, i) => !isAllowed([...past, ...word.slice(0, i + 1)]));
          if (failing < 0) {
            admitted++;
            expect(answer).toMatchObject({ kept: false });
            return;
          }
          refused++;
          const letters = ["a", "b", "c"];
          const enabled = letters.filter((letter) => isAllowed([...past, ...word.slice(0, failing), letter]));
          expect(answer).toMatchObject({ code: "out_of_order", facts: { call: failing, enabled } });
          expect(await node.position()).toEqual(before);
        },
      ),
      { numRuns: 600 },
    );
    expect(Math.min(admitted, refused)).toBeGreaterThan(60);
  });
});

test("a batch's turns see the behaviour that the actor lives under", async () => {
  const node = new Node();
  await node.batch([open]);
  expect(await node.batch([deposit(), open], { behaviour: "(open | deposit)*" })).toMatchObject({
    code: "out_of_order",
    facts: { call: 1 },
  });
  expect((await node.position()).behaviour?.expression).toBe(LEDGER);
});

test("what a handler refuses in the middle is refused as it said", async () => {
  const messages = messagesOf([open, deposit(), deposit()], async (turn) =>
    turn.message === "deposit" ? refuse("handler_trapped", "unreachable") : ledgerRun(turn),
  );
  expect(await new Node().shard.call(ledgerBatch(messages))).toMatchObject({
    code: "handler_trapped",
    detail: "unreachable",
    facts: { call: 1 },
  });
});
