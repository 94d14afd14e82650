import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test, vi } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { threadedSqliteStore } from "../../src/store/threaded.ts";
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
