import { describe, expect, test } from "vitest";
import { Actors } from "../../src/actor/actors.ts";
import { type Answer, type Call, Shard } from "../../src/actor/shard.ts";
import { openLog, type ShardLog } from "../../src/cluster/log.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import {
  IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX,
  IDEMPOTENCY_RETENTION_MS,
  MONITORS_PER_ACTOR_MAX,
} from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { quiet } from "../cluster/harness.ts";
import { Barrier, intercept, SILENT, unclear } from "../store/intercept.ts";
import {
  accountOf,
  BEHAVIOUR,
  callOf,
  caveat,
  linesOf,
  monitorsOf,
  NOW_MS,
  protocols,
  run,
} from "./counter.ts";

let sessions = 0;

/** A node's shard, as the server puts it together. */
class Node {
  readonly actors: Actors;
  readonly log: ShardLog;
  readonly shard: Shard;

  private constructor(actors: Actors, log: ShardLog) {
    this.actors = actors;
    this.log = log;
    this.shard = new Shard(actors, log, protocols);
  }

  static async on(store: Store, checkpointLogBytesMin = 1e9): Promise<Node> {
    const actors = new Actors();
    const session = `s${++sessions}`;
    let nonces = 0;
    const log = await openLog(
      {
        store,
        shard: 0,
        session,
        nonce: () => `${session}-${++nonces}`,
        breathe: async () => {},
        onStepDown: () => {},
        checkpointLogBytesMin,
      },
      {
        restore: (line) => actors.restore(line),
        apply: (entry) => actors.applyText(entry),
        lines: () => actors.lines(),
      },
    );
    if (isRefusal(log)) throw new Error(log.detail);
    return new Node(actors, log);
  }

  call(message: string, given: Partial<Call> = {}): Promise<Answer | Refusal> {
    return this.shard.call(callOf(message, given));
  }

  async calls(...messages: readonly string[]): Promise<void> {
    for (const message of messages) {
      const answer = await this.call(message);
      if (isRefusal(answer)) throw new Error(answer.detail);
    }
  }
}

const newNode = (): Promise<Node> => Node.on(memoryStore());
const once = (key: string, digest = "d") => ({ idempotency: { key, digest } });

function replyOf(answer: Answer | Refusal): Json {
  if (isRefusal(answer)) throw new Error(answer.detail);
  return answer.reply;
}

/** An actor whose ledger is full, without as many calls. */
async function withFullLedger(): Promise<Node> {
  const node = await newNode();
  await node.calls("open");
  const { replies } = node.actors.peek("t/account/1");
  for (let i = 0; i < IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX; i++)
    replies.set(`k${i}`, { digest: "d", reply: i, until_ms: NOW_MS + 1000 });
  return node;
}

/** A node whose puts can be held, with an open account. */
async function behindBarrier(): Promise<{ store: Store; barrier: Barrier; node: Node }> {
  const store = memoryStore();
  let armed = false;
  const barrier = new Barrier(store, () => armed);
  const node = await Node.on(barrier.store);
  await node.calls("open");
  armed = true;
  return { store, barrier, node };
}

/** Whether something has been answered; the answers themselves are looked at later. */
function watch(answers: readonly Promise<unknown>[]): () => number {
  let settled = 0;
  for (const answer of answers) void answer.then(() => settled++);
  return () => settled;
}

describe("a call", () => {
  test("changes the state, steps the monitors and is answered", async () => {
    const node = await newNode();
    expect(await node.call("open")).toEqual({ reply: { turns: 1, balance: 0 }, kept: false });
    const ordered = caveat("m", "deposit ; withdraw", NOW_MS + 1000);
    expect(await node.call("deposit", { monitors: [ordered] })).toMatchObject({ reply: { balance: 1 } });
    expect(accountOf(node.actors).balance).toBe(1);
    expect(node.actors.peek("t/account/1").monitors.get("m")).toEqual({ state: 1, until_ms: NOW_MS + 1000 });
  });

  test("touches no other actor, of this tenant or another", async () => {
    const node = await newNode();
    await node.calls("open", "deposit");
    expect(await node.call("deposit", { actor: "account/2" })).toMatchObject({ code: "out_of_order" });
    expect(await node.call("deposit", { tenant: "u" })).toMatchObject({ code: "out_of_order" });
    expect(node.actors.count).toBe(1);
  });

  test("hands the turn what it needs and nothing of the caller", async () => {
    const node = await newNode();
    const turns: unknown[] = [];
    const call = callOf("open", {
      args: { a: 1 },
      seed: "5eed",
      run: (turn) => {
        turns.push(turn);
        return run(turn);
      },
    });
    await node.shard.call(call);
    expect(turns).toEqual([
      { state: undefined, message: "open", args: { a: 1 }, now_ms: NOW_MS, seed: "5eed", actor: "account/1" },
    ]);
  });

  test("many at once are taken one after the other", async () => {
    const node = await newNode();
    await node.calls("open");
    const answers = await Promise.all(Array.from({ length: 100 }, () => node.call("deposit")));
    const turns = answers.map((answer) =>
      isRefusal(answer) ? 0 : (answer.reply as { turns: number }).turns,
    );
    expect(turns).toEqual(Array.from({ length: 100 }, (_, i) => i + 2));
  });
});

describe("a refusal changes nothing", () => {
  const monitors = [caveat("m", "(open | deposit | withdraw) ; deposit*")];
  const refusals: Record<string, { given: Partial<Call> & { message: string }; code: string }> = {
    "of the handler": { given: { message: "withdraw" }, code: "handler_error" },
    "of the behaviour": { given: { message: "open" }, code: "out_of_order" },
    "of a caveat": {
      given: { message: "deposit", monitors: [caveat("m2", "withdraw")] },
      code: "out_of_order",
    },
    "of a later caveat, where an earlier one admits it": {
      given: { message: "deposit", monitors: [caveat("m3", "deposit"), caveat("m4", "close")] },
      code: "out_of_order",
    },
    "of a handler that traps": {
      given: { message: "deposit", run: () => refuse("handler_trapped", "unreachable") },
      code: "handler_trapped",
    },
    "for a changed state where it only reads": {
      given: { message: "deposit", reads: true },
      code: "handler_invalid",
    },
  };

  test.each(Object.entries(refusals))("%s", async (_name, { given, code }) => {
    const node = await newNode();
    await node.calls("open", "deposit", "withdraw");
    const before = [linesOf(node.actors), node.log.seq];
    const answer = await node.call(given.message, { monitors, ...once("k"), ...given });
    expect(answer).toMatchObject({ code });
    expect([linesOf(node.actors), node.log.seq]).toEqual(before);
    // The key was not used up: the same one may carry what is admitted.
    expect(await node.call("deposit", once("k", "another"))).toMatchObject({ kept: false });
  });

  test("the refused message does not move the monitors that admitted it", async () => {
    const node = await newNode();
    await node.calls("open");
    const pair = [caveat("yes", "withdraw ; deposit"), caveat("also", "withdraw*; deposit")];
    expect(await node.call("withdraw", { monitors: pair })).toMatchObject({ code: "handler_error" });
    expect(monitorsOf(node.actors.peek("t/account/1"))).toEqual({});
    expect(node.actors.peek("t/account/1").behaviour).toEqual([BEHAVIOUR, 1]);
  });
});

describe("messages that read", () => {
  test("may answer, step monitors and keep their reply, but not change the state", async () => {
    const node = await newNode();
    await node.calls("open", "deposit");
    const state = accountOf(node.actors);
    const looked = await node.call("balance", { ...once("k"), monitors: [caveat("m", "balance ; balance")] });
    expect(looked).toEqual({ reply: { turns: 2, balance: 1 }, kept: false });
    expect(accountOf(node.actors)).toEqual(state);
    expect(monitorsOf(node.actors.peek("t/account/1"))).toEqual({ m: 1 });
  });

  test("may hand back the state as it was", async () => {
    const node = await newNode();
    await node.calls("open");
    const answer = await node.call("balance", { run: ({ state }) => ({ reply: null, state }) });
    expect(answer).toEqual({ reply: null, kept: false });
  });
});

describe("idempotency keys", () => {
  test("the same key and request get the same reply, and no second effect", async () => {
    const node = await newNode();
    await node.calls("open");
    const first = await node.call("deposit", once("k"));
    await node.calls("deposit");
    expect(await node.call("deposit", once("k"))).toEqual({ reply: replyOf(first), kept: true });
    expect(accountOf(node.actors).balance).toBe(2);
  });

  test("also while the first is in flight: both wait for the same entry", async () => {
    const barrier = new Barrier(memoryStore(), (key) => key.startsWith("log/"));
    const opening = Node.on(barrier.store);
    await quiet();
    barrier.letOne();
    const node = await opening;
    const answers = [1, 2, 3].map(() => node.call("open", once("k")));
    const answered = watch(answers);
    await quiet();
    expect(answered()).toBe(0);
    barrier.open();
    expect(await Promise.all(answers)).toEqual([
      { reply: { turns: 1, balance: 0 }, kept: false },
      { reply: { turns: 1, balance: 0 }, kept: true },
      { reply: { turns: 1, balance: 0 }, kept: true },
    ]);
  });

  test("also where the message would now be out of order", async () => {
    const node = await newNode();
    const first = await node.call("open", once("k"));
    expect(await node.call("open", once("k"))).toEqual({ reply: replyOf(first), kept: true });
    expect(await node.call("open")).toMatchObject({ code: "out_of_order" });
  });

  test("with another request are refused, and nothing happens", async () => {
    const node = await newNode();
    await node.calls("open");
    await node.call("deposit", once("k", "one"));
    const before = linesOf(node.actors);
    expect(await node.call("deposit", once("k", "other"))).toMatchObject({ code: "idempotency_mismatch" });
    expect(linesOf(node.actors)).toEqual(before);
  });

  test("of one actor are not those of another", async () => {
    const node = await newNode();
    await node.call("open", once("k"));
    expect(await node.call("open", { actor: "account/2", ...once("k") })).toMatchObject({ kept: false });
  });

  test("expire after their retention", async () => {
    const node = await newNode();
    await node.calls("open");
    await node.call("deposit", once("k"));
    const last = NOW_MS + IDEMPOTENCY_RETENTION_MS;
    expect(await node.call("deposit", { ...once("k"), now_ms: last })).toMatchObject({ kept: true });
    expect(await node.call("deposit", { ...once("k"), now_ms: last + 1 })).toMatchObject({ kept: false });
    expect(accountOf(node.actors).balance).toBe(2);
  });

  test("survive a restart", async () => {
    const store = memoryStore();
    const node = await Node.on(store);
    const first = await node.call("open", once("k"));
    const next = await Node.on(store);
    expect(await next.call("open", once("k"))).toEqual({ reply: replyOf(first), kept: true });
    expect(await next.call("open", once("k", "other"))).toMatchObject({ code: "idempotency_mismatch" });
  });
});

describe("bounds", () => {
  test("a full ledger refuses new keys, forgets none, and still answers known ones", async () => {
    const node = await withFullLedger();
    expect(await node.call("deposit", once("new"))).toMatchObject({ code: "quota_exceeded" });
    expect(await node.call("deposit", once("k0"))).toMatchObject({ reply: 0, kept: true });
    expect(await node.call("deposit")).toMatchObject({ kept: false });
  });

  test("a full ledger takes keys again as soon as the oldest reply has expired", async () => {
    const node = await withFullLedger();
    const now_ms = NOW_MS + 1001;
    expect(await node.call("deposit", { ...once("new"), now_ms })).toMatchObject({ kept: false });
    expect([...node.actors.peek("t/account/1").replies].map(([key]) => key)).toEqual(["new"]);
  });

  test("a ledger is full in bytes, too, and has room again when they have expired", async () => {
    const node = await newNode();
    await node.calls("open");
    const { replies } = node.actors.peek("t/account/1");
    const megabyte = "x".repeat(1024 * 1024);
    for (let i = 0; i < 64; i++)
      replies.set(`k${i}`, { digest: "d", reply: megabyte, until_ms: NOW_MS + 1000 });
    expect(await node.call("deposit", once("new"))).toMatchObject({ code: "quota_exceeded" });
    expect(await node.call("deposit", once("k0"))).toMatchObject({ reply: megabyte, kept: true });
    expect(await node.call("deposit", { ...once("new"), now_ms: NOW_MS + 1001 })).toMatchObject({
      kept: false,
    });
    expect(replies.size).toBe(1);
    expect(await node.call("deposit", { ...once("next"), now_ms: NOW_MS + 1001 })).toMatchObject({
      kept: false,
    });
  });

  test("an actor has so many protocols in progress, and those already there go on", async () => {
    const node = await newNode();
    await node.calls("open");
    const { monitors } = node.actors.peek("t/account/1");
    const until_ms = NOW_MS + 1000;
    for (let i = 0; i < MONITORS_PER_ACTOR_MAX; i++) monitors.set(`m${i}`, { state: 1, until_ms });
    const two = "deposit ; deposit";
    expect(await node.call("deposit", { monitors: [caveat("new", two)] })).toMatchObject({
      code: "quota_exceeded",
    });
    expect(await node.call("deposit", { monitors: [caveat("m0", two)] })).toMatchObject({ kept: false });
    expect(monitors.size).toBe(MONITORS_PER_ACTOR_MAX);
    // Refused or not, looking does not change the actor: only entries do.
    const now_ms = NOW_MS + 60_000;
    const refused = await node.call("deposit", { now_ms, monitors: [caveat("n", "withdraw")] });
    expect(refused).toMatchObject({ code: "out_of_order" });
    expect(monitors.size).toBe(MONITORS_PER_ACTOR_MAX);
    expect(await node.call("deposit", { now_ms, monitors: [caveat("new", two)] })).toMatchObject({
      kept: false,
    });
    // m0 was used again, under a caveat that does not expire.
    expect([...monitors.keys()]).toEqual(["m0", "new"]);
  });
});

describe("acknowledged means durable", () => {
  test("nothing that saw an entry is answered before that entry is durable", async () => {
    const { barrier, node } = await behindBarrier();
    const answers = [
      node.call("deposit", once("k")),
      node.call("deposit", once("k")),
      node.call("deposit", once("k", "other")),
      node.call("open"),
      node.call("withdraw", { run: () => refuse("handler_error", "no") }),
      node.call("balance"),
    ];
    const answered = watch(answers);
    await quiet();
    expect(answered()).toBe(0);
    barrier.open();
    const codes = (await Promise.all(answers)).map((answer) =>
      isRefusal(answer) ? answer.code : answer.kept,
    );
    expect(codes).toEqual([false, true, "idempotency_mismatch", "out_of_order", "handler_error", false]);
  });

  test("a refusal that saw only durable state is answered at once", async () => {
    const { node } = await behindBarrier();
    expect(await node.call("open")).toMatchObject({ code: "out_of_order" });
  });

  test("what was built on an entry that failed is never answered as done", async () => {
    const store = memoryStore();
    let cut = false;
    const node = await Node.on(
      intercept(store, {
        put: async (_key, next) => (cut ? unclear() : next()),
        get: async (_key, next) => (cut ? SILENT : next()),
      }),
    );
    await node.calls("open");
    cut = true;
    const answers = await Promise.all([
      node.call("deposit", once("k")),
      node.call("deposit", once("k")),
      node.call("balance"),
      node.call("open"),
    ]);
    for (const answer of answers) expect(isRefusal(answer)).toBe(true);
    expect(answers[0]).toMatchObject({ code: "outcome_unknown" });
    expect(await node.call("deposit", once("k"))).toMatchObject({ code: "outcome_unknown" });
    const next = await Node.on(store);
    expect(accountOf(next.actors).balance).toBe(0);
    expect(await next.call("deposit", once("k"))).toMatchObject({ kept: false });
  });

  test("a deposed node answers none of what it has in flight", async () => {
    const { store, barrier, node } = await behindBarrier();
    const answers = [node.call("deposit", once("k")), node.call("deposit", once("k")), node.call("open")];
    await quiet();
    const next = await Node.on(store);
    barrier.open();
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ code: "not_leader" });
    expect(await node.call("balance")).toMatchObject({ code: "not_leader" });
    expect(accountOf(next.actors).balance).toBe(0);
  });
});

describe("an actor keeps the behaviour it began under", () => {
  const other = "deposit*";

  test("when the policy changes; an actor that begins later has the new one", async () => {
    const store = memoryStore();
    const node = await Node.on(store);
    await node.calls("open");
    expect(await node.call("withdraw", { behaviour: other })).toMatchObject({ code: "handler_error" });
    expect(await node.call("open", { actor: "account/2", behaviour: other })).toMatchObject({
      code: "out_of_order",
    });
    expect(await node.call("deposit", { actor: "account/2", behaviour: other })).toMatchObject({
      kept: false,
    });
    for (const actors of [node.actors, (await Node.on(store)).actors]) {
      expect(actors.peek("t/account/1").behaviour).toEqual([BEHAVIOUR, 1]);
      expect(actors.peek("t/account/2").behaviour).toEqual([other, 0]);
    }
  });

  test("a behaviour that does not compile refuses the call", async () => {
    const node = await newNode();
    expect(await node.call("open", { behaviour: "open ;;" })).toMatchObject({ code: "malformed_request" });
    expect(node.actors.count).toBe(0);
  });
});

describe("a restart", () => {
  test.each([
    ["from the log", 1e9],
    ["from checkpoints", 1],
  ])("%s brings back state, monitors, kept replies and nonces", async (_name, checkpointLogBytesMin) => {
    const store = memoryStore();
    const node = await Node.on(store, checkpointLogBytesMin);
    await node.calls("open");
    for (let i = 0; i < 30; i++) {
      const monitors = [caveat(`m${i % 3}`, "deposit*; withdraw*", NOW_MS + 1e6)];
      const nonce = { key: `signer:${i}`, until_s: NOW_MS / 1000 + i };
      const answer = await node.call(i < 20 ? "deposit" : "withdraw", { monitors, nonce, ...once(`k${i}`) });
      expect(isRefusal(answer)).toBe(false);
      await node.log.idle();
    }
    const checkpoints = await store.list("ckpt/");
    expect(isRefusal(checkpoints) ? 0 : checkpoints.length).toBe(checkpointLogBytesMin === 1 ? 1 : 0);
    const next = await Node.on(store);
    expect(linesOf(next.actors)).toEqual(linesOf(node.actors));
    expect(next.actors.peek("t/account/1")).toEqual(node.actors.peek("t/account/1"));
    const nonces = new Map(next.actors.nonces());
    for (let i = 0; i < 30; i++) expect(nonces.get(`signer:${i}`)).toBe(NOW_MS / 1000 + i);
  });
});
