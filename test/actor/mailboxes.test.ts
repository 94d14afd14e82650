/** Turns that take their time: one call at a time for each actor, whatever happens while a turn runs. */
import { describe, expect, test } from "vitest";
import type { Actors } from "../../src/actor/actors.ts";
import { type Answer, Shard } from "../../src/actor/shard.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";
import { CALLS_WAITING_PER_ACTOR_MAX } from "../../src/limits.ts";
import { account, callOf, type Given, run, shardOf } from "./counter.ts";
import { changesOf, Gate, loaded, quiet, Shelf, ShelfLog } from "./shelf.ts";

/** A node whose turns wait at a gate. */
class Node {
  readonly shelf: Shelf;
  readonly actors: Actors;
  readonly log: ShelfLog;
  readonly shard: Shard;
  readonly turns = new Gate();
  /** Messages whose turns have begun. */
  readonly begun: string[] = [];
  now_ms = 0;

  constructor(shelf = new Shelf()) {
    this.shelf = shelf;
    this.log = new ShelfLog(shelf);
    this.actors = shelf.recover();
    const now_ms = () => this.now_ms;
    this.shard = shardOf({ actors: this.actors, log: this.log, read: shelf.read, now_ms });
  }

  call(message: string, given: Given = {}): Promise<Answer | Refusal> {
    const held: Given["run"] = async (turn) => {
      this.begun.push(message);
      await this.turns.passed();
      return run(turn);
    };
    return this.shard.call(callOf(message, { run: held, ...given }));
  }

  async balance(): Promise<number> {
    return account((await loaded(this.actors, "t/account/1", this.shelf.read)).state).balance;
  }
}

/** A node with an open account, whose next turns are held. */
async function withHeldTurns(): Promise<Node> {
  const node = new Node();
  expect(await node.call("open")).toMatchObject({ kept: false });
  node.begun.length = 0;
  node.turns.close();
  return node;
}

const once = (key: string) => ({ idempotency: { key, digest: "d" } });
const codes = (answers: readonly (Answer | Refusal)[]) =>
  answers.map((answer) => (isRefusal(answer) ? answer.code : answer.kept ? "kept" : "done"));

describe("while an actor's turn runs", () => {
  test("its next call waits, others' go on, and all are taken in their order", async () => {
    const node = await withHeldTurns();
    const answers = ["deposit", "withdraw", "withdraw", "close", "deposit"].map((name) => node.call(name));
    const other = node.call("open", { actor: "account/2" });
    await quiet();
    expect(node.begun).toEqual(["deposit", "open"]);
    node.turns.open();
    expect(await other).toMatchObject({ kept: false });
    expect(codes(await Promise.all(answers))).toEqual([
      "done",
      "done",
      "handler_error",
      "done",
      "out_of_order",
    ]);
    expect(node.begun).toEqual(["deposit", "open", "withdraw", "withdraw", "close"]);
  });

  test("the next one begins before its entry is durable", async () => {
    const node = await withHeldTurns();
    node.log.writes.close();
    const answers = [node.call("deposit"), node.call("withdraw")];
    node.turns.open();
    await quiet();
    expect(node.begun).toEqual(["deposit", "withdraw"]);
    node.log.writes.open();
    expect(codes(await Promise.all(answers))).toEqual(["done", "done"]);
  });

  test("the same key waits for it, and has no turn of its own", async () => {
    const node = await withHeldTurns();
    const answers = [1, 2, 3].map(() => node.call("deposit", once("k")));
    await quiet();
    node.turns.open();
    expect(codes(await Promise.all(answers))).toEqual(["done", "kept", "kept"]);
    expect(await node.balance()).toBe(1);
  });

  test("what is asked about the actor is answered as it was before", async () => {
    const node = await withHeldTurns();
    const call = node.call("close");
    const { tenant, actor, token, behaviour, monitors } = callOf("balance");
    const question = { tenant, actor, token, behaviour, monitors, names: ["deposit"] };
    expect(await node.shard.describe(question)).toMatchObject({ messages: new Map([["deposit", []]]) });
    node.turns.open();
    await call;
    expect(await node.shard.describe(question)).toMatchObject({ messages: new Map() });
  });

  test("a checkpoint holds nothing of it, and the log all of it", async () => {
    const node = await withHeldTurns();
    const call = node.call("deposit");
    await quiet();
    const capture = node.actors.capture();
    const { length } = node.shelf.entries;
    node.turns.open();
    await call;
    node.shelf.keep(capture, length);
    expect(node.shelf.records.get("t/account/1")?.join()).toContain('"balance":0');
    expect(node.shelf.entries).toHaveLength(1);
    expect(await new Node(node.shelf).balance()).toBe(1);
  });

  test("the actor stays in memory, and so does what its turn leaves", async () => {
    const node = await withHeldTurns();
    node.shelf.checkpoint(node.actors);
    const answers = [node.call("deposit"), node.call("deposit")];
    await quiet();
    node.actors.evict(0, 0);
    expect(node.actors.count).toBe(1);
    node.turns.open();
    expect(codes(await Promise.all(answers))).toEqual(["done", "done"]);
    node.shelf.checkpoint(node.actors);
    node.actors.evict(0, 0);
    expect(node.actors.count).toBe(0);
    expect(await node.balance()).toBe(2);
  });
});

describe("a call that waits", () => {
  test("is refused in its turn where its deadline has passed, and its turn does not run", async () => {
    const node = await withHeldTurns();
    const answers = [
      node.call("deposit", { deadline_ms: 10 }),
      node.call("deposit", { deadline_ms: 10 }),
      node.call("deposit", { deadline_ms: 11 }),
    ];
    await quiet();
    node.now_ms = 10;
    node.turns.open();
    expect(codes(await Promise.all(answers))).toEqual(["done", "deadline", "done"]);
    expect(node.begun).toHaveLength(2);
  });

  test("is refused in its turn where what it came by has been revoked meanwhile", async () => {
    const node = await withHeldTurns();
    let revoked: Refusal | undefined;
    const answers = [node.call("deposit"), node.call("deposit", { revoked: () => revoked })];
    await quiet();
    revoked = refuse("token_revoked", "the token was revoked");
    node.turns.open();
    expect(codes(await Promise.all(answers))).toEqual(["done", "token_revoked"]);
    expect(node.begun).toHaveLength(1);
  });

  test("is one of so many; the next is refused at once, and one that comes later is taken again", async () => {
    const node = await withHeldTurns();
    const answers = Array.from({ length: 1 + CALLS_WAITING_PER_ACTOR_MAX }, () => node.call("deposit"));
    expect(await node.call("deposit")).toMatchObject({ code: "overloaded", facts: { retry_after_ms: 1000 } });
    const other = node.call("open", { actor: "account/2" });
    node.turns.open();
    expect(await other).toMatchObject({ kept: false });
    expect(new Set(codes(await Promise.all(answers)))).toEqual(new Set(["done"]));
    expect(await node.call("deposit")).toMatchObject({ reply: { balance: 2 + CALLS_WAITING_PER_ACTOR_MAX } });
  });

  test("goes on where the turn before it has thrown", async () => {
    const node = new Node();
    const thrown = node.call("open", {
      run: () => {
        throw new Error("a bug");
      },
    });
    const next = node.call("open");
    await expect(thrown).rejects.toThrow("a bug");
    expect(await next).toMatchObject({ kept: false });
    node.shelf.checkpoint(node.actors);
    node.actors.evict(0, 0);
    expect(node.actors.count).toBe(0);
  });
});

describe("a node that loses its shard while a turn runs", () => {
  test("changes nothing, answers none of the calls and begins no further turn", async () => {
    const node = await withHeldTurns();
    const answers = [node.call("deposit"), node.call("balance"), node.call("withdraw"), node.call("open")];
    await quiet();
    // Another actor's entry is what finds out that the node was deposed.
    const next = new Node(node.shelf);
    const other = node.call("open", { actor: "account/2", run });
    expect(await other).toMatchObject({ code: "not_leader" });
    const before = [node.shelf.entries, changesOf(node.actors)];
    node.turns.open();
    expect(new Set(codes(await Promise.all(answers)))).toEqual(new Set(["not_leader"]));
    expect(node.begun).toEqual(["deposit"]);
    expect([node.shelf.entries, changesOf(node.actors)]).toEqual(before);
    expect(await next.call("deposit")).toMatchObject({ reply: { balance: 1 } });
  });

  test("answers nothing that looked at an entry which was lost", async () => {
    const node = await withHeldTurns();
    node.turns.open();
    node.log.writes.close();
    const first = node.call("deposit");
    await quiet();
    node.turns.close();
    const looked = node.call("balance");
    await quiet();
    node.log.cut = true;
    node.log.writes.open();
    expect(await first).toMatchObject({ code: "outcome_unknown" });
    node.turns.open();
    expect(isRefusal(await looked)).toBe(true);
  });
});
