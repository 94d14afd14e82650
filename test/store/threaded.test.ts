import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { STORE_GROUP_BYTES_MAX, STORE_GROUP_OPERATIONS_MAX } from "../../src/limits.ts";
import type { PutOutcome, Store } from "../../src/store/contract.ts";
import { threadedSqliteStore } from "../../src/store/threaded.ts";
import { must } from "../support/gate.ts";
import { storeContract } from "./conformance.ts";

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), "postern-threaded-"));

storeContract("sqlite on a thread", async () => {
  const directory = await newDirectory();
  let store = await threadedSqliteStore(directory);
  return {
    store,
    reopen: async () => {
      await store.close();
      store = await threadedSqliteStore(directory);
      return store;
    },
    dispose: async () => {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
});

test("a directory that holds no database of ours is an error at the start", async () => {
  const directory = await newDirectory();
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "store.sqlite"), "this is no database".repeat(100));
  await expect(threadedSqliteStore(directory)).rejects.toThrow(/database/);
});

test("should the thread die, reads are refused and writes are unknown; nothing hangs", async () => {
  const directory = await newDirectory();
  onTestFinished(() => rm(directory, { recursive: true }));
  const store = await threadedSqliteStore(directory);
  const posted = vi.spyOn(Worker.prototype, "postMessage");
  const underWay = store.put("a", new Uint8Array(1), { ifNoneMatch: "*" });
  await Promise.resolve();
  const worker = posted.mock.contexts[0] as Worker;
  posted.mockRestore();
  await worker.terminate();
  expect(["done", "unknown"]).toContain((await underWay).outcome);
  expect(await store.put("b", new Uint8Array(1), { ifNoneMatch: "*" })).toMatchObject({ outcome: "unknown" });
  expect(await store.delete("a")).toBe("unknown");
  expect(isRefusal(await store.get("a"))).toBe(true);
  expect(isRefusal(await store.list(""))).toBe(true);
  await store.close();
});

describe("puts that wait at the same time", () => {
  const ABSENT = { ifNoneMatch: "*" } as const;
  const WRITERS = 64;

  async function opened(): Promise<{ store: Store; transactions: () => Promise<number> }> {
    const directory = await newDirectory();
    const store = await threadedSqliteStore(directory);
    onTestFinished(async () => {
      await store.close();
      await rm(directory, { recursive: true });
    });
    return {
      store,
      transactions: async () => commitsIn(await readFile(join(directory, "store.sqlite-wal"))),
    };
  }

  test("share transactions; one after the other, they do not", async () => {
    const { store, transactions } = await opened();
    const before = await transactions();
    const puts = Array.from({ length: WRITERS }, (_, i) => store.put(`k${i}`, new Uint8Array(9), ABSENT));
    expect((await Promise.all(puts)).filter(({ outcome }) => outcome === "done")).toHaveLength(WRITERS);
    const together = (await transactions()) - before;
    expect(together).toBeGreaterThan(0);
    expect(together).toBeLessThan(WRITERS / 4);
    for (let i = 0; i < 5; i++) await store.put(`serial${i}`, new Uint8Array(9), ABSENT);
    expect((await transactions()) - before - together).toBe(5);
  });

  test("share them also when they were asked for in different steps", async () => {
    const { store, transactions } = await opened();
    const before = await transactions();
    const puts: Promise<PutOutcome>[] = [];
    // While the first is written, the others come.
    for (let i = 0; i < WRITERS; i++) {
      puts.push(store.put(`k${i}`, new Uint8Array(9), ABSENT));
      await Promise.resolve();
      await Promise.resolve();
    }
    await Promise.all(puts);
    expect((await transactions()) - before).toBeLessThan(WRITERS / 2);
  });

  test("keep their own conditions: who loses takes nobody along", async () => {
    const { store } = await opened();
    const first = await store.put("k", new TextEncoder().encode("first"), ABSENT);
    const stale = { ifMatch: "0" };
    const answers = await Promise.all([
      store.put("a", new Uint8Array(1), ABSENT),
      store.put("k", new Uint8Array(2), stale),
      store.put("a", new Uint8Array(3), ABSENT),
      store.get("a"),
      store.delete("a"),
      store.get("a"),
      store.list(""),
      store.put("b", new Uint8Array(4), ABSENT),
    ]);
    expect(answers).toMatchObject([
      { outcome: "done" },
      { outcome: "conflict" },
      { outcome: "conflict" },
      { body: new Uint8Array(1) },
      "done",
      undefined,
      ["k"],
      { outcome: "done" },
    ]);
    expect(await store.get("k")).toMatchObject({ etag: first.outcome === "done" ? first.etag : "" });
    expect(must(await store.list("")).toSorted()).toEqual(["b", "k"]);
  });

  test("are split where they are too many or too large for one transaction, and all are answered", async () => {
    const { store } = await opened();
    const sizes = [...Array<number>(STORE_GROUP_OPERATIONS_MAX + 9).fill(1), STORE_GROUP_BYTES_MAX + 1, 1, 1];
    const puts = await Promise.all(sizes.map((size, i) => store.put(`k${i}`, new Uint8Array(size), ABSENT)));
    expect(puts.filter(({ outcome }) => outcome === "done")).toHaveLength(sizes.length);
    expect(must(await store.get(`k${sizes.length - 3}`))?.body).toHaveLength(STORE_GROUP_BYTES_MAX + 1);
  });

  test("and that close waits for are still written", async () => {
    const { store } = await opened();
    const puts = Promise.all([store.put("a", new Uint8Array(1), ABSENT), store.get("a")]);
    await store.close();
    expect(await puts).toMatchObject([{ outcome: "done" }, { body: new Uint8Array(1) }]);
  });
});

/** Transactions in a write-ahead log that has not wrapped: its frames that name the database's size end one each. */
function commitsIn(wal: Buffer): number {
  const [header, frameHeader] = [32, 24];
  if (wal.length < header) return 0;
  const frame = frameHeader + wal.readUInt32BE(8);
  let commits = 0;
  for (let at = header; at + frame <= wal.length; at += frame) {
    const isOfThisLog = wal.compare(wal, 16, 24, at + 8, at + 16) === 0;
    if (isOfThisLog && wal.readUInt32BE(at + 4) > 0) commits++;
  }
  return commits;
}
