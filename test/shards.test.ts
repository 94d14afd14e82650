/** A node's shards at work, alone on a store: what leaves memory, who waits how long, and what an operator is told. */
import { describe, expect, test } from "vitest";
import { shardOf } from "../src/cluster/pages.ts";
import { ACTOR_IDLE_MS, ACTORS_BYTES_MAX, ACTORS_SWEEP_MS } from "../src/limits.ts";
import { memoryStore } from "../src/store/memory.ts";
import { ShardsNode } from "./support/shards-node.ts";

describe("an actor leaves memory", () => {
  test("when nobody has called it for a while by the monotonic clock, whatever the wall clock does", async () => {
    const node = await new ShardsNode(memoryStore()).start();
    expect(await node.call("open")).toBe("done");
    for (const jump_ms of [1e9, -2e9, 1e9]) {
      node.wall_ms += jump_ms;
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
