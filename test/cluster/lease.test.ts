/** A lease: valid from before it was sent, lost only when another node says so, and never in doubt about its own writes. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { encodeDocument } from "../../src/checked.ts";
import { nodeKey } from "../../src/cluster/format.ts";
import { bury, Lease, type LeaseRecord, parseLease } from "../../src/cluster/lease.ts";
import { isRefusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { type Hooks, intercept, SILENT, unclear } from "../store/intercept.ts";
import { TestClock } from "./clock.ts";
import { quiet } from "./harness.ts";

const TTL_MS = 10_000;
const SESSION = "s1";

/** A lease on a store with faults, and the same store without. */
function leased(hooks: Hooks = {}) {
  const store = memoryStore();
  const clock = new TestClock();
  let nonces = 0;
  const record = { state: "serving" as LeaseRecord["state"] };
  const compose = (): LeaseRecord => ({
    session: SESSION,
    state: record.state,
    url: "http://here",
    authorities: ["here"],
    process: "a process",
    ttl_ms: TTL_MS,
    renewed_at: "2026-01-01T00:00:00Z",
    shards: { "5": [1, 2, 0] },
    nonce: `n${++nonces}`,
  });
  const lease = new Lease({
    store: intercept(store, hooks),
    clock,
    session: SESSION,
    ttl_ms: TTL_MS,
    compose,
  });
  return { store, clock, lease, record };
}

async function stored(store: Store): Promise<{ record: LeaseRecord; etag: string } | undefined> {
  const found = await store.get(nodeKey(SESSION));
  if (isRefusal(found)) throw new Error(found.detail);
  const record = found && parseLease(found.body);
  return found && record && { record, etag: found.etag };
}

async function declareDead(store: Store): Promise<void> {
  const seen = await stored(store);
  if (seen !== undefined) await bury(store, SESSION, seen.etag, "another node's");
}

describe("a lease", () => {
  test("is not valid before it is acquired, and then for 0.8 TTL", async () => {
    const { store, clock, lease } = leased();
    expect(lease.isValid).toBe(false);
    expect(await lease.acquire()).toBeUndefined();
    expect((await stored(store))?.record).toMatchObject({ session: SESSION, shards: { "5": [1, 2, 0] } });
    clock.jump(0.8 * TTL_MS - 1);
    expect(lease.isValid).toBe(true);
    clock.jump(1);
    expect(lease.isValid).toBe(false);
  });

  test("counts from before its renewal was sent, not from the answer", async () => {
    let takes_ms = 0;
    const { clock, lease } = leased({
      put: async (_key, next) => {
        const put = await next();
        clock.jump(takes_ms);
        return put;
      },
    });
    await lease.acquire();
    clock.jump(2000);
    takes_ms = 3000;
    expect(await lease.renew()).toBe("renewed");
    clock.jump(0.8 * TTL_MS - 3000 - 1);
    expect(lease.isValid).toBe(true);
    clock.jump(1);
    expect(lease.isValid).toBe(false);
    takes_ms = TTL_MS;
    expect(await lease.renew()).toBe("renewed");
    expect(lease.isValid).toBe(false);
  });

  test("is renewed three times in a TTL, and says each time what it should say then", async () => {
    const { store, lease, record } = leased();
    expect(lease.interval_ms * 3).toBe(TTL_MS);
    await lease.acquire();
    record.state = "draining";
    expect(await lease.renew()).toBe("renewed");
    expect((await stored(store))?.record).toMatchObject({ state: "draining", nonce: "n2" });
  });

  test("is not acquired where the session's name is taken, or the store does not answer", async () => {
    const { store, lease } = leased();
    const { lease: second } = leased({ put: async () => ({ outcome: "conflict" }) });
    expect(await lease.acquire()).toBeUndefined();
    expect(await stored(store)).toBeDefined();
    expect(await second.acquire()).toMatchObject({ code: "store_unavailable" });
    expect(second.isValid).toBe(false);
    const { lease: third } = leased({ put: unclear, get: async () => SILENT });
    expect(await third.acquire()).toMatchObject({ code: "store_unavailable" });
  });

  test("whose renewal stayed unclear keeps its old validity, and goes on when the store answers again", async () => {
    for (const isDone of [false, true]) {
      let cut = false;
      const { store, clock, lease } = leased({
        put: async (_key, next) => {
          if (!cut) return next();
          if (isDone) await next();
          return unclear();
        },
        get: async (_key, next) => (cut ? SILENT : next()),
      });
      await lease.acquire();
      cut = true;
      clock.jump(3000);
      expect(await lease.renew()).toBe("unclear");
      clock.jump(0.8 * TTL_MS - 3000 - 1);
      expect(lease.isValid).toBe(true);
      clock.jump(1);
      expect(lease.isValid).toBe(false);
      cut = false;
      // What was applied after all is mine: only I write a lease that lives.
      expect(await lease.renew()).toBe("renewed");
      expect(lease.isValid).toBe(true);
      expect((await stored(store))?.record.nonce).toMatch(/^n[34]$/);
    }
  });

  test("whose renewal arrives late, behind a newer one's read, is still its own", async () => {
    const late: (() => Promise<unknown>)[] = [];
    let cut = false;
    const { lease } = leased({
      put: async (_key, next) => {
        if (cut) {
          late.push(next);
          return unclear();
        }
        for (const deliver of late.splice(0)) await deliver();
        return next();
      },
      get: async (_key, next) => (cut ? SILENT : next()),
    });
    await lease.acquire();
    cut = true;
    expect(await lease.renew()).toBe("unclear");
    cut = false;
    expect(await lease.renew()).toBe("renewed");
  });

  test("is lost when another node has declared it dead, before and after its lease was deleted", async () => {
    for (const isDeleted of [true, false]) {
      const { store, lease } = leased();
      await lease.acquire();
      await declareDead(store);
      if (isDeleted) await store.delete(nodeKey(SESSION));
      expect((await stored(store))?.record.state).toBe(isDeleted ? undefined : "dead");
      expect(await lease.renew()).toBe("lost");
    }
  });

  test("that cannot be read after a conflict is unclear, not lost", async () => {
    let silent = false;
    const { store, lease } = leased({ get: async (_key, next) => (silent ? SILENT : next()) });
    await lease.acquire();
    await declareDead(store);
    silent = true;
    expect(await lease.renew()).toBe("unclear");
    silent = false;
    expect(await lease.renew()).toBe("lost");
  });

  test("is written by one renewal at a time", async () => {
    let puts = 0;
    const { lease } = leased({
      put: (_key, next) => {
        puts++;
        return next();
      },
    });
    await lease.acquire();
    const both = await Promise.all([lease.renew(), lease.renew()]);
    expect(both).toEqual(["renewed", "renewed"]);
    expect(puts).toBe(2);
    await lease.renew();
    expect(puts).toBe(3);
  });

  test("says what was so when it was asked to, also where another renewal was on its way", async () => {
    let puts = 0;
    let arrive = (): void => {};
    const { store, lease, record } = leased({
      put: async (_key, next) => {
        if (++puts === 2)
          await new Promise<void>((go) => {
            arrive = go;
          });
        return next();
      },
    });
    await lease.acquire();
    const first = lease.renew();
    await quiet();
    record.state = "draining";
    const others = [lease.renew(), lease.renew()];
    arrive();
    expect(await first).toBe("renewed");
    expect(await Promise.all(others)).toEqual(["renewed", "renewed"]);
    expect((await stored(store))?.record.state).toBe("draining");
    // Those who waited together were written together.
    expect(puts).toBe(3);
  });

  test("that is removed is not valid and not there, also where a renewal was on its way", async () => {
    const { store, lease } = leased();
    await lease.acquire();
    const renewing = lease.renew();
    await lease.remove();
    await renewing;
    expect(lease.isValid).toBe(false);
    expect(await store.get(nodeKey(SESSION))).toBeUndefined();
  });
});

describe("burying", () => {
  test("hits only the lease as it was seen: who renewed in the last moment lives", async () => {
    const { store, lease } = leased();
    await lease.acquire();
    const seen = await stored(store);
    if (seen === undefined) throw new Error("no lease");
    expect(await lease.renew()).toBe("renewed");
    await bury(store, SESSION, seen.etag, "n");
    expect((await stored(store))?.record.state).toBe("serving");
    expect(await lease.renew()).toBe("renewed");
  });

  test("leaves no shard in its name", async () => {
    const { store, lease } = leased();
    await lease.acquire();
    await declareDead(store);
    expect((await stored(store))?.record).toMatchObject({ state: "dead", shards: {} });
  });
});

test("a lease of another version is not read as one", () => {
  expect(parseLease(encodeDocument("postern-node/2", { session: "s" }))).toBeUndefined();
  expect(parseLease(utf8('{"session":"s"}'))).toBeUndefined();
  expect(parseLease(encodeDocument("postern-node/1", { session: "s" }))).toEqual({ session: "s" });
});
