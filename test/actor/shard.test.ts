import { describe, expect, test } from "vitest";
import type { Actor } from "../../src/actor/actor.ts";
import type { Actors } from "../../src/actor/actors.ts";
import type { Answer, Shard } from "../../src/actor/shard.ts";
import type { ReadRecord } from "../../src/cluster/records.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX, IDEMPOTENCY_RETENTION_MS } from "../../src/limits.ts";
import {
  type Account,
  account,
  BEHAVIOUR,
  callOf,
  caveat,
  type Given,
  monitorsOf,
  NOW_MS,
  run,
  shardOf,
} from "./counter.ts";
import { changesOf, loaded, quiet, Shelf, ShelfLog } from "./shelf.ts";

/** The owner of a shard, as the server puts it together. */
class Node {
  readonly shelf: Shelf;
  readonly actors: Actors;
  readonly log: ShelfLog;
  readonly shard: Shard;

  constructor(shelf = new Shelf(), read: ReadRecord = shelf.read) {
    this.shelf = shelf;
    this.log = new ShelfLog(shelf);
    this.actors = shelf.recover();
    this.shard = shardOf({ actors: this.actors, log: this.log, read });
  }

  call(message: string, given: Given = {}): Promise<Answer | Refusal> {
    return this.shard.call(callOf(message, given));
  }

  async calls(...messages: readonly string[]): Promise<void> {
    for (const message of messages) {
      const answer = await this.call(message);
      if (isRefusal(answer)) throw new Error(answer.detail);
    }
  }

  actor(address = "t/account/1"): Promise<Actor> {
    return loaded(this.actors, address, this.shelf.read);
  }

  async account(address?: string): Promise<Account> {
    return account((await this.actor(address)).state);
  }

  /** All that the store has, and all that memory would add to it. */
  contents(): unknown {
    return [this.shelf.entries, this.shelf.records, changesOf(this.actors)];
  }
}

const once = (key: string, digest = "d") => ({ idempotency: { key, digest } });

function replyOf(answer: Answer | Refusal): Json {
  if (isRefusal(answer)) throw new Error(answer.detail);
  return answer.reply;
}

/** An actor whose ledger is full, without as many calls. */
async function withFullLedger(): Promise<Node> {
  const node = new Node();
  await node.calls("open");
  const { replies } = await node.actor();
  for (let i = 0; i < IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX; i++)
    replies.set(`k${i}`, { digest: "d", reply: i, caps: [], until_ms: NOW_MS + 1000 });
  return node;
}

/** A node whose writes are held, with an open account. */
async function withHeldWrites(): Promise<Node> {
  const node = new Node();
  await node.calls("open");
  node.log.writes.close();
  return node;
}

/** Whether something has been answered; the answers themselves are looked at later. */
function watch(answers: readonly Promise<unknown>[]): () => number {
  let settled = 0;
  for (const answer of answers) void answer.then(() => settled++);
  return () => settled;
}

describe("a call", () => {
  test("changes the state, steps the monitors and is answered", async () => {
    const node = new Node();
    expect(await node.call("open")).toEqual({ reply: { turns: 1, balance: 0 }, kept: false });
    const ordered = caveat("m", "deposit ; withdraw", NOW_MS + 1000);
    expect(await node.call("deposit", { monitors: [ordered] })).toMatchObject({ reply: { balance: 1 } });
    expect((await node.account()).balance).toBe(1);
    const moved = { state: 1, until_ms: NOW_MS + 1000, by: "t" };
    expect((await node.actor()).monitors.get("r", "m")).toEqual(moved);
  });

  test("touches no other actor, of this tenant or another", async () => {
    const node = new Node();
    await node.calls("open", "deposit");
    expect(await node.call("deposit", { actor: "account/2" })).toMatchObject({ code: "out_of_order" });
    expect(await node.call("deposit", { tenant: "u" })).toMatchObject({ code: "out_of_order" });
    expect(Object.keys(changesOf(node.actors).records)).toEqual(["t/account/1"]);
  });

  test("hands the turn what it needs and nothing of the caller", async () => {
    const node = new Node();
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
      {
        state: undefined,
        message: "open",
        args: { a: 1 },
        now_ms: NOW_MS,
        seed: "5eed",
        actor: "account/1",
        caps: [],
      },
    ]);
  });

  test("many at once are taken one after the other", async () => {
    const node = new Node();
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
  const refusals: Record<string, { given: Given & { message: string }; code: string }> = {
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
    const node = new Node();
    await node.calls("open", "deposit", "withdraw");
    const before = node.contents();
    const answer = await node.call(given.message, { monitors, ...once("k"), ...given });
    expect(answer).toMatchObject({ code });
    expect(node.contents()).toEqual(before);
    // The key was not used up: the same one may carry what is admitted.
    expect(await node.call("deposit", once("k", "another"))).toMatchObject({ kept: false });
  });

  test("the refused message does not move the monitors that admitted it", async () => {
    const node = new Node();
    await node.calls("open");
    const pair = [caveat("yes", "withdraw ; deposit"), caveat("also", "withdraw*; deposit")];
    expect(await node.call("withdraw", { monitors: pair })).toMatchObject({ code: "handler_error" });
    expect(monitorsOf(await node.actor())).toEqual({});
    expect((await node.actor()).behaviour).toMatchObject({ expression: BEHAVIOUR, state: 1 });
  });
});

describe("messages that read", () => {
  test("may answer, step monitors and keep their reply, but not change the state", async () => {
    const node = new Node();
    await node.calls("open", "deposit");
    const state = await node.account();
    const monitors = [caveat("m", "balance ; balance")];
    const looked = await node.call("balance", { ...once("k"), monitors });
    expect(looked).toEqual({ reply: { turns: 2, balance: 1 }, kept: false });
    expect(await node.account()).toEqual(state);
    expect(monitorsOf(await node.actor())).toEqual({ m: 1 });
    expect(await node.call("balance", { ...once("k"), monitors })).toMatchObject({ kept: true });
  });

  test("and move no monitor write nothing and use up nothing", async () => {
    const node = await withFullLedger();
    const before = node.contents();
    const monitors = [caveat("m", "deposit ; balance*"), caveat("n", "balance*")];
    expect(await node.call("balance")).toEqual({ reply: { turns: 1, balance: 0 }, kept: false });
    expect(await node.call("balance", { monitors: monitors.slice(1) })).toMatchObject({ kept: false });
    expect(await node.call("balance", once("looked"))).toMatchObject({ reply: { turns: 1 }, kept: false });
    expect(await node.call("balance", { ...once("k"), monitors })).toMatchObject({ code: "out_of_order" });
    expect(node.contents()).toEqual(before);
    // The same key is answered anew, and may carry another message.
    await node.calls("deposit");
    expect(await node.call("balance", once("looked"))).toMatchObject({ reply: { turns: 2 }, kept: false });
    // One that is to be kept has to wait for room.
    const moving = [caveat("o", "balance ; balance")];
    expect(await node.call("balance", { ...once("kept"), monitors: moving })).toMatchObject({
      code: "quota_exceeded",
    });
  });

  test("of an actor that has not begun leave no trace of it", async () => {
    const node = new Node();
    expect(await node.call("balance", { behaviour: "balance*" })).toMatchObject({ kept: false });
    expect([node.shelf.entries, changesOf(node.actors).records]).toEqual([[], {}]);
  });

  test("may hand back the state as it was", async () => {
    const node = new Node();
    await node.calls("open");
    const answer = await node.call("balance", { run: ({ state }) => ({ reply: null, state }) });
    expect(answer).toEqual({ reply: null, kept: false });
  });

  test("are answered when what they saw is durable, and by a node that leads", async () => {
    const node = await withHeldWrites();
    const answers = [node.call("deposit"), node.call("balance")];
    const answered = watch(answers);
    await quiet();
    expect(answered()).toBe(0);
    node.log.writes.open();
    expect(await Promise.all(answers)).toMatchObject([{ kept: false }, { reply: { balance: 1 } }]);
    node.log.confirmations.close();
    const looked = node.call("balance");
    const confirmed = watch([looked]);
    await quiet();
    expect(confirmed()).toBe(0);
    node.log.confirmations.open();
    expect(await looked).toMatchObject({ kept: false });
    await new Node(node.shelf).calls("close");
    expect(await node.call("balance")).toMatchObject({ code: "not_leader" });
  });
});

describe("idempotency keys", () => {
  test("the same key and request get the same reply, and no second effect", async () => {
    const node = new Node();
    await node.calls("open");
    const first = await node.call("deposit", once("k"));
    await node.calls("deposit");
    expect(await node.call("deposit", once("k"))).toEqual({ reply: replyOf(first), kept: true });
    expect((await node.account()).balance).toBe(2);
  });

  test("also while the first is in flight: both wait for the same entry", async () => {
    const node = new Node();
    node.log.writes.close();
    const answers = [1, 2, 3].map(() => node.call("open", once("k")));
    const answered = watch(answers);
    await quiet();
    expect(answered()).toBe(0);
    node.log.writes.open();
    expect(await Promise.all(answers)).toEqual([
      { reply: { turns: 1, balance: 0 }, kept: false },
      { reply: { turns: 1, balance: 0 }, kept: true },
      { reply: { turns: 1, balance: 0 }, kept: true },
    ]);
  });

  test("also where the message would now be out of order", async () => {
    const node = new Node();
    const first = await node.call("open", once("k"));
    expect(await node.call("open", once("k"))).toEqual({ reply: replyOf(first), kept: true });
    expect(await node.call("open")).toMatchObject({ code: "out_of_order" });
  });

  test("with another request are refused, and nothing happens", async () => {
    const node = new Node();
    await node.calls("open");
    await node.call("deposit", once("k", "one"));
    const before = node.contents();
    expect(await node.call("deposit", once("k", "other"))).toMatchObject({ code: "idempotency_mismatch" });
    expect(node.contents()).toEqual(before);
  });

  test("of one actor are not those of another", async () => {
    const node = new Node();
    await node.call("open", once("k"));
    expect(await node.call("open", { actor: "account/2", ...once("k") })).toMatchObject({ kept: false });
  });

  test("expire after their retention", async () => {
    const node = new Node();
    await node.calls("open");
    await node.call("deposit", once("k"));
    const last = NOW_MS + IDEMPOTENCY_RETENTION_MS;
    expect(await node.call("deposit", { ...once("k"), now_ms: last })).toMatchObject({ kept: true });
    expect(await node.call("deposit", { ...once("k"), now_ms: last + 1 })).toMatchObject({ kept: false });
    expect((await node.account()).balance).toBe(2);
  });

  test("survive a restart", async () => {
    const node = new Node();
    const first = await node.call("open", once("k"));
    const next = new Node(node.shelf);
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
    expect([...(await node.actor()).replies].map(([key]) => key)).toEqual(["new"]);
  });

  test("a ledger is full in bytes, too, and has room again when they have expired", async () => {
    const node = new Node();
    await node.calls("open");
    const { replies } = await node.actor();
    const megabyte = "x".repeat(1024 * 1024);
    for (let i = 0; i < 64; i++)
      replies.set(`k${i}`, { digest: "d", reply: megabyte, caps: [], until_ms: NOW_MS + 1000 });
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
});

describe("acknowledged means durable", () => {
  test("nothing that saw an entry is answered before that entry is durable", async () => {
    const node = await withHeldWrites();
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
    node.log.writes.open();
    const codes = (await Promise.all(answers)).map((answer) =>
      isRefusal(answer) ? answer.code : answer.kept,
    );
    expect(codes).toEqual([false, true, "idempotency_mismatch", "out_of_order", "handler_error", false]);
  });

  test("a refusal that saw only durable state is answered at once", async () => {
    const node = await withHeldWrites();
    expect(await node.call("open")).toMatchObject({ code: "out_of_order" });
  });

  test("what was built on an entry that failed is never answered as done", async () => {
    const node = new Node();
    await node.calls("open");
    node.log.cut = true;
    const answers = await Promise.all([
      node.call("deposit", once("k")),
      node.call("deposit", once("k")),
      node.call("balance"),
      node.call("open"),
    ]);
    for (const answer of answers) expect(isRefusal(answer)).toBe(true);
    expect(answers[0]).toMatchObject({ code: "outcome_unknown" });
    expect(await node.call("deposit", once("k"))).toMatchObject({ code: "outcome_unknown" });
    const next = new Node(node.shelf);
    expect((await next.account()).balance).toBe(0);
    expect(await next.call("deposit", once("k"))).toMatchObject({ kept: false });
  });

  test("a deposed node answers none of what it has in flight", async () => {
    const node = await withHeldWrites();
    const answers = [node.call("deposit", once("k")), node.call("deposit", once("k")), node.call("open")];
    await quiet();
    const next = new Node(node.shelf);
    node.log.writes.open();
    for (const answer of await Promise.all(answers)) expect(answer).toMatchObject({ code: "not_leader" });
    expect(await node.call("balance")).toMatchObject({ code: "not_leader" });
    expect((await next.account()).balance).toBe(0);
  });
});

describe("an actor keeps the behaviour it began under", () => {
  const other = "deposit*";

  test("when the policy changes; an actor that begins later has the new one", async () => {
    const node = new Node();
    await node.calls("open");
    expect(await node.call("withdraw", { behaviour: other })).toMatchObject({ code: "handler_error" });
    expect(await node.call("open", { actor: "account/2", behaviour: other })).toMatchObject({
      code: "out_of_order",
    });
    expect(await node.call("deposit", { actor: "account/2", behaviour: other })).toMatchObject({
      kept: false,
    });
    for (const each of [node, new Node(node.shelf)]) {
      expect((await each.actor()).behaviour).toMatchObject({ expression: BEHAVIOUR, state: 1 });
      expect((await each.actor("t/account/2")).behaviour).toMatchObject({ expression: other, state: 0 });
    }
  });

  test("and one that has not begun keeps none: nothing was done under it", async () => {
    const node = new Node();
    expect(await node.call("balance", { behaviour: "balance*" })).toMatchObject({ kept: false });
    expect((await node.actor()).behaviour).toBeUndefined();
    expect(await node.call("open")).toMatchObject({ kept: false });
    expect((await node.actor()).behaviour).toMatchObject({ expression: BEHAVIOUR, state: 1 });
  });

  test("a behaviour that does not compile refuses the call", async () => {
    const node = new Node();
    expect(await node.call("open", { behaviour: "open ;;" })).toMatchObject({ code: "malformed_request" });
    expect(changesOf(node.actors).records).toEqual({});
  });
});

describe("an answer that only looked", () => {
  test("leaves when this node is sure that it leads; one that was recorded is sure already", async () => {
    const node = new Node();
    await node.call("open", once("k"));
    node.log.confirmations.close();
    expect(await node.call("deposit")).toMatchObject({ kept: false });
    const looked = [node.call("open", once("k")), node.call("open", once("k", "other")), node.call("open")];
    const answered = watch(looked);
    await quiet();
    expect(answered()).toBe(0);
    node.log.confirmations.open();
    const codes = (await Promise.all(looked)).map((answer) =>
      isRefusal(answer) ? answer.code : answer.kept,
    );
    expect(codes).toEqual([true, "idempotency_mismatch", "out_of_order"]);
  });

  test("is not given by a node that was deposed: another one may have gone further", async () => {
    const node = new Node();
    await node.call("open", once("k"));
    const next = new Node(node.shelf);
    await next.calls("close");
    expect(await node.call("open", once("k"))).toMatchObject({ code: "not_leader" });
    expect(await node.call("open")).toMatchObject({ code: "not_leader" });
  });
});

describe("an actor that is not in memory", () => {
  test("is read before its call, and those who wait are taken in the order of their calls", async () => {
    const node = new Node();
    await node.calls("open");
    node.shelf.checkpoint(node.actors);
    const reading = Promise.withResolvers<void>();
    let reads = 0;
    const next = new Node(node.shelf, async (key) => {
      reads++;
      await reading.promise;
      return node.shelf.read(key);
    });
    expect(next.shard.count).toBe(0);
    const answers = ["deposit", "withdraw", "withdraw", "close", "deposit"].map((message) =>
      next.call(message),
    );
    const answered = watch(answers);
    await quiet();
    expect([answered(), reads]).toEqual([0, 1]);
    reading.resolve();
    const codes = (await Promise.all(answers)).map((answer) => (isRefusal(answer) ? answer.code : "done"));
    expect(codes).toEqual(["done", "done", "handler_error", "done", "out_of_order"]);
    expect([reads, next.shard.count]).toEqual([1, 1]);
  });

  test("keeps no call of another actor waiting", async () => {
    const node = new Node(new Shelf(), (key) =>
      key === "t/account/1" ? new Promise(() => {}) : Promise.resolve([]),
    );
    void node.call("open");
    expect(await node.call("open", { actor: "account/2" })).toMatchObject({ kept: false });
  });

  test("refuses its calls where it cannot be read, and only those; the next call tries again", async () => {
    const damaged = refuse("store_unavailable", "the object ckpt/000/1/7/0 does not match its checksum");
    let broken = true;
    const shelf = new Shelf();
    const node = new Node(shelf, async (key) =>
      broken && key === "t/account/1" ? damaged : shelf.read(key),
    );
    expect(await node.call("open")).toBe(damaged);
    expect(await node.call("open", { actor: "account/2" })).toMatchObject({ kept: false });
    expect(Object.keys(changesOf(node.actors).records)).toEqual(["t/account/2"]);
    broken = false;
    expect(await node.call("open")).toMatchObject({ kept: false });
  });

  test("is read again where it left memory before its call could run", async () => {
    const node = new Node();
    await node.calls("open");
    node.shelf.checkpoint(node.actors);
    let reads = 0;
    const next = new Node(node.shelf, async (key) => {
      // In each of the next steps, so also in the one between the read and who waits for it.
      if (++reads <= 2) evictSoon(10);
      return node.shelf.read(key);
    });
    const evictSoon = (times: number): void => {
      queueMicrotask(() => {
        next.actors.evict(0, 0);
        if (times > 1) evictSoon(times - 1);
      });
    };
    expect(await next.call("deposit")).toMatchObject({ reply: { balance: 1 } });
    expect(reads).toBeGreaterThan(1);
  });
});

describe("a restart", () => {
  test.each([
    ["from the log", false],
    ["from checkpoints", true],
  ])("%s brings back state, monitors, kept replies and nonces", async (_name, checkpoints) => {
    const node = new Node();
    await node.calls("open");
    for (let i = 0; i < 30; i++) {
      const monitors = [caveat(`m${i % 3}`, "deposit*; withdraw*", NOW_MS + 1e6)];
      const nonce = { key: `signer:${i}`, until_s: NOW_MS / 1000 + i };
      const answer = await node.call(i < 20 ? "deposit" : "withdraw", { monitors, nonce, ...once(`k${i}`) });
      expect(isRefusal(answer)).toBe(false);
      if (checkpoints) node.shelf.checkpoint(node.actors);
    }
    expect(node.shelf.entries).toHaveLength(checkpoints ? 0 : 31);
    const next = new Node(node.shelf);
    expect(changesOf(next.actors)).toEqual(changesOf(node.actors));
    expect(await next.actor()).toEqual(await node.actor());
    const nonces = new Map(next.actors.nonces());
    for (let i = 0; i < 30; i++) expect(nonces.get(`signer:${i}`)).toBe(NOW_MS / 1000 + i);
  });
});
