/** A copy is the same store, wherever the copying was interrupted; and what is in use is neither copied nor overwritten. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { isRefusal } from "../src/errors.ts";
import { revoke } from "../src/revoke.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { checkStore } from "../src/store-check.ts";
import { copyStore } from "../src/store-copy.ts";
import { intercept, SILENT, UNCLEAR } from "./store/intercept.ts";
import { MASTER, must, random } from "./support/gate.ts";
import { describeOnRgw, type Rgw, startRgw } from "./support/rgw.ts";
import { ShardsNode } from "./support/shards-node.ts";
import { digests, objectsOf, SHARDS, storeOf, wholeStore } from "./support/whole-store.ts";

const ignore = (): void => {};

let whole: ReadonlyMap<string, Uint8Array>;
/** What is copied of it, by its checksums: not what processes at work have left of themselves. */
let copied: ReadonlyMap<string, string>;

beforeAll(async () => {
  whole = await wholeStore();
  copied = new Map([...digests(whole)].filter(([key]) => !/^(node|probe)\//.test(key)));
  expect(copied.size).toBe(whole.size - 2);
});

const problemsOf = async (store: Store) => must(await checkStore(store, MASTER, ignore)).problems;

describe("a copy", () => {
  it("is the same store, without leases and probes; a second one copies nothing", async () => {
    const [from, to] = [await storeOf(whole), memoryStore()];
    const seen: number[] = [];
    expect(await copyStore(from, to, (done) => seen.push(done))).toEqual({ copied: copied.size, there: 0 });
    expect(seen).toEqual(Array.from(copied, (_, i) => i + 1));
    expect(digests(await objectsOf(to))).toEqual(copied);
    expect(await problemsOf(to)).toEqual([]);
    expect(await copyStore(from, to, ignore)).toEqual({ copied: 0, there: copied.size });
  });

  it("is one that nodes serve from, with all that was acknowledged", async () => {
    const to = memoryStore();
    must(await copyStore(await storeOf(whole), to, ignore));
    const node = await new ShardsNode(to, { shardCount: SHARDS }).start();
    for (let i = 0; i < 12; i++) {
      expect(await node.call("open", { actor: `account/${i}` })).toBe("out_of_order");
      expect(await node.call("balance", { actor: `account/${i}` })).toBe("done");
    }
  });

  it("that was interrupted at any object goes on where it stopped; until then nobody can own a shard of it", async () => {
    const from = await storeOf(whole);
    for (let stopAt = 0; stopAt < copied.size; stopAt++) {
      // Before it was written, and after: then the copying ends without having heard of it.
      for (const isApplied of [false, true]) {
        const to = memoryStore();
        let puts = 0;
        const failing = intercept(to, {
          put: async (_key, next) => {
            if (puts++ < stopAt) return next();
            if (isApplied && puts === stopAt + 1) await next();
            return UNCLEAR;
          },
          get: async (_key, next) => (puts > stopAt ? SILENT : next()),
        });
        expect(await copyStore(from, failing, ignore)).toMatchObject({ code: "store_unavailable" });
        const there = await objectsOf(to);
        const others = [...copied.keys()].filter((key) => !/^(own\/|changes$)/.test(key));
        if ([...there.keys()].some((key) => key.startsWith("own/")))
          expect(others.filter((key) => !there.has(key))).toEqual([]);
        const report = must(await copyStore(from, to, ignore));
        expect(report).toEqual({ copied: copied.size - there.size, there: there.size });
        expect(digests(await objectsOf(to))).toEqual(copied);
      }
    }
  });

  it("ends with a refusal where either store does not answer, whenever that is", async () => {
    const from = await storeOf(whole);
    let reads = 0;
    const counting = intercept(from, {
      get: (_key, next) => {
        reads++;
        return next();
      },
    });
    must(await copyStore(counting, memoryStore(), ignore));
    for (let stopAt = 0; stopAt < reads; stopAt++) {
      let left = stopAt;
      const failing = intercept(from, { get: async (_key, next) => (left-- <= 0 ? SILENT : next()) });
      const to = memoryStore();
      expect(await copyStore(failing, to, ignore)).toBe(SILENT);
      must(await copyStore(from, to, ignore));
      expect(digests(await objectsOf(to))).toEqual(copied);
    }
    const unlisted = intercept(from, { list: async () => SILENT });
    expect(await copyStore(unlisted, memoryStore(), ignore)).toBe(SILENT);
  });

  it("of a damaged object is found by the check after it", async () => {
    for (const key of ["own/000", "policy/demo", "meta/cluster", "log/000/00000000000000000001"]) {
      const body = new Uint8Array(whole.get(key) ?? []);
      body[40] = (body[40] ?? 0) ^ 1;
      const to = memoryStore();
      must(await copyStore(await storeOf(new Map(whole).set(key, body)), to, ignore));
      expect((await problemsOf(to)).map((problem) => problem.key)).toEqual([key]);
    }
  });

  it("overwrites nothing, whichever object differs", async () => {
    const from = await storeOf(whole);
    for (const key of copied.keys()) {
      const to = await storeOf(new Map([[key, utf8("another store's")]]));
      expect(await copyStore(from, to, ignore)).toMatchObject({
        code: "store_unavailable",
        detail: expect.stringContaining(`${key} is there already, with other bytes`),
      });
      expect((await objectsOf(to)).get(key)).toEqual(utf8("another store's"));
    }
  });
});

describe("a source that is in use", () => {
  /** Copies, while something happens to the source before the policies are there. */
  async function copyWhile(from: Store, happens: () => Promise<unknown>) {
    let happened = false;
    const busy = intercept(memoryStore(), {
      put: async (key, next) => {
        if (key.startsWith("policy/") && !happened) {
          happened = true;
          await happens();
        }
        return next();
      },
    });
    const refused = await copyStore(from, busy, ignore);
    expect(happened).toBe(true);
    return isRefusal(refused) ? refused.detail : "copied";
  }

  it("is refused where something is revoked meanwhile, be it the first change of all", async () => {
    for (const changes of [true, false]) {
      const objects = new Map(whole);
      if (!changes) objects.delete("changes");
      const from = await storeOf(objects);
      const entry = { kind: "tenant", value: "demo", at: "" } as const;
      const told = await copyWhile(from, async () =>
        must(await revoke(from, "demo", entry, { now_ms: 0, random })),
      );
      expect(told).toContain("changes changed during the copy");
    }
  });

  it("is refused where anything was appended to a log meanwhile: it may have been acknowledged", async () => {
    const from = await storeOf(whole);
    const told = await copyWhile(from, () =>
      from.put("log/000/00000000000000000999", utf8("x"), { ifNoneMatch: "*" }),
    );
    expect(told).toContain("log/000/00000000000000000999 changed during the copy");
  });

  it("is refused where a shard was taken or checkpointed meanwhile", async () => {
    const from = memoryStore();
    // Without the lease of a node that must be waited for.
    must(await copyStore(await storeOf(whole), from, ignore));
    const told = await copyWhile(from, () => new ShardsNode(from, { shardCount: SHARDS }).start());
    expect(told).toMatch(/^(own|log|ckpt)\/00\d.* changed during the copy/);
  });
});

describe("from directory to directory", () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-copy-"));
  const opened: Store[] = [];
  const fileStore = (name: string): Store => {
    const store = sqliteStore(join(directory, name));
    opened.push(store);
    return store;
  };
  afterAll(async () => {
    for (const store of opened) await store.close();
    rmSync(directory, { recursive: true });
  });

  /** Copies there and back again. */
  async function roundTrip(name: string, between: Store): Promise<void> {
    const first = fileStore(`${name}-first`);
    must(await copyStore(await storeOf(whole), first, ignore));
    expect(await copyStore(first, between, ignore)).toEqual({ copied: copied.size, there: 0 });
    expect(await problemsOf(between)).toEqual([]);
    const last = fileStore(`${name}-last`);
    expect(await copyStore(between, last, ignore)).toEqual({ copied: copied.size, there: 0 });
    expect(digests(await objectsOf(last))).toEqual(copied);
    expect(await problemsOf(last)).toEqual([]);
  }

  it("by way of memory, it is the same", async () => {
    await roundTrip("memory", memoryStore());
    expect(opened).toHaveLength(2);
  });

  describeOnRgw("and a bucket", () => {
    let rgw: Rgw;
    beforeAll(async () => {
      rgw = await startRgw();
    });
    afterAll(() => rgw.stop());

    it("is the same by way of one, also where the copying into it is interrupted", async () => {
      const bucket = rgw.open(rgw.freshUrl());
      opened.push(bucket);
      let puts = 0;
      const failing = intercept(bucket, { put: async (_, next) => (puts++ < 20 ? next() : UNCLEAR) });
      const from = await storeOf(whole);
      expect(await copyStore(from, failing, ignore)).toMatchObject({ code: "store_unavailable" });
      expect(must(await copyStore(from, bucket, ignore)).there).toBe(20);
      expect(digests(await objectsOf(bucket))).toEqual(copied);
      const fresh = rgw.open(rgw.freshUrl());
      opened.push(fresh);
      await roundTrip("bucket", fresh);
    });
  });
});
