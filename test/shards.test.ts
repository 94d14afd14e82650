/** A node's shards at work, alone on a store: what leaves memory, who waits how long, and what an operator is told. */
import { describe, expect, test } from "vitest";

import type { Call } from "../src/actor/shard.ts";
import type { Send } from "../src/cluster/forward.ts";
import { shardOf } from "../src/cluster/pages.ts";
import { isRefusal } from "../src/errors.ts";
import { ACTOR_IDLE_MS, ACTORS_BYTES_MAX, ACTORS_SWEEP_MS } from "../src/limits.ts";
import { createProtocolCache } from "../src/protocol/cache.ts";
import { Shards, type ShardsOptions } from "../src/shards.ts";
import { ReplayWindow } from "../src/signature/replay.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { callOf } from "./actor/counter.ts";
import { TestClock } from "./cluster/clock.ts";

const FOREVER_MS = 1e12;
const unsent: Send = async () => ({ failed: "unsent" });

let sessions = 0;

/** A node that writes a checkpoint after each commit. */
class TestNode {
  readonly session = `s${++sessions}`;
  readonly events: string[] = [];
  readonly replays: ReplayWindow;
  readonly shards: Shards;
  wall_ms = 1_767_225_600_000;

  constructor(store: Store, clock: TestClock, options: Partial<ShardsOptions> = {}) {
    let nonces = 0;
    this.replays = options.replays ?? new ReplayWindow();
    this.shards = new Shards({
      store,
      clock,
      session: this.session,
      nonce: () => `${this.session}-${++nonces}`,
      breathe: async () => {},
      window: 1,
      checkpointLogBytesMin: 1,
      url: `http://${this.session}`,
      authorities: [],
      process: this.session,
      isGone: () => false,
      shardCount: 1,
      ttl_ms: 10_000,
      wallTime: () => "",
      wall_ms: () => this.wall_ms,
      lost: () => {},
      protocols: createProtocolCache(),
      replays: this.replays,
      send: unsent,
      event: (event, shard, detail) => this.events.push(`${event} ${shard}: ${detail}`),
      ...options,
    });
  }

  async start(): Promise<this> {
    const failed = await this.shards.start();
    if (failed !== undefined) throw new Error(failed.detail);
    return this;
  }

  /** The code of a refusal, or `done`. */
  async call(message: string, given: Partial<Call> = {}, deadline_ms = FOREVER_MS): Promise<string> {
    const request = new Request("http://here/", { method: "POST" });
    const incoming = { request, body: new Uint8Array(), hops: 0, more: {}, admit: () => undefined };
    const outcome = await this.shards.call(callOf(message, given), incoming, deadline_ms);
    return isRefusal(outcome) ? outcome.code : "done";
  }
}

describe("an actor leaves memory", () => {
  test("when nobody has called it for a while by the monotonic clock, whatever the wall clock does", async () => {
    const clock = new TestClock();
    const node = await new TestNode(memoryStore(), clock).start();
    expect(await node.call("open")).toBe("done");
    for (const jump_ms of [1e9, -2e9, 1e9]) {
      node.wall_ms += jump_ms;
      await clock.pass(ACTOR_IDLE_MS / 4);
      expect(node.shards.counts.actors).toBe(1);
    }
    await clock.pass(ACTOR_IDLE_MS / 4 + ACTORS_SWEEP_MS);
    expect(node.shards.counts.actors).toBe(0);
    expect(await node.call("deposit")).toBe("done");
    expect(node.shards.counts.actors).toBe(1);
  });

  test("when the node's actors take too much, each shard's its share of what all may take", async () => {
    const clock = new TestClock();
    const shardCount = 256;
    const node = await new TestNode(memoryStore(), clock, { shardCount }).start();
    // Half of them are less than a shard's share, and all are far less than what the node's actors may take.
    const large = JSON.stringify("x".repeat(ACTORS_BYTES_MAX / shardCount / 4));
    const run = () => ({ reply: null, state: large });
    const ids = Array.from({ length: 100 * shardCount }, (_, i) => `account/${i}`);
    const actors = ids.filter((actor) => shardOf(`t/${actor}`, shardCount) === 2).slice(0, 6);
    for (const actor of actors) expect(await node.call("open", { actor, run })).toBe("done");
    expect(node.shards.counts.actors).toBe(6);
    await clock.pass(ACTORS_SWEEP_MS);
    expect(node.shards.counts.actors).toBe(3);
  });
});
