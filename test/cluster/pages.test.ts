/** Records on pages: what a checkpoint holds is what was captured, whatever is rewritten, doubled, abandoned or swept. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Checkpoints } from "../../src/cluster/checkpoint.ts";
import { manifestKey, type PartHeader, partKey } from "../../src/cluster/format.ts";
import type { Checkpoint } from "../../src/cluster/ownership.ts";
import { linesOf, pageOf, recordsOn, shardOf, splitBySize } from "../../src/cluster/pages.ts";
import type { Capture } from "../../src/cluster/records.ts";
import { isRefusal } from "../../src/errors.ts";
import { CHECKPOINT_PART_BYTES, PAGE_BYTES, SHARDS_DEFAULT } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { intercept, SILENT, unclear } from "../store/intercept.ts";
import { keysOf, opened, quiet, SHARD, SMALL } from "./harness.ts";

type Table = ReadonlyMap<string, readonly string[]>;

/** Lines by key; what changes is captured as a shard's runtime does. */
class Pages {
  readonly checkpoints: Checkpoints;
  seq = 0;
  readonly epoch: number;
  #nonces = 0;

  constructor(store: Store, epoch = 1) {
    this.checkpoints = new Checkpoints(store, SHARD);
    this.epoch = epoch;
  }

  /** @returns `undefined` where the store refused a part. */
  async write(changes: Table, common: readonly string[] = []) {
    const capture: Capture = {
      common,
      changed: [...changes.keys()],
      lines: (key) => changes.get(key) ?? [],
      settle: () => {},
    };
    const header = (): PartHeader => ({
      kind: "part",
      epoch: this.epoch,
      session: "s",
      nonce: `${this.epoch}-${++this.#nonces}`,
    });
    const written = await this.checkpoints.write(capture, ++this.seq, header);
    return isRefusal(written) ? undefined : written;
  }

  /** Writes, and lets it count. */
  async checkpoint(changes: Table, common: readonly string[] = []): Promise<Checkpoint> {
    const written = await this.write(changes, common);
    if (written === undefined) throw new Error("not written");
    this.checkpoints.adopt(written);
    return written.checkpoint;
  }
}

async function tableOf(
  checkpoints: Checkpoints,
  keys: Iterable<string>,
): Promise<Map<string, readonly string[]>> {
  const table = new Map<string, readonly string[]>();
  for (const key of keys) {
    const lines = await checkpoints.record(key);
    if (isRefusal(lines)) throw new Error(lines.detail);
    if (lines.length > 0) table.set(key, lines);
  }
  return table;
}

async function reopened(store: Store, checkpoint: Checkpoint): Promise<Checkpoints> {
  const checkpoints = new Checkpoints(store, SHARD);
  const found = await checkpoints.open(checkpoint);
  if (isRefusal(found)) throw new Error(found.detail);
  return checkpoints;
}

const KEYS = Array.from({ length: 24 }, (_, i) => `tenant/account/${i}`);
const LARGE = "l".repeat(PAGE_BYTES / 2);
const large = (keys: readonly string[]): Table => new Map(keys.map((key) => [key, [`${key} ${LARGE}`]]));

/** A table that has outgrown one page: 24 records of half a page each. */
async function grown(
  store: Store,
): Promise<{ pages: Pages; manifest: readonly unknown[]; checkpoint: Checkpoint }> {
  const pages = new Pages(store);
  await pages.checkpoint(large(KEYS));
  for (;;) {
    const written = await pages.write(new Map());
    if (written === undefined) throw new Error("not written");
    pages.checkpoints.adopt(written);
    await pages.checkpoints.sweep();
    const again = await pages.write(new Map());
    if (again?.manifest.pages.length === written.manifest.pages.length)
      return { pages, manifest: written.manifest.pages, checkpoint: written.checkpoint };
  }
}

describe("records", () => {
  const few = KEYS.slice(0, 8);
  const plain = fc.string({ unit: "binary" }).map((text) => JSON.stringify(text));
  const lines = fc.array(
    fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: fc.constant(LARGE) }),
    {
      maxLength: 3,
    },
  );
  const changes = fc.uniqueArray(fc.tuple(fc.constantFrom(...few), lines), {
    maxLength: few.length,
    selector: ([key]) => key,
  });
  const step = fc.record({
    changes,
    common: fc.array(fc.json({ stringUnit: "binary" }), { maxLength: 2 }),
    /** Whether the ownership came to name the checkpoint. */
    counts: fc.boolean(),
    sweeps: fc.boolean(),
    /** Whether the next owner goes on. */
    reopens: fc.boolean(),
  });

  test("are what was captured last, by any sequence of checkpoints, doublings, attempts and sweeps", async () => {
    const sizes = new Set<number>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 6 }), async (steps) => {
        const store = memoryStore();
        let pages = new Pages(store);
        // Crowded from the beginning, so that the next one doubles.
        await pages.checkpoint(large(few));
        const table = new Map(large(few));
        for (const [i, { changes: changed, common, counts, sweeps, reopens }] of steps.entries()) {
          const written = await pages.write(new Map(changed), common);
          if (written === undefined) throw new Error("not written");
          if (counts) {
            pages.checkpoints.adopt(written);
            sizes.add(written.manifest.pages.length);
            for (const [key, after] of changed) {
              if (after.length === 0) table.delete(key);
              else table.set(key, after);
            }
          }
          if (sweeps) await pages.checkpoints.sweep();
          if (counts && reopens) {
            const { seq, epoch } = pages;
            pages = new Pages(store, i + 2);
            pages.seq = seq;
            expect(await pages.checkpoints.open(written.checkpoint)).toEqual({ common, epoch });
          }
        }
        expect(await tableOf(pages.checkpoints, few)).toEqual(table);
      }),
      { seed: 1, numRuns: 20 },
    );
    expect(sizes).toEqual(new Set([2, 4]));
  });

  test("go to twice as many pages when those are crowded, and not before", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    await pages.checkpoint(large(KEYS.slice(0, 3)));
    expect((await pages.write(new Map()))?.manifest.pages).toHaveLength(1);
    await pages.checkpoint(large(KEYS));
    expect((await pages.write(new Map()))?.manifest.pages).toHaveLength(2);
    const { manifest } = await grown(memoryStore());
    // 24 records of half a page: 12 pages' worth; a page may hold two.
    expect(manifest).toHaveLength(8);
    expect(await tableOf(pages.checkpoints, KEYS)).toEqual(large(KEYS));
  });

  test("stay on their page, or go to the one as many further, when pages double", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 11 }), (key, exponent) => {
        const pages = 2 ** exponent;
        expect([pageOf(key, pages), pageOf(key, pages) + pages]).toContain(pageOf(key, 2 * pages));
      }),
      { seed: 1 },
    );
  });

  test("spread over pages whatever shard they are in, and over shards", () => {
    const counts = new Map<number, number>();
    const pages = new Map<number, number>();
    for (let i = 0; i < 64_000; i++) {
      const key = `tenant/account/${i}`;
      const shard = shardOf(key, SHARDS_DEFAULT);
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
      if (shard === 5) pages.set(pageOf(key, 8), (pages.get(pageOf(key, 8)) ?? 0) + 1);
    }
    expect(counts.size).toBe(SHARDS_DEFAULT);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(200);
    expect(pages.size).toBe(8);
    for (const count of pages.values()) expect(Math.abs(count - 125)).toBeLessThan(60);
  });

  test("are found by the same hashes for ever", () => {
    expect(["a", "tenant/account/1", "ü"].map((key) => [shardOf(key, 64), pageOf(key, 4096)])).toEqual([
      [18, 3530],
      [30, 3732],
      [10, 1828],
    ]);
  });

  test("come back from a page's lines, whatever is in a line", () => {
    const key = fc.string({ unit: fc.constantFrom("a", "b", "/", ".", "ü"), minLength: 1 });
    const line = fc.string().map((text) => JSON.stringify(text));
    fc.assert(
      fc.property(fc.dictionary(key, fc.array(line, { minLength: 1 })), (dictionary) => {
        const records = new Map(Object.entries(dictionary));
        expect(recordsOn(linesOf(records))).toEqual(records);
      }),
      { seed: 1 },
    );
  });

  test("are cut into parts by size, none lost, a line that is too large alone", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.integer({ min: 1, max: 30 }), (all, bytes) => {
        const parts = [...splitBySize(all, bytes)];
        expect(parts.flat()).toEqual(all);
        for (const part of parts) {
          const size = part.reduce((sum, text) => sum + text.length, 0);
          expect(part.filter((text) => text !== "").length <= 1 || size <= bytes).toBe(true);
        }
      }),
      { seed: 1 },
    );
  });

  test("larger than a part are in several", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    const half = "h".repeat(CHECKPOINT_PART_BYTES / 2 + 1);
    const table = new Map([["k", [half, half, "end"]]]);
    const checkpoint = await pages.checkpoint(table, ["common"]);
    const keys = await keysOf(store, "ckpt/");
    expect(keys.filter((key) => key.includes("/0/"))).toHaveLength(2);
    expect(await tableOf(await reopened(store, checkpoint), ["k"])).toEqual(table);
  });
});

describe("a checkpoint", () => {
  test("rewrites the pages whose records changed, and no other", async () => {
    const store = memoryStore();
    const { pages, manifest, checkpoint: before } = await grown(store);
    const puts: string[] = [];
    const noting = intercept(store, {
      put: (key, next) => {
        puts.push(key);
        return next();
      },
    });
    const next = new Pages(noting, 2);
    next.seq = pages.seq;
    await next.checkpoints.open(before);
    const [key = "", other = ""] = KEYS;
    const checkpoint = await next.checkpoint(new Map([[key, ["small"]]]), ["common"]);
    expect(puts).toEqual([
      partKey(SHARD, checkpoint.id, pageOf(key, manifest.length), 0),
      partKey(SHARD, checkpoint.id, "common", 0),
      manifestKey(SHARD, checkpoint.id),
    ]);
    expect(await next.checkpoints.record(key)).toEqual(["small"]);
    expect(await next.checkpoints.record(other)).toEqual(large([other]).get(other));
  });

  test("is given what the last one had of a record, and may remove it; an empty page is no object", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    await pages.checkpoint(new Map([["k", ["1", "2"]]]));
    const seen: (readonly string[])[] = [];
    const capture = {
      common: [],
      changed: ["k", "new"],
      lines: (_key: string, before: readonly string[]) => {
        seen.push(before);
        return [];
      },
      settle: () => {},
    };
    const header = (): PartHeader => ({ kind: "part", epoch: 1, session: "s", nonce: "n" });
    const written = await pages.checkpoints.write(capture, 2, header);
    expect(seen).toEqual([["1", "2"], []]);
    expect(isRefusal(written) ? written : written.manifest).toEqual({ v: 1, pages: [null], common: 0 });
  });

  test("fails with any part that is not written, or page that cannot be read, and then nothing has changed", async () => {
    const store = memoryStore();
    const { pages, checkpoint } = await grown(store);
    let left = 0;
    let failures = 0;
    for (let nth = 0; ; nth++) {
      left = nth;
      const failing = intercept(store, {
        put: async (_key, next) => (left-- <= 0 ? unclear() : next()),
        get: async (_key, next) => (left <= 0 ? SILENT : next()),
      });
      const next = new Pages(failing, nth + 2);
      next.seq = pages.seq;
      left = 1e9;
      await next.checkpoints.open(checkpoint);
      left = nth;
      const written = await next.write(new Map(KEYS.map((key) => [key, ["changed"]])), ["common"]);
      left = 1e9;
      expect(await tableOf(next.checkpoints, KEYS)).toEqual(large(KEYS));
      if (written !== undefined) break;
      failures++;
    }
    expect(failures).toBeGreaterThan(8);
  });
});

describe("a record whose page is gone", () => {
  /** A store whose next read of a page waits. */
  function holding(inner: Store) {
    const held: (() => void)[] = [];
    let armed = false;
    const store = intercept(inner, {
      get: async (key, next) => {
        if (armed && /\/\d+\/\d+$/.test(key)) {
          armed = false;
          await new Promise<void>((go) => held.push(go));
        }
        return next();
      },
    });
    return {
      store,
      arm: () => {
        armed = true;
      },
      release: () => held.shift()?.(),
    };
  }

  test("because a checkpoint has replaced it meanwhile, is found when it is asked for again", async () => {
    const inner = memoryStore();
    const { store, arm, release } = holding(inner);
    const pages = new Pages(store);
    await pages.checkpoint(new Map([["k", ["old"]]]));
    arm();
    const reading = pages.checkpoints.record("k");
    await quiet();
    await pages.checkpoint(new Map([["k", ["new"]]]));
    await pages.checkpoints.sweep();
    release();
    expect(await reading).toMatchObject({ code: "store_unavailable" });
    expect(await pages.checkpoints.record("k")).toEqual(["new"]);
  });

  test("is refused, by its page's name", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    const { id } = await pages.checkpoint(new Map([["k", ["old"]]]));
    await store.delete(partKey(SHARD, id, 0, 0));
    expect(await pages.checkpoints.record("k")).toMatchObject({
      code: "store_unavailable",
      detail: expect.stringContaining(partKey(SHARD, id, 0, 0)),
    });
  });

  test("by a node that was deposed, is refused: it does not lead", async () => {
    const store = memoryStore();
    const old = await opened(store, SMALL);
    await old.appendQuietly(...Array.from({ length: 10 }, (_, i) => `"a${i}"`));
    const young = await opened(store, SMALL);
    await young.appendQuietly(...Array.from({ length: 20 }, (_, i) => `"b${i}"`));
    expect(await old.log.record("key/1")).toMatchObject({ code: "not_leader" });
    expect(old.stepDowns).toMatchObject([{ code: "not_leader" }]);
  });
});

describe("a sweep", () => {
  test("of who was deposed without knowing it deletes nothing that its successors have written or name", async () => {
    const store = memoryStore();
    const { pages: zombie, checkpoint } = await grown(store);
    const next = new Pages(store, 2);
    next.seq = zombie.seq + 5;
    await next.checkpoints.open(checkpoint);
    const [first = "", second = ""] = KEYS;
    await next.checkpoint(new Map([[first, ["new"]]]));
    // And one that is being written.
    const abandoned = await next.write(new Map([[second, ["newer"]]]), ["common"]);
    const before = (await keysOf(store, "ckpt/")).toSorted();
    await zombie.checkpoints.sweep();
    expect((await keysOf(store, "ckpt/")).toSorted()).toEqual(before);
    const expected = new Map(large(KEYS)).set(first, ["new"]);
    expect(await tableOf(next.checkpoints, KEYS)).toEqual(expected);
    if (abandoned === undefined) throw new Error("not written");
    next.checkpoints.adopt(abandoned);
    expect(await tableOf(next.checkpoints, KEYS)).toEqual(expected.set(second, ["newer"]));
  });

  test("deletes what attempts have left that came to nothing, once a later one counts", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    await pages.write(new Map([["k", ["1"]]]), ["common"]);
    await pages.write(new Map([["k", ["2"]]]), ["common"]);
    const { id } = await pages.checkpoint(new Map([["k", ["3"]]]));
    await pages.checkpoints.sweep();
    expect((await keysOf(store, "ckpt/")).toSorted()).toEqual(
      [manifestKey(SHARD, id), partKey(SHARD, id, 0, 0)].toSorted(),
    );
  });

  test("before there is a checkpoint deletes nothing", async () => {
    const store = memoryStore();
    const pages = new Pages(store);
    await pages.write(new Map([["k", ["1"]]]));
    const before = await keysOf(store, "");
    await new Pages(store, 2).checkpoints.sweep();
    expect(await keysOf(store, "")).toEqual(before);
  });
});
