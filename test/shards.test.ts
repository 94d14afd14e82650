/** A node's shards at work: what leaves memory, who waits how long, where calls go, and what an operator is told. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { logKey, nodeKey } from "../src/cluster/format.ts";
import type { OutgoingRequest, Send, SendOutcome } from "../src/cluster/forward.ts";
import { encodeLease, type LeaseRecord } from "../src/cluster/lease.ts";
import { shardOf } from "../src/cluster/pages.ts";
import { isRefusal, refuse, toProblem } from "../src/errors.ts";
import {
  ACTOR_IDLE_MS,
  ACTORS_BYTES_MAX,
  ACTORS_SWEEP_MS,
  PLACE_PATIENCE_MS,
  PLACE_RETRY_MS,
  REQUEST_LIFE_S_MAX,
  SHARD_RETRY_MS,
} from "../src/limits.ts";
import { ReplayWindow } from "../src/signature/replay.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { NOW_MS } from "./actor/counter.ts";
import { quiet } from "./cluster/harness.ts";
import { intercept, unclear } from "./store/intercept.ts";
import { must } from "./support/gate.ts";
import { ShardsNode } from "./support/shards-node.ts";

describe("an actor leaves memory", () => {
  test("when nobody has called it for a while", async () => {
    const node = await new ShardsNode(memoryStore()).start();
    expect(await node.call("open")).toBe("done");
    for (let quarter = 0; quarter < 3; quarter++) {
      await node.clock.pass(ACTOR_IDLE_MS / 4);
      expect(node.shards.counts.actors).toBe(1);
    }
    await node.clock.pass(ACTOR_IDLE_MS / 4 + ACTORS_SWEEP_MS);
    expect(node.shards.counts.actors).toBe(0);
    expect(await node.call("deposit")).toBe("done");
    expect(node.shards.counts.actors).toBe(1);
  });

  test("when the node's actors take too much, each shard's its share of what all may take", async () => {
    const shardCount = 256;
    const node = await new ShardsNode(memoryStore(), { shardCount }).start();
    // Half of them are less than a shard's share, and all are far less than what the node's actors may take.
    const large = JSON.stringify("x".repeat(ACTORS_BYTES_MAX / shardCount / 4));
    const run = () => ({ reply: null, state: large });
    const ids = Array.from({ length: 100 * shardCount }, (_, i) => `account/${i}`);
    const actors = ids.filter((actor) => shardOf(`t/${actor}`, shardCount) === 2).slice(0, 6);
    for (const actor of actors) expect(await node.call("open", { actor, run })).toBe("done");
    expect(node.shards.counts.actors).toBe(6);
    await node.clock.pass(ACTORS_SWEEP_MS);
    expect(node.shards.counts.actors).toBe(3);
  });
});

describe("a call", () => {
  /** A node one of whose shards does not open until it is told to. */
  async function opening() {
    const opened = Promise.withResolvers<void>();
    const store = intercept(memoryStore(), {
      list: async (prefix, next) => {
        if (prefix === "log/000/") await opened.promise;
        return next();
      },
    });
    const node = new ShardsNode(store);
    void node.shards.start();
    await quiet();
    return { node, open: () => opened.resolve() };
  }

  test("waits for its shard to open, and is done", async () => {
    const { node, open } = await opening();
    const called = node.call("open");
    await node.clock.pass(PLACE_PATIENCE_MS / 2);
    open();
    expect(await called).toBe("done");
  });

  test("waits no longer than its caller does, nor longer than anybody should, and then has no effect", async () => {
    const { node, open } = await opening();
    const codes: string[] = [];
    const deadline_ms = node.clock.now_ms() + 200;
    void node.call("open", {}, deadline_ms).then((code) => codes.push(code));
    void node.call("open").then((code) => codes.push(code));
    await node.clock.pass(199);
    expect(codes).toEqual([]);
    await node.clock.pass(2);
    expect(codes).toEqual(["deadline"]);
    await node.clock.pass(PLACE_PATIENCE_MS);
    expect(codes).toEqual(["deadline", "draining"]);
    open();
    await quiet();
    expect(await node.call("deposit")).toBe("out_of_order");
    expect(await node.call("open")).toBe("done");
  });

  test("that was passed on waits no longer, either, and is not passed on again", async () => {
    const { node } = await opening();
    const asked = node.ask("open", {}, { hops: 1 });
    await node.clock.pass(PLACE_PATIENCE_MS);
    expect(await asked).toMatchObject({ code: "draining" });
  });

  test("whose nonce was taken by the shard's owner before is known as taken, however full the window is", async () => {
    const store = memoryStore();
    const first = await new ShardsNode(store).start();
    const until_s = NOW_MS / 1000 + 60;
    expect(await first.call("open", { nonce: { key: "taken", until_s } })).toBe("done");
    await first.leave();
    const second = new ShardsNode(store, { replays: new ReplayWindow(0) });
    await second.start();
    expect(second.replays.has("taken")).toBe(true);
  });
});

describe("a captured request", () => {
  /** A request that was signed then, sent to where its actor lives. @param at_ms by the wall clock */
  async function send(node: ShardsNode, key: string, at_ms: number): Promise<string> {
    const nonce = { key, until_s: at_ms / 1000 + 60 };
    const admit = () => {
      const taken = node.replays.remember(key, nonce.until_s, node.clock.now_ms() / 1000);
      return taken === "fresh" ? undefined : refuse("replayed", taken);
    };
    const outcome = await node.ask("deposit", { nonce, now_ms: at_ms }, { admit });
    return isRefusal(outcome) ? outcome.code : "done";
  }
  const AHEAD_MS = 600_000;

  test.each([
    ["the log", 1e9],
    ["a checkpoint", 1],
  ])(
    "is known from %s, though the wall clock was ahead before a restart",
    async (_, checkpointLogBytesMin) => {
      const store = memoryStore();
      const node = await new ShardsNode(store, { checkpointLogBytesMin }).start();
      expect(await node.call("open")).toBe("done");
      expect(await send(node, "captured", NOW_MS)).toBe("done");
      expect(await send(node, "ahead", NOW_MS + AHEAD_MS)).toBe("done");
      await node.clock.pass(2 * ACTORS_SWEEP_MS);
      expect(await send(node, "ahead, too", NOW_MS + AHEAD_MS)).toBe("done");
      await node.leave();

      const next = await new ShardsNode(store, { clock: node.clock, checkpointLogBytesMin }).start();
      await next.clock.pass(2 * ACTORS_SWEEP_MS);
      expect(await send(next, "captured", NOW_MS)).toBe("replayed");
      expect(await send(next, "fresh", NOW_MS)).toBe("done");
    },
  );

  test("leaves memory and checkpoints after its life; its time does not", async () => {
    const store = memoryStore();
    const node = await new ShardsNode(store).start();
    expect(await node.call("open")).toBe("done");
    expect(await send(node, "captured", NOW_MS)).toBe("done");
    await node.clock.pass((REQUEST_LIFE_S_MAX + 1) * 1000 + ACTORS_SWEEP_MS);
    expect(node.replays.size).toBe(0);
    const later_ms = NOW_MS + (REQUEST_LIFE_S_MAX + 1) * 1000;
    expect(await send(node, "later", later_ms)).toBe("done");
    // The checkpoint after it.
    await node.clock.pass(ACTORS_SWEEP_MS);
    await node.leave();

    const next = await new ShardsNode(store, { clock: node.clock }).start();
    expect(["captured", "later"].map((key) => next.replays.has(key))).toEqual([false, true]);
    expect(await send(next, "captured", NOW_MS)).toBe("replayed");
    expect(await send(next, "fresh", later_ms)).toBe("done");
  });
});

describe("a call of a shard that another node leads", () => {
  /** A node, the lease of another one that leads its shard, and the answers that this one gives. */
  async function led(...answers: (SendOutcome | "never")[]) {
    const store = memoryStore();
    const sent: OutgoingRequest[] = [];
    const send: Send = async (request) => {
      sent.push(request);
      const answer = answers.shift() ?? { failed: "unsent" };
      if (answer !== "never") return answer;
      return new Promise((resolve) => {
        request.signal?.addEventListener("abort", () => resolve({ failed: "unclear" }));
      });
    };
    const leader = await new ShardsNode(store).start();
    const node = await new ShardsNode(store, { send, clock: leader.clock }).start();
    return { store, node, leader, sent, clock: leader.clock };
  }

  const answer = (status: number, body: object = {}): SendOutcome => ({
    status,
    headers: {},
    body: utf8(JSON.stringify(body)),
  });
  const notLeader = (leader?: object): SendOutcome =>
    answer(
      421,
      toProblem(refuse("not_leader", "", leader === undefined ? {} : { leader: leader as never }), ""),
    );

  test("is passed on to it, with what its caller still waits", async () => {
    const { node, leader, sent, clock } = await led(answer(200, { balance: 1 }));
    const outcome = await node.ask("open", {}, {}, clock.now_ms() + 1234);
    expect(outcome instanceof Response && (await outcome.json())).toEqual({ balance: 1 });
    expect(sent).toMatchObject([
      { url: `http://${leader.session}/v1/t/account/1/open`, headers: { "postern-remaining-ms": "1234" } },
    ]);
  });

  test("is not passed on a second time, but the sender is told who leads", async () => {
    const { node, leader, sent } = await led(answer(200));
    const outcome = await node.ask("open", {}, { hops: 1 });
    expect(outcome).toMatchObject({
      code: "not_leader",
      facts: { leader: { session: leader.session, url: `http://${leader.session}`, epoch: 1 } },
    });
    expect(sent).toEqual([]);
  });

  test("follows where that one says that another leads, if that one lives", async () => {
    const { store, node, sent, clock } = await led(
      notLeader({ session: "nobody", url: "http://nobody", epoch: 9 }),
      notLeader({ session: "third", url: "http://elsewhere", epoch: 10 }),
      answer(200),
    );
    const third: LeaseRecord = {
      session: "third",
      state: "serving",
      url: "http://third",
      authorities: [],
      process: "",
      ttl_ms: 10_000,
      renewed_at: "",
      shards: {},
      nonce: "n",
    };
    await store.put(nodeKey("third"), encodeLease(third), { ifNoneMatch: "*" });
    await clock.pass(third.ttl_ms / 2);
    const asked = node.ask("open");
    await clock.pass(PLACE_PATIENCE_MS);
    expect(await asked).toBeInstanceOf(Response);
    // Where it is known to be, not where somebody says that it is.
    expect(sent.at(-1)?.url).toBe("http://third/v1/t/account/1/open");
  });

  test("is tried again where it was not sent, or the other one takes no more, and given up when nobody leads", async () => {
    const draining = answer(503, toProblem(refuse("draining", "the node is draining"), ""));
    const { node, sent, clock } = await led(draining, { failed: "unsent" }, notLeader(), answer(200));
    const asked = node.ask("open");
    await clock.pass(10 * PLACE_RETRY_MS);
    expect(sent.length).toBeGreaterThanOrEqual(2);
    await clock.pass(PLACE_PATIENCE_MS);
    expect(await asked).toMatchObject({ code: "draining" });
  });

  test("whose answer does not come is not tried again: it may have taken effect", async () => {
    const { node, sent } = await led({ failed: "unclear" }, answer(200));
    expect(await node.call("open")).toBe("outcome_unknown");
    expect(sent).toHaveLength(1);
  });

  test("is not waited for any longer when that node has died", async () => {
    const { store, node, leader, clock } = await led("never");
    const codes: string[] = [];
    void node.call("open").then((code) => codes.push(code));
    await clock.pass(1000);
    expect(codes).toEqual([]);
    await store.delete(nodeKey(leader.session));
    await clock.pass(1000);
    expect(codes).toEqual(["outcome_unknown"]);
  });
});

describe("an operator is told", () => {
  test("once why a shard cannot be opened, and when it is open again", async () => {
    const store = memoryStore();
    const first = await new ShardsNode(store, { shardCount: 2 }).start();
    await first.leave();
    const key = logKey(1, 1);
    const whole = must(await store.get(key));
    if (whole === undefined) throw new Error("no seal");
    await replace(store, key, utf8("damaged"));
    const node = await new ShardsNode(store, { shardCount: 2 }).start();
    await node.clock.pass(20 * SHARD_RETRY_MS);
    expect(node.events.filter((event) => event.startsWith("shard_stopped"))).toEqual([
      `shard_stopped 1: the object ${key} is not of format 2`,
    ]);
    expect(node.shards.counts.shards).toBe(1);
    await replace(store, key, whole.body);
    await node.clock.pass(2 * SHARD_RETRY_MS);
    expect(node.events.at(-1)).toMatch(/^shard_opened 1/);
    expect(node.shards.counts.shards).toBe(2);
  });

  test("once of a page that cannot be read, and whose actors' calls are refused; others are done", async () => {
    const store = memoryStore();
    const first = await new ShardsNode(store, { shardCount: 2 }).start();
    const [one = "", other = ""] = [0, 1].map((shard) => actorIn(shard, 2));
    for (const actor of [one, other]) expect(await first.call("open", { actor })).toBe("done");
    await first.leave();
    const pages = must(await store.list("ckpt/000/")).filter((name) => /\/\d+\/\d+$/.test(name));
    for (const page of pages) await replace(store, page, utf8("damaged"));
    const node = await new ShardsNode(store, { shardCount: 2, checkpointLogBytesMin: 1e9 }).start();
    for (let i = 0; i < 3; i++) expect(await node.call("deposit", { actor: one })).toBe("store_unavailable");
    expect(await node.call("deposit", { actor: other })).toBe("done");
    const told = node.events.filter((event) => event.startsWith("actor_unreadable"));
    expect(told).toEqual([
      expect.stringMatching(/^actor_unreadable 0: the object ckpt\/000\/.* is not of format 2$/),
    ]);
  });

  test("of a checkpoint that is not written", async () => {
    const store = memoryStore();
    const node = await new ShardsNode(
      intercept(store, { put: (key, next) => (key.startsWith("ckpt/") ? unclear() : next()) }),
    ).start();
    for (let i = 0; i < 3; i++) expect(await node.call(i === 0 ? "open" : "deposit")).toBe("done");
    for (let i = 0; i < 100; i++) await quiet();
    expect(node.events.at(-1)).toMatch(/^checkpoint_failed 0: .*ckpt\/000\//);
  });
});

const actorIn = (shard: number, shards: number): string =>
  Array.from({ length: 100 }, (_, i) => `account/${i}`).find(
    (actor) => shardOf(`t/${actor}`, shards) === shard,
  ) ?? "";

async function replace(store: Store, key: string, body: Uint8Array): Promise<void> {
  await store.delete(key);
  await store.put(key, body, { ifNoneMatch: "*" });
}
