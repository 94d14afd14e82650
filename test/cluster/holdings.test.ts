/** The shards that a node owns: one taken or given up at a time, and what cannot be opened stops alone. */
import { describe, expect, test } from "vitest";
import { logKey, ownKey } from "../../src/cluster/format.ts";
import { Holdings, type HoldingsOptions } from "../../src/cluster/holdings.ts";
import type { Owner } from "../../src/cluster/owners.ts";
import { readOwnership } from "../../src/cluster/ownership.ts";
import type { Records } from "../../src/cluster/records.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { CHECKPOINT_SLOT_BYTES, SHARD_RETRY_MS } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { type Hooks, intercept, SILENT, unclear } from "../store/intercept.ts";
import { TestClock } from "./clock.ts";
import { History, keysOf, numbered, quiet } from "./harness.ts";

const SHARD = 3;
const anybody = async (): Promise<boolean> => true;
const nobody = async (): Promise<boolean> => false;

/** One node's holdings, and what they tell. */
class Node {
  readonly clock = new TestClock();
  readonly events: string[] = [];
  readonly told: (Owner & { readonly shard: number })[] = [];
  readonly histories = new Map<number, History>();
  readonly holdings: Holdings;
  hooks: Hooks = {};

  constructor(store: Store, session: string, options: Partial<HoldingsOptions> = {}) {
    let nonces = 0;
    this.holdings = new Holdings({
      store: intercept(store, {
        get: (key, next) => this.hooks.get?.(key, next) ?? next(),
        put: (key, next, ...more) => this.hooks.put?.(key, next, ...more) ?? next(),
        delete: (key, next) => this.hooks.delete?.(key, next) ?? next(),
        list: (prefix, next) => this.hooks.list?.(prefix, next) ?? next(),
      }),
      clock: this.clock,
      session,
      nonce: () => `${session}-${++nonces}`,
      breathe: async () => {},
      window: 1,
      leaseIsValid: () => true,
      records: (shard) => {
        const history = new History();
        this.histories.set(shard, history);
        return history;
      },
      opened: (shard) => this.events.push(`opened ${shard}`),
      closed: (shard, why) => this.events.push(`closed ${shard}: ${why.detail}`),
      checkpointFailed: (shard, why) => this.events.push(`no checkpoint ${shard}: ${why.detail}`),
      tell: (shard, { session: owner, epoch }) => this.told.push({ shard, session: owner, epoch }),
      ...options,
    });
  }

  take(isFree: (session: string) => Promise<boolean | Refusal> = anybody): Promise<Refusal | undefined> {
    return this.holdings.take(SHARD, isFree);
  }

  async append(entry: string): Promise<Refusal | undefined> {
    this.histories.get(SHARD)?.apply(entry);
    return this.holdings.get(SHARD)?.append(entry);
  }

  async entries(): Promise<readonly string[] | undefined> {
    const log = this.holdings.get(SHARD);
    return log && this.histories.get(SHARD)?.entries((key) => log.record(key));
  }
}

async function epochOf(store: Store): Promise<number | undefined> {
  const owned = await readOwnership(store, SHARD);
  return isRefusal(owned) ? undefined : owned?.ownership.epoch;
}

describe("a shard is taken", () => {
  test("where nobody owns it, and told", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    expect(await node.take(nobody)).toBeUndefined();
    expect([...node.holdings.shards.keys()]).toEqual([SHARD]);
    expect(node.events).toEqual([`opened ${SHARD}`]);
    expect(node.told).toEqual([{ shard: SHARD, session: "a", epoch: 1 }]);
  });

  test("once, however many ask for it at the same time", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    await Promise.all([node.take(), node.take(), node.take()]);
    expect([node.events.length, await epochOf(store)]).toEqual([1, 1]);
    expect(node.holdings.busy(SHARD)).toBeUndefined();
  });

  test("from its owner only where that one may be deposed, and not where this cannot be told", async () => {
    const store = memoryStore();
    const [first, second] = [new Node(store, "a"), new Node(store, "b")];
    await first.take();
    await first.append('"1"');
    const asked: string[] = [];
    const isFree = async (session: string): Promise<boolean> => {
      asked.push(session);
      return false;
    };
    expect(await second.take(isFree)).toBeUndefined();
    expect([asked, second.events, second.told]).toEqual([
      ["a"],
      [],
      [{ shard: SHARD, session: "a", epoch: 1 }],
    ]);
    expect(await second.take(async () => SILENT)).toBe(SILENT);
    second.clock.jump(SHARD_RETRY_MS);
    expect(await second.take(anybody)).toBeUndefined();
    expect(await second.entries()).toEqual(['"1"']);
    // The first one learns of it when it writes.
    expect(await first.append('"2"')).toMatchObject({ code: "not_leader" });
    expect(first.events).toEqual([`opened ${SHARD}`, expect.stringContaining(`closed ${SHARD}`)]);
    expect(first.holdings.get(SHARD)).toBeUndefined();
  });

  test("again by who has lost its log, without asking anybody", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    await node.take();
    await node.append('"1"');
    node.hooks = {
      put: (key, next) => (key.startsWith("log/") ? unclear() : next()),
      get: async () => SILENT,
    };
    expect(await node.append('"2"')).toMatchObject({ code: "outcome_unknown" });
    expect(node.holdings.get(SHARD)).toBeUndefined();
    node.hooks = {};
    expect(await node.take(nobody)).toBeUndefined();
    expect(await node.entries()).toEqual(['"1"']);
    expect(await epochOf(store)).toBe(2);
  });

  test("by one of two who want it at the same time; the other knows who, and that is no failure", async () => {
    const store = memoryStore();
    const nodes = [new Node(store, "a"), new Node(store, "b")];
    expect(await Promise.all(nodes.map((node) => node.take()))).toEqual([undefined, undefined]);
    const winners = nodes.filter(({ holdings }) => holdings.get(SHARD) !== undefined);
    expect(winners).toHaveLength(1);
    const loser = nodes.find((node) => node !== winners[0]);
    expect(loser?.told.at(-1)?.session).toBe(winners[0] === nodes[0] ? "a" : "b");
    expect([loser?.events, loser?.holdings.failure(SHARD)]).toEqual([[], undefined]);
  });
});

describe("a shard that cannot be opened", () => {
  test("says why until it is tried again, and is not read meanwhile, however often it is asked for", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    let lists = 0;
    node.hooks = {
      list: async () => {
        lists++;
        return SILENT;
      },
    };
    expect(await node.take()).toBe(SILENT);
    expect(node.events).toEqual([`closed ${SHARD}: ${SILENT.detail}`]);
    for (let i = 0; i < 10; i++) {
      node.clock.jump(SHARD_RETRY_MS / 20);
      expect(await node.take()).toBe(SILENT);
    }
    expect([lists, node.holdings.failure(SHARD)]).toEqual([1, SILENT]);
    node.hooks = {};
    node.clock.jump(SHARD_RETRY_MS / 2);
    expect(node.holdings.failure(SHARD)).toBeUndefined();
    expect(await node.take()).toBeUndefined();
    expect(node.holdings.get(SHARD)).toBeDefined();
  });

  test("leaves the others alone", async () => {
    const node = new Node(memoryStore(), "a");
    node.hooks = { list: async (prefix, next) => (prefix === "log/003/" ? SILENT : next()) };
    const taken = await Promise.all([1, 2, 3, 4].map((shard) => node.holdings.take(shard, anybody)));
    expect(taken).toEqual([undefined, undefined, SILENT, undefined]);
    expect([...node.holdings.shards.keys()].toSorted((a, b) => a - b)).toEqual([1, 2, 4]);
  });

  test.each([
    ["an entry", "apply", logKey(SHARD, 5)],
    ["a checkpoint", "restore", "/common/"],
  ] as const)("because %s makes no sense, though its checksum is right, is named", async (_, method, key) => {
    const store = memoryStore();
    const first = new Node(store, "a", { checkpointLogBytesMin: 3 * CHECKPOINT_SLOT_BYTES });
    await first.take();
    if (method === "restore") for (const entry of numbered("x", 5)) await first.append(entry);
    await first.append('"secret"');
    await first.holdings.get(SHARD)?.idle();
    const refusing: Records = {
      ...new History(),
      capture: () => {
        throw new Error("not here");
      },
      apply: () => {},
      restore: () => {},
      [method]: (line: string) => {
        throw new SyntaxError(`Unexpected token in ${line}`);
      },
    };
    const second = new Node(store, "b", { records: () => refusing });
    const refused = await second.take();
    expect(refused).toMatchObject({ code: "store_unavailable", detail: expect.stringContaining(key) });
    expect(refused?.detail).not.toContain("secret");
    expect(second.events).toEqual([`closed ${SHARD}: ${refused?.detail}`]);
  });

  test("because of a bug does not end the process, and the message of the bug is told to nobody", async () => {
    const node = new Node(memoryStore(), "a");
    node.hooks = {
      list: async () => {
        throw new RangeError("secret");
      },
    };
    const refused = await node.take();
    expect(refused).toMatchObject({ code: "store_unavailable" });
    expect(refused?.detail).not.toContain("secret");
    expect(node.holdings.busy(SHARD)).toBeUndefined();
  });

  test("because its ownership record is damaged is named, and taken by nobody", async () => {
    const store = memoryStore();
    await new Node(store, "a").take();
    await store.delete(ownKey(SHARD));
    const node = new Node(store, "b");
    expect(await node.take()).toMatchObject({ detail: expect.stringContaining(ownKey(SHARD)) });
    expect(await store.get(ownKey(SHARD))).toBeUndefined();
  });
});

describe("a shard is handed over", () => {
  test("when all that was taken is durable; then nobody owns it, and that is told", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    await node.take();
    const appended = numbered("x", 3).map((entry) => node.append(entry));
    expect(await node.holdings.handOver(SHARD)).toBeUndefined();
    expect(await Promise.all(appended)).toEqual([undefined, undefined, undefined]);
    expect(node.told.at(-1)).toEqual({ shard: SHARD, session: null, epoch: 1 });
    expect(node.holdings.shards.size).toBe(0);
    const next = new Node(store, "b");
    await next.take(nobody);
    expect(await next.entries()).toEqual(numbered("x", 3));
  });

  test("once, and not at all where it is not held", async () => {
    const node = new Node(memoryStore(), "a");
    expect(await node.holdings.handOver(SHARD)).toBeUndefined();
    await node.take();
    await Promise.all([node.holdings.handOver(SHARD), node.holdings.handOver(SHARD)]);
    expect(node.events.filter((event) => event.startsWith("closed"))).toHaveLength(1);
  });

  test("and taken one after the other, in the order in which that was asked for", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    await Promise.all([node.take(), node.holdings.handOver(SHARD), node.take()]);
    expect(node.events.map((event) => event.slice(0, 6))).toEqual(["opened", "closed", "opened"]);
    expect([node.holdings.shards.size, await epochOf(store)]).toEqual([1, 2]);
  });

  test("is given up also where the store does not say that it was", async () => {
    const store = memoryStore();
    const node = new Node(store, "a");
    await node.take();
    node.hooks = { put: unclear, get: async () => SILENT };
    expect(await node.holdings.handOver(SHARD)).toMatchObject({ code: "store_unavailable" });
    expect(node.holdings.shards.size).toBe(0);
    expect(await node.append('"late"')).toBeUndefined();
  });

  test("does not wait for the end of a sweep, however much there is to delete", async () => {
    const store = memoryStore();
    const first = new Node(store, "a");
    await first.take();
    for (const entry of numbered("x", 40)) await first.append(entry);
    await first.holdings.handOver(SHARD);
    const second = new Node(store, "b", { checkpointLogBytesMin: 1 });
    await second.take();
    let deletes = 0;
    let go = (): void => {};
    second.hooks = {
      delete: async (_key, next) => {
        deletes++;
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        return next();
      },
    };
    await second.append('"last"');
    await quiet();
    expect(deletes).toBe(1);
    const handedOver = second.holdings.handOver(SHARD);
    await quiet();
    go();
    expect(await handedOver).toBeUndefined();
    expect(deletes).toBe(1);
    // Who comes next goes on where this one stopped.
    const third = new Node(store, "c");
    await third.take();
    await third.holdings.get(SHARD)?.idle();
    expect(await third.entries()).toEqual([...numbered("x", 40), '"last"']);
    expect((await keysOf(store, "log/")).length).toBeLessThan(6);
  });

  test("does not wait for the end of a checkpoint either, and loses nothing by it", async () => {
    const store = memoryStore();
    const node = new Node(store, "a", { checkpointLogBytesMin: 3 * CHECKPOINT_SLOT_BYTES });
    await node.take();
    const parts: string[] = [];
    let go = (): void => {};
    node.hooks = {
      put: async (key, next) => {
        if (!key.startsWith("ckpt/")) return next();
        parts.push(key);
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        return next();
      },
    };
    for (const entry of numbered("x", 5)) await node.append(entry);
    await quiet();
    expect(parts).toHaveLength(1);
    const handedOver = node.holdings.handOver(SHARD);
    await quiet();
    go();
    expect(await handedOver).toBeUndefined();
    expect(parts).toHaveLength(1);
    expect(node.events.filter((event) => event.startsWith("no checkpoint"))).toEqual([]);
    const next = new Node(store, "b");
    await next.take();
    expect(await next.entries()).toEqual(numbered("x", 5));
  });
});

test("a checkpoint that is not written is told with its object, and the shard goes on", async () => {
  const store = memoryStore();
  const node = new Node(store, "a", { checkpointLogBytesMin: 3 * CHECKPOINT_SLOT_BYTES });
  await node.take();
  node.hooks = { put: (key, next) => (key.startsWith("ckpt/") ? unclear() : next()) };
  for (const entry of numbered("x", 5)) expect(await node.append(entry)).toBeUndefined();
  await node.holdings.get(SHARD)?.idle();
  expect(node.events).toEqual([`opened ${SHARD}`, expect.stringMatching(/^no checkpoint 3: .*ckpt\/003\//)]);
  node.hooks = {};
  for (const entry of numbered("y", 5)) expect(await node.append(entry)).toBeUndefined();
  await node.holdings.get(SHARD)?.idle();
  expect((await readOwnership(store, SHARD)) as unknown).toMatchObject({
    ownership: { checkpoint: { seq: expect.any(Number) } },
  });
  expect(await node.entries()).toEqual([...numbered("x", 5), ...numbered("y", 5)]);
});
