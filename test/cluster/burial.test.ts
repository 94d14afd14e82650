/** Whose lease is over for good: only then may somebody else take its shards. */
import { describe, expect, test } from "vitest";
import { nodeKey } from "../../src/cluster/format.ts";
import { bury, Lease, parseLease } from "../../src/cluster/lease.ts";
import { Peers } from "../../src/cluster/peers.ts";
import { Watch } from "../../src/cluster/watch.ts";
import { isRefusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Barrier, type Hooks, intercept, unclear } from "../store/intercept.ts";
import { TestClock } from "./clock.ts";

const TTL_MS = 1000;
const LOOK_MS = 25;

/** A node that holds a lease, and the same store for others. */
async function holding() {
  const store = memoryStore();
  const clock = new TestClock();
  let nonces = 0;
  const lease = new Lease({
    store,
    clock,
    session: "holder",
    ttl_ms: TTL_MS,
    compose: () => ({
      v: 1,
      session: "holder",
      state: "serving",
      url: "http://holder",
      authorities: [],
      process: "elsewhere",
      ttl_ms: TTL_MS,
      renewed_at: "2026-01-01T00:00:00Z",
      shards: {},
      nonce: `h${++nonces}`,
    }),
  });
  await lease.acquire();
  return { store, clock, lease };
}

function watcher(store: Store, clock: TestClock, hooks: Hooks = {}) {
  const peers = new Peers({ ttl_ms: TTL_MS, interval_ms: LOOK_MS, isGone: () => false });
  let nonces = 0;
  const watch = new Watch(
    {
      store: intercept(store, hooks),
      clock,
      session: "watcher",
      nonce: () => `w${++nonces}`,
      look_ms: LOOK_MS,
      list_ms: TTL_MS / 3,
    },
    peers,
  );
  const lookFor = async (ms: number): Promise<void> => {
    for (let past_ms = 0; past_ms < ms; past_ms += LOOK_MS) {
      clock.jump(LOOK_MS);
      await watch.look();
    }
  };
  return { watch, peers, lookFor };
}

async function stateOf(store: Store): Promise<string> {
  const found = await store.get(nodeKey("holder"));
  if (isRefusal(found)) throw new Error(found.detail);
  return (found && parseLease(found.body)?.state) ?? "gone";
}

describe("a lease", () => {
  test("of one who lives is not over", async () => {
    const { store, clock, lease } = await holding();
    const { watch, lookFor } = watcher(store, clock);
    await lookFor(TTL_MS - LOOK_MS);
    expect(await watch.isOver("holder")).toBe(false);
    expect(await lease.renew()).toBe("renewed");
  });

  test("that is over cannot be renewed, whoever is told so first", async () => {
    const { store, clock, lease } = await holding();
    const barrier = new Barrier(store, () => true);
    const { watch, lookFor } = watcher(barrier.store, clock);
    await lookFor(TTL_MS + LOOK_MS);
    const asking = [watch.isOver("holder"), watch.isOver("holder")];
    await clock.pass(0);
    // One burial, which has not arrived: nobody is told.
    expect(barrier.held).toBe(1);
    barrier.open();
    expect(await Promise.all(asking)).toEqual([true, true]);
    expect(await lease.renew()).toBe("lost");
  });

  test("that was renewed before its burial arrived is not over", async () => {
    const { store, clock, lease } = await holding();
    const barrier = new Barrier(store, () => true);
    const { watch, lookFor } = watcher(barrier.store, clock);
    await lookFor(TTL_MS + LOOK_MS);
    const asking = watch.isOver("holder");
    await clock.pass(0);
    expect(await lease.renew()).toBe("renewed");
    barrier.open();
    expect(await asking).toBe(false);
    expect(await stateOf(store)).toBe("serving");
  });

  test("is not over where the store does not say whether it was buried", async () => {
    const { store, clock } = await holding();
    const { watch, lookFor } = watcher(store, clock, { put: unclear });
    await lookFor(TTL_MS + LOOK_MS);
    expect(await watch.isOver("holder")).toMatchObject({ code: "store_unavailable" });
  });

  test("that another node has buried, or that is gone, is over", async () => {
    const { store, clock } = await holding();
    const { watch } = watcher(store, clock, { put: unclear });
    const found = await store.get(nodeKey("holder"));
    if (found === undefined || isRefusal(found)) throw new Error("no lease");
    await bury(store, "holder", found.etag, "n");
    expect(await stateOf(store)).toBe("dead");
    expect(await watch.isOver("holder")).toBe(true);
    await store.delete(nodeKey("holder"));
    expect(await watch.isOver("holder")).toBe(true);
  });

  test("of another version is nobody's death", async () => {
    const { store, clock } = await holding();
    await store.put(nodeKey("later"), new TextEncoder().encode('{"v":2}'), { ifNoneMatch: "*" });
    const { watch, lookFor } = watcher(store, clock);
    await lookFor(3 * TTL_MS);
    expect(await watch.isOver("later")).toBe(false);
  });
});

test("a lease that is over is buried and removed without being asked for", async () => {
  const { store, clock } = await holding();
  const { lookFor, peers } = watcher(store, clock);
  await lookFor(TTL_MS);
  expect(peers.alive("holder")).toBeDefined();
  await lookFor(3 * LOOK_MS);
  await clock.pass(0);
  expect(await stateOf(store)).toBe("gone");
});
