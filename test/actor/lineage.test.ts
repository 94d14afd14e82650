/**
 * Law 3 as a property: whatever lineage of tokens calls an actor, in whatever order, with retries, whatever the actor
 * becomes, and wherever its node crashes, what it has seen lies in the protocol of every ancestor caveat, in the
 * behaviour that it began under, and since it became something in that, too.
 *
 * Tokens are real: minted, attenuated, split, copied, verified. What they must allow is said by an oracle that knows
 * nothing of automata, monitors or logs: the turns that count, filtered by who carries which caveat.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Actors } from "../../src/actor/actors.ts";
import { decodeEntry } from "../../src/actor/entry.ts";
import { writeRecord } from "../../src/actor/record.ts";
import type { Answer, Call, CaveatMonitor, EntryLog, Shard } from "../../src/actor/shard.ts";
import { formatLabelledProtocol } from "../../src/authorize/caveats.ts";
import { toHex, utf8 } from "../../src/bytes.ts";
import type { Turn } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import { parseProtocol } from "../../src/protocol/grammar.ts";
import { monitorId, tokenDigest } from "../../src/protocol/monitor.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import { split } from "../../src/sdk/split.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { ACCESS, SIGNATURES } from "../authorize/arbitrary.ts";
import { anyLetter, anyProtocol, repeat } from "../protocol/arbitrary.ts";
import { begin, follow, type Nfa, nfaOf, type States, sizeOf } from "../protocol/nfa.ts";
import { LETTERS } from "../protocol/oracle.ts";
import { authorize } from "../support/authorize.ts";
import { must } from "../support/gate.ts";
import { callOf, compiled, NOW_MS, protocols, shardOf } from "./counter.ts";
import { loaded, quiet, Shelf } from "./shelf.ts";

const SECRET = new Secret(utf8("a root key of a tenant, 32 bytes"));
const ADDRESS = "t/account/1";
/** This message is declared to read, and its turn changes nothing. */
const READS = "c";

// ── The lineage ────────────────────────────────────────────────────────────────────────────────────────────

const nonceOf = (root: number): string => String(root).padStart(22, "A");

function minted(root: number): Macaroon {
  const identifier = `postern/1 tenant=t kid=1 nonce=${nonceOf(root)}`;
  return must(
    attenuate(mintMacaroon(SECRET, identifier), ["actor = account/*", "expires < 2030-01-01T00:00:00Z"]),
  );
}

/** A protocol caveat, by the chain signature at it: all who descend from there share it. */
interface Shared {
  readonly tail: string;
  readonly expression: string;
}

interface Token {
  readonly shared: readonly Shared[];
  readonly call: Pick<Call, "monitors" | "messages" | "token">;
}

/** What a gate makes of a token, and what the oracle does. `undefined` where the token does not pass at all. */
function presented(macaroon: Macaroon): Token | undefined {
  const verified = must(verify(macaroon, SECRET));
  const actor = { type: "account", id: "1" };
  const access = { ...ACCESS, actor, message: "any", now_ms: NOW_MS, signer: "" };
  const grant = authorize(verified, access, { holder: "optional", signatures: SIGNATURES });
  if (isRefusal(grant)) return undefined;
  const monitors = grant.protocols.map(({ index, text, expression, tail, until_ms }): CaveatMonitor => {
    return { id: monitorId(tail), automaton: compiled(expression), caveat: { index, text }, until_ms };
  });
  const token = { root: grant.root, digest: tokenDigest(grant.tail) };
  const shared = grant.protocols.map(({ tail, expression }) => ({ tail: toHex(tail), expression }));
  return { shared, call: { monitors, messages: grant.messages, token } };
}

// ── The oracle ─────────────────────────────────────────────────────────────────────────────────────────────

const nfas = new Map<string, Nfa>();

/** Whether the word is the beginning of one that the protocol has. */
function admits(expression: string, word: readonly string[]): boolean {
  return statesAfter(expression, word).size > 0;
}

function statesAfter(expression: string, word: readonly string[]): States {
  let states: States = begin(nfaFor(expression));
  for (const message of word) states = follow(nfaFor(expression), states, message);
  return states;
}

function nfaFor(expression: string): Nfa {
  const nfa = nfas.get(expression) ?? nfaOf(must(parseProtocol(expression)));
  nfas.set(expression, nfa);
  return nfa;
}

/** A turn that took place: by which token, and the entry that says so; a read that moved nothing has none. */
interface Taken {
  readonly token: Token;
  readonly message: string;
  readonly entry: number | undefined;
  /** The behaviour that the actor went on under after it. */
  readonly became: string | undefined;
}

const wordOf = (turns: readonly Taken[]): readonly string[] => turns.map(({ message }) => message);
const through = (turns: readonly Taken[], tail: string): readonly Taken[] =>
  turns.filter(({ token }) => token.shared.some((shared) => shared.tail === tail));

/** Whether the rest of the outer protocol has every beginning that the inner one has. */
function fits(inner: string, outer: string, word: readonly string[]): boolean {
  const queue = [{ left: begin(nfaFor(inner)), right: statesAfter(outer, word) }];
  const seen = new Set<string>();
  for (const { left, right } of queue) {
    if (left.size === 0) continue;
    if (right.size === 0) return false;
    const key = [left, right].map((states) => [...states].toSorted((a, b) => a - b).join()).join(";");
    if (seen.has(key)) continue;
    seen.add(key);
    for (const letter of LETTERS)
      queue.push({
        left: follow(nfaFor(inner), left, letter),
        right: follow(nfaFor(outer), right, letter),
      });
  }
  return true;
}

/** What the actor lives under, and what it has seen since. */
function underOf(turns: readonly Taken[], behaviour: string) {
  const last = turns.findLastIndex(({ became }) => became !== undefined);
  return { expression: turns[last]?.became ?? behaviour, word: wordOf(turns.slice(last + 1)) };
}

/** Who forbids that this message comes next. */
function forbiddenBy(turns: readonly Taken[], behaviour: string, token: Token, message: string): string[] {
  const caveats = token.shared.map(({ tail, expression }) => ({
    expression,
    word: wordOf(through(turns, tail)),
  }));
  const all = [...caveats, underOf(turns, behaviour)];
  return all
    .filter(({ expression, word }) => !admits(expression, [...word, message]))
    .map(({ expression }) => expression);
}

// ── The node ───────────────────────────────────────────────────────────────────────────────────────────────

/** Entries become durable one by one, when the test says so; after a crash the rest never does. */
class SlowLog implements EntryLog {
  readonly #shelf: Shelf;
  readonly #waiting: {
    readonly entry: string;
    readonly settled: PromiseWithResolvers<Refusal | undefined>;
  }[] = [];
  #last: Promise<Refusal | undefined> = Promise.resolve(undefined);
  readonly ended = undefined;
  appended = 0;
  landed = 0;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  append(entry: string): Promise<Refusal | undefined> {
    const settled = Promise.withResolvers<Refusal | undefined>();
    this.#waiting.push({ entry, settled });
    this.appended++;
    this.#last = settled.promise;
    return settled.promise;
  }

  settled(): Promise<Refusal | undefined> {
    return this.#last;
  }

  confirm(): Promise<Refusal | undefined> {
    return this.#last;
  }

  /** So many more are durable. */
  land(count: number): void {
    for (const { entry, settled } of this.#waiting.splice(0, count)) {
      this.#shelf.entries = [...this.#shelf.entries, entry];
      this.landed++;
      settled.resolve(undefined);
    }
  }

  /** Some may have become durable without anybody hearing of it. */
  crash(durable: number): void {
    const lost = this.#waiting.splice(0);
    for (const { entry } of lost.slice(0, durable)) this.#shelf.entries = [...this.#shelf.entries, entry];
    this.landed += Math.min(durable, lost.length);
    for (const { settled } of lost) settled.resolve(refuse("outcome_unknown", "it crashed"));
  }
}

interface Attempt {
  readonly token: Token;
  readonly message: string;
  readonly key: string;
  readonly fails: boolean;
  readonly become: string | undefined;
}

class World {
  readonly #behaviour: string;
  readonly #become: ReadonlyMap<string, string>;
  readonly macaroons: Macaroon[] = [];
  readonly #tokens = new Map<Macaroon, Token | undefined>();
  readonly #attempts: Attempt[] = [];
  readonly #replies = new Map<string, unknown>();
  /** The seed of the turn that each key has had. */
  readonly #effects = new Map<string, string>();
  readonly #shelf = new Shelf();
  #actors!: Actors;
  #log!: SlowLog;
  #shard!: Shard;
  /** In the order of the turns; those not yet durable come last. */
  #turns: Taken[] = [];
  readonly #answers: Promise<void>[] = [];
  readonly counts = { taken: 0, outOfOrder: 0, kept: 0, lost: 0, deep: 0, became: 0, wider: 0 };

  constructor(behaviour: string, become: readonly string[], roots: number) {
    this.#behaviour = behaviour;
    this.#become = new Map(become.map((expression, i) => [`b${i}`, expression]));
    for (let root = 0; root < roots; root++) this.macaroons.push(minted(root));
    this.#start();
  }

  #start(): void {
    this.#actors = this.#shelf.recover();
    this.#log = new SlowLog(this.#shelf);
    this.#shard = shardOf({ actors: this.#actors, log: this.#log, read: this.#shelf.read });
  }

  #token(macaroon: Macaroon): Token | undefined {
    if (!this.#tokens.has(macaroon)) this.#tokens.set(macaroon, presented(macaroon));
    return this.#tokens.get(macaroon);
  }

  pick<T>(from: readonly T[], number: number): T {
    return from[number % from.length] as T;
  }

  /** @param bold sends the letter as it is; who is not bold sends one that is admitted, where there is one */
  async call(
    who: number,
    letter: string,
    bold: boolean,
    handler: Pick<Attempt, "fails" | "become">,
  ): Promise<void> {
    const token = this.#token(this.pick(this.macaroons, who));
    if (token === undefined) return;
    const isAdmitted = (next: string) => forbiddenBy(this.#turns, this.#behaviour, token, next).length === 0;
    const message = bold ? letter : (LETTERS.find(isAdmitted) ?? letter);
    const attempt = { token, message, key: `key ${this.#attempts.length}`, ...handler };
    this.#attempts.push(attempt);
    await this.#send(attempt);
  }

  async retry(which: number): Promise<void> {
    if (this.#attempts.length > 0) await this.#send(this.pick(this.#attempts, which));
  }

  async #send(attempt: Attempt): Promise<void> {
    const { token, message, key, fails, become } = attempt;
    const actor = await loaded(this.#actors, ADDRESS, this.#shelf.read);
    let ran = false;
    const run = ({ state, seed }: Turn) => {
      if (fails) return refuse("handler_error", "as it was told", { handler_code: "told" });
      ran = true;
      const seeds = JSON.parse(state ?? "[]") as readonly string[];
      const after = [...seeds, seed];
      const next = message === READS ? undefined : JSON.stringify(after);
      return { reply: seeds.length, state: next, ...(become !== undefined && { become }) };
    };
    const idempotency = { key, digest: message };
    const call = callOf(message, {
      ...token.call,
      behaviour: this.#behaviour,
      become: this.#become,
      reads: message === READS,
      idempotency,
      run,
    });
    const forbidden = forbiddenBy(this.#turns, this.#behaviour, token, message);
    const taking = { token, message, entry: 0, became: undefined };
    const under = underOf([...this.#turns, taking], this.#behaviour);
    const before = writeRecord(ADDRESS, actor, NOW_MS);
    const entries = this.#log.appended;
    const answer = this.#shard.call(call);
    // The turn is over: all of a call but the wait for its entry.
    await quiet();
    const entry = this.#log.appended > entries ? this.#log.appended - 1 : undefined;
    const became = become && this.#become.get(become);
    const fitting = became === undefined || (message !== READS && fits(became, under.expression, under.word));
    if (ran) expect(forbidden, `${message} was admitted`).toEqual([]);
    if (ran && fitting) {
      this.#turns.push({ token, message, entry, became });
      if (became !== undefined) this.counts.became++;
    } else {
      if (ran) this.counts.wider++;
      expect(writeRecord(ADDRESS, actor, NOW_MS)).toEqual(before);
      expect(this.#log.appended).toBe(entries);
    }
    this.#answers.push(
      answer.then((outcome) => this.#answered(attempt, outcome, forbidden, under.expression)),
    );
  }

  #answered(
    { token, key }: Attempt,
    answer: Answer | Refusal,
    forbidden: readonly string[],
    behaviour: string,
  ): void {
    if (!isRefusal(answer)) {
      if (!answer.kept && token.shared.length > 1) this.counts.deep++;
      if (answer.kept) {
        this.counts.kept++;
        expect(answer.reply).toEqual(this.#replies.get(key) ?? answer.reply);
      } else this.counts.taken++;
      this.#replies.set(key, answer.reply);
    } else if (answer.code === "out_of_order") {
      this.counts.outOfOrder++;
      expect(forbidden.length, "nobody forbids it").toBeGreaterThan(0);
      const [, text] = /^protocol = ([^@]*[^@\s])/.exec(answer.facts.caveat?.text ?? "") ?? [];
      expect(forbidden).toContain(text ?? behaviour);
      const index = answer.facts.caveat?.index ?? 0;
      if (text !== undefined)
        expect(token.call.monitors.some((monitor) => monitor.caveat?.index === index)).toBe(true);
    } else if (answer.code === "outcome_unknown") this.counts.lost++;
    else expect(["handler_error", "handler_invalid"]).toContain(answer.code);
  }

  async land(count: number): Promise<void> {
    this.#log.land(count);
    await Promise.resolve();
  }

  async crash(durable: number): Promise<void> {
    this.#log.crash(durable);
    await Promise.all(this.#answers.splice(0));
    const { landed } = this.#log;
    const end = this.#turns.findIndex(({ entry }) => entry !== undefined && entry >= landed);
    if (end >= 0) this.#turns = this.#turns.slice(0, end);
    // Of an earlier life, all that is left is durable.
    this.#turns = this.#turns.map(({ token, message, became }) => {
      return { token, message, became, entry: undefined };
    });
    this.#start();
    await this.#check();
  }

  async checkpoint(): Promise<void> {
    await this.crash(Infinity);
    await loaded(this.#actors, ADDRESS, this.#shelf.read);
    this.#shelf.checkpoint(this.#actors);
  }

  /** Everything durable is what the oracle says, and each monitor stands where its own words have brought it. */
  async #check(): Promise<void> {
    const actor = await loaded(this.#actors, ADDRESS, this.#shelf.read);
    expect(admits(this.#behaviour, wordOf(this.#turns))).toBe(true);
    for (const { shared, call } of this.#tokens.values().filter((token) => token !== undefined)) {
      for (const [i, { tail, expression }] of shared.entries()) {
        const word = wordOf(through(this.#turns, tail));
        expect(admits(expression, word)).toBe(true);
        const id = call.monitors[i]?.id ?? "";
        let state = 0;
        for (const message of word) state = compiled(expression).next(state, message) ?? -1;
        expect(actor.monitors.get(call.token.root, id)?.state ?? 0).toBe(state);
      }
    }
    for (const text of this.#shelf.entries) {
      const { turns, kept } = decodeEntry(text);
      const [[, , seed]] = turns;
      const known = this.#effects.get(kept?.[0] ?? "") ?? seed;
      expect(seed, "the same key took effect twice").toBe(known);
      this.#effects.set(kept?.[0] ?? "", seed);
    }
  }
}

// ── What happens ───────────────────────────────────────────────────────────────────────────────────────────

const anyExpression = fc
  .oneof(
    { weight: 1, arbitrary: anyProtocol },
    { weight: 3, arbitrary: anyProtocol.map((protocol) => repeat(protocol, 0, Infinity)) },
  )
  .filter((protocol) => sizeOf(protocol) < 200)
  .map(printProtocol)
  .filter((text) => text.length < 500 && !isRefusal(protocols.compile(text)));

type Event = (world: World) => Promise<void> | void;

const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(fc.nat(50), anyLetter, fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 19 }))
      .map(
        ([who, letter, luck, wish]): Event =>
          (world) => {
            const become = wish < 2 ? `b${wish}` : undefined;
            return world.call(who, letter, luck > 5, { fails: luck === 0, become });
          },
      ),
  },
  {
    weight: 3,
    arbitrary: fc.nat(50).map(
      (which): Event =>
        (world) =>
          world.retry(which),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(50), anyExpression).map(
      ([who, expression]): Event =>
        (world) => {
          const child = attenuate(world.pick(world.macaroons, who), [`protocol = ${expression}`]);
          if (!isRefusal(child)) world.macaroons.push(child);
        },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.nat(50), anyExpression, anyExpression, fc.nat(1000)).map(
      ([who, one, other, label]): Event =>
        (world) => {
          const parent = world.pick(world.macaroons, who);
          const parts = split(parent, [one, other], {
            random: (length) => new Uint8Array(length).fill(label),
          });
          // Where the parts do not fit, somebody may hand them out all the same, or forget the labels.
          const forced = [one, other].map((part, i) =>
            attenuate(parent, [formatLabelledProtocol(part, label + (label % 3 === 0 ? 0 : i))]),
          );
          for (const child of isRefusal(parts) ? forced : parts)
            if (!isRefusal(child)) world.macaroons.push(child);
        },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.nat(50).map(
      (who): Event =>
        (world) => {
          const { unsafeCaveats, ...rest } = world.pick(world.macaroons, who);
          world.macaroons.push({ ...rest, unsafeCaveats: [...unsafeCaveats] });
        },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 4 }).map(
      (count): Event =>
        (world) =>
          world.land(count),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(4).map(
      (durable): Event =>
        (world) =>
          world.crash(durable),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Event>((world) => world.checkpoint()) },
);

test("law: what an actor sees lies in every ancestor's protocol and in its behaviour, through crashes and retries", async () => {
  const total = { taken: 0, outOfOrder: 0, kept: 0, lost: 0, deep: 0, became: 0, wider: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.constant("(a | b | c)*"), anyExpression),
      fc.tuple(anyExpression, anyExpression),
      fc.integer({ min: 1, max: 2 }),
      fc.array(anyEvent, { minLength: 5, maxLength: 100, size: "max" }),
      async (behaviour, become, roots, events) => {
        const world = new World(behaviour, become, roots);
        for (const event of events) await event(world);
        await world.crash(Infinity);
        for (const [what, count] of Object.entries(world.counts)) total[what as keyof typeof total] += count;
      },
    ),
    { seed: 1, numRuns: 400 },
  );
  // What was tried is worth trying.
  expect(Math.min(...Object.values(total)), JSON.stringify(total)).toBeGreaterThan(100);
});
