/** A survey says what the store shows: of nodes at work, of what they have left, and of what cannot be read. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { encodeDocument } from "../../src/checked.ts";
import { nodeKey, ownKey } from "../../src/cluster/format.ts";
import { ensureMeta } from "../../src/cluster/meta.ts";
import { type Survey, survey } from "../../src/cluster/survey.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { STORE_READS_AT_ONCE } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { intercept, SILENT } from "../store/intercept.ts";
import { must } from "../support/gate.ts";
import { quiet } from "./harness.ts";
import { Cluster, SHARDS, TAKEOVER_MS, TTL_MS } from "./members.ts";

/** By the wall clock of the members' leases. */
const WALL_MS = Date.parse("2026-01-01T00:00:07Z");

async function surveyed(store: Store): Promise<Survey> {
  return must(await survey(store, WALL_MS));
}

async function replace(store: Store, key: string, body: Uint8Array): Promise<void> {
  await store.delete(key);
  await store.put(key, body, { ifNoneMatch: "*" });
}

/** Nodes that share the shards, on a store whose nodes agree on their number. */
async function clusterOf(...sessions: readonly string[]): Promise<Cluster> {
  const cluster = new Cluster();
  must(await ensureMeta(cluster.store, SHARDS, "n"));
  for (const session of sessions) await cluster.join(session);
  await cluster.pass(2 * TTL_MS);
  return cluster;
}

describe("a survey", () => {
  test("of a store from which no node has served has nothing in it", async () => {
    expect(await surveyed(memoryStore())).toEqual({ nodes: [], shards: [] });
  });

  test("names every node and shard, the leader, its epoch and how far it has come", async () => {
    const cluster = await clusterOf("n1", "n2");
    const [first] = cluster.members;
    const shard = first?.shards[0] ?? 0;
    for (let i = 0; i < 5; i++) await first?.append(shard, `"${i}"`);
    await cluster.pass(TTL_MS);
    const { nodes, shards } = await surveyed(cluster.store);
    const of = (session: string) =>
      cluster.members.find((member) => member.session === session)?.shards.length;
    const renewed_at = "2026-01-01T00:00:00Z";
    expect(nodes).toEqual(
      ["n1", "n2"].map((session) => ({
        session,
        state: "serving",
        url: `http://${session}`,
        shards: of(session),
        ttl_ms: TTL_MS,
        renewed_at,
        lease_age_ms: 7000,
      })),
    );
    expect(shards.map((row) => row.shard)).toEqual(Array.from({ length: SHARDS }, (_, i) => i));
    expect(shards.map(({ owner }) => [owner])).toEqual(cluster.leaders);
    expect(new Set(shards.map(({ state }) => state))).toEqual(new Set(["led"]));
    const log = first?.open.get(shard)?.log;
    const { epoch, seq, checkpoint, lag } = shards[shard] ?? {};
    expect({ epoch, seq, checkpoint }).toEqual({
      epoch: log?.epoch,
      seq: log?.seq,
      checkpoint: log?.checkpointed,
    });
    expect(lag).toBe((log?.seq ?? 0) - (log?.checkpointed ?? 0));
  });

  test("tells who drains, what is free, and whose owner has gone without a word", async () => {
    const cluster = await clusterOf("n1", "n2");
    const [first, second] = cluster.members;
    const given = first?.shards ?? [];
    await first?.member.drain();
    const draining = await surveyed(cluster.store);
    expect(draining.nodes[0]).toMatchObject({ session: "n1", state: "draining", shards: 0 });
    for (const shard of given)
      expect(draining.shards[shard]).toMatchObject({ state: "free", owner: null, seq: null, lag: null });
    await cluster.pass(TTL_MS);
    second?.cut();
    await cluster.pass(TAKEOVER_MS);
    await cluster.store.delete(nodeKey("n2"));
    const orphaned = await surveyed(cluster.store);
    expect(new Set(orphaned.shards.map(({ state, owner }) => `${state} ${owner}`))).toEqual(
      new Set(["owned n2"]),
    );
  });

  test("does not take for led what the owner's lease reports of an earlier reign", async () => {
    const cluster = await clusterOf("n1");
    const record = { epoch: 99, session: "n1", nonce: "n", checkpoint: null, collected: 0 };
    await replace(cluster.store, ownKey(3), encodeDocument("postern-own/1", record));
    expect((await surveyed(cluster.store)).shards[3]).toMatchObject({ state: "owned", epoch: 99, seq: null });
  });

  test("shows what cannot be read, and everything beside it", async () => {
    const cluster = await clusterOf("n1");
    await replace(cluster.store, ownKey(3), utf8("damaged"));
    await cluster.store.put(nodeKey("newer"), encodeDocument("postern-node/2", {}), { ifNoneMatch: "*" });
    const { nodes, shards } = await surveyed(cluster.store);
    expect(nodes).toMatchObject([
      { session: "newer", state: "unreadable", url: null, lease_age_ms: null },
      { session: "n1", state: "serving" },
    ]);
    expect(shards[3]).toMatchObject({ state: "damaged", owner: null });
    expect(shards.filter(({ state }) => state === "led")).toHaveLength(SHARDS - 1);
  });

  test("is refused where the store does not answer, at any moment", async () => {
    const { store } = await clusterOf("n1");
    let operations = 0;
    const failing = (left: number): Store =>
      intercept(store, {
        get: async (_key, next) => {
          operations++;
          return left-- <= 0 ? SILENT : next();
        },
        list: async (_prefix, next) => (left-- <= 0 ? SILENT : next()),
      });
    expect(isRefusal(await survey(failing(1000), WALL_MS))).toBe(false);
    // One of them is a list.
    const all = operations + 1;
    for (let left = 0; left < all; left++) {
      const refused: Survey | Refusal = await survey(failing(left), WALL_MS);
      expect(refused, `after ${left}`).toBe(SILENT);
    }
  });

  test("reads some objects at once, and not too many", async () => {
    const store = memoryStore();
    must(await ensureMeta(store, 100, "n"));
    const waiting: (() => void)[] = [];
    let most = 0;
    const slow = intercept(store, {
      get: async (_key, next) => {
        await new Promise<void>((go) => waiting.push(go));
        return next();
      },
    });
    const looking = survey(slow, WALL_MS);
    for (let i = 0; i < 30; i++) {
      await quiet();
      most = Math.max(most, waiting.length);
      for (const go of waiting.splice(0)) go();
    }
    expect(must(await looking).shards).toHaveLength(100);
    expect(most).toBe(STORE_READS_AT_ONCE);
  });
});
