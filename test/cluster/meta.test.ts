/** What all nodes of a store agree on: written once, by whoever is first, and never made up again. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { encodeDocument } from "../../src/checked.ts";
import { META_KEY, ownKey } from "../../src/cluster/format.ts";
import { ensureMeta, parseMeta, readMeta } from "../../src/cluster/meta.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Barrier, intercept, SILENT, unclear } from "../store/intercept.ts";
import { quiet } from "./harness.ts";

describe("what a store's nodes agree on", () => {
  test("is what the first one says; the others' wishes come too late", async () => {
    const store = memoryStore();
    expect(await readMeta(store)).toBeUndefined();
    expect(await ensureMeta(store, 16, "a")).toMatchObject({ shards: 16 });
    expect(await ensureMeta(store, 64, "b")).toMatchObject({ shards: 16 });
    expect(await readMeta(store)).toMatchObject({ shards: 16 });
  });

  test("is one number, where many say theirs at the same moment", async () => {
    const store = memoryStore();
    const barrier = new Barrier(store, (key) => key === META_KEY);
    const wishes = [1, 2, 3, 4].map((shards) => ensureMeta(barrier.store, shards, `n${shards}`));
    await quiet();
    expect(barrier.held).toBe(4);
    barrier.open();
    const agreed = await Promise.all(wishes);
    expect(new Set(agreed.map((meta) => (meta as { shards: number }).shards)).size).toBe(1);
  });

  test("is not made up for a store that has shards already: their actors would be sought elsewhere", async () => {
    const store = memoryStore();
    await store.put(ownKey(3), utf8("x"), { ifNoneMatch: "*" });
    expect(await ensureMeta(store, 64, "n")).toMatchObject({
      code: "store_unavailable",
      detail: expect.stringContaining(META_KEY),
    });
    expect(await store.get(META_KEY)).toBeUndefined();
  });

  test("is refused where it is damaged, and stays as it is", async () => {
    const store = memoryStore();
    await store.put(META_KEY, utf8('{"shards":64}'), { ifNoneMatch: "*" });
    expect(await ensureMeta(store, 64, "n")).toMatchObject({ detail: expect.stringContaining(META_KEY) });
    expect(await store.get(META_KEY)).toMatchObject({ body: utf8('{"shards":64}') });
  });

  test("is not known where the store does not answer", async () => {
    const store = memoryStore();
    expect(await ensureMeta(intercept(store, { get: async () => SILENT }), 64, "n")).toBe(SILENT);
    expect(await ensureMeta(intercept(store, { list: async () => SILENT }), 64, "n")).toBe(SILENT);
    expect(await ensureMeta(intercept(store, { put: unclear }), 64, "n")).toMatchObject({
      code: "store_unavailable",
    });
  });

  test("has at least one shard, and a whole number of them", () => {
    const parse = (shards: unknown) => parseMeta(encodeDocument("postern-meta/1", { shards, nonce: "n" }));
    for (const wrong of [0, -1, 1.5, "64", null, undefined]) expect(parse(wrong)).toBeUndefined();
    expect(parse(1)).toEqual({ shards: 1, nonce: "n" });
  });
});
