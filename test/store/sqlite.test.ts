import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { threadedSqliteStore } from "../../src/store/threaded.ts";
import { storeContract } from "./conformance.ts";

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), "postern-store-"));

storeContract("sqlite", async () => {
  const directory = await newDirectory();
  let store = sqliteStore(directory);
  return {
    store,
    reopen: async () => {
      await store.close();
      store = sqliteStore(directory);
      return store;
    },
    dispose: async () => {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
});

async function directoryForTest(): Promise<string> {
  const directory = await newDirectory();
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

function storeForTest(directory: string): ReturnType<typeof sqliteStore> {
  const store = sqliteStore(directory);
  onTestFinished(() => store.close());
  return store;
}

const ABSENT = { ifNoneMatch: "*" } as const;
const BODY = new TextEncoder().encode("1");

describe("several processes on one directory", () => {
  test("begin it together and lose no increment", async () => {
    const directory = await directoryForTest();
    const script = fileURLToPath(new URL("increment.ts", import.meta.url));
    const [processes, times] = [4, 150];
    const ends = Array.from({ length: processes }, async () => {
      const child = spawn(process.execPath, [script, directory, String(times)], { stdio: "inherit" });
      const [code] = (await once(child, "exit")) as [number | null];
      return code;
    });
    expect(await Promise.all(ends)).toEqual(Array.from({ length: processes }, () => 0));
    const found = await storeForTest(directory).get("n");
    if (found === undefined || isRefusal(found)) throw new Error("there is no sum");
    expect(new TextDecoder().decode(found.body)).toBe(String(processes * times));
  });

  test("see each other's writes at once", async () => {
    const directory = await directoryForTest();
    const [one, other] = [storeForTest(directory), storeForTest(directory)];
    const put = await one.put("k", BODY, ABSENT);
    expect(await other.get("k")).toMatchObject({ etag: put.outcome === "done" ? put.etag : "" });
    expect(await other.put("k", BODY, ABSENT)).toEqual({ outcome: "conflict" });
  });
});

test("one that another process is just making is waited for", async () => {
  const directory = await directoryForTest();
  const other = new DatabaseSync(join(directory, "store.sqlite"));
  other.exec("BEGIN IMMEDIATE");
  const opening = threadedSqliteStore(directory);
  // Long enough for the thread to meet the lock; were it slower, the test would show less, and not fail.
  await new Promise((resolve) => setTimeout(resolve, 500));
  other.exec("COMMIT");
  other.close();
  const store = await opening;
  expect(await store.put("k", BODY, ABSENT)).toMatchObject({ outcome: "done" });
  await store.close();
});

describe("durability", () => {
  test("the write-ahead log is beside the database while it is open", async () => {
    const directory = await directoryForTest();
    await storeForTest(directory).put("k", BODY, ABSENT);
    expect(await readdir(directory)).toContain("store.sqlite-wal");
  });

  test("only its owner may read the directory that it makes", async () => {
    const directory = join(await directoryForTest(), "deep", "store");
    storeForTest(directory);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });
});

describe("a broken database", () => {
  test("refuses reads, leaves writes unknown, and throws nothing", async () => {
    const directory = await directoryForTest();
    const store = storeForTest(directory);
    await store.put("k", BODY, ABSENT);
    const vandal = new DatabaseSync(join(directory, "store.sqlite"));
    vandal.exec("DROP TABLE objects");
    vandal.close();
    expect(await store.get("k")).toMatchObject({ code: "store_unavailable" });
    expect(await store.list("")).toMatchObject({ code: "store_unavailable" });
    expect(await store.put("k", BODY, ABSENT)).toMatchObject({ outcome: "unknown" });
    expect(await store.put("k", BODY, { ifMatch: "1" })).toMatchObject({ outcome: "unknown" });
    expect(await store.delete("k")).toBe("unknown");
  });

  test("leaves nobody's write of one group known, writes nothing of it, and goes on with the next", async () => {
    const directory = await directoryForTest();
    const store = storeForTest(directory);
    const kept = await store.put("kept", BODY, ABSENT);
    const vandal = new DatabaseSync(join(directory, "store.sqlite"));
    vandal.exec(
      "CREATE TRIGGER t BEFORE INSERT ON objects WHEN NEW.key = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    vandal.close();
    const put = (key: string) => ({ put: key, body: BODY, condition: ABSENT });
    const group = [put("a"), { get: "a" }, put("poison"), { delete: "kept" }, put("kept"), { list: "" }];
    const unknown = { outcome: "unknown", reason: "no" };
    const absent = undefined;
    expect(store.perform(group)).toEqual([unknown, absent, unknown, "unknown", unknown, ["kept"]]);
    expect(await store.get("kept")).toMatchObject({ etag: kept.outcome === "done" ? kept.etag : "" });
    expect(store.perform([put("a"), put("kept")])).toMatchObject([
      { outcome: "done" },
      { outcome: "conflict" },
    ]);
  });

  test("is told when it is opened", async () => {
    const directory = await directoryForTest();
    await writeFile(join(directory, "store.sqlite"), "this is no database, it is a text of some length");
    expect(() => sqliteStore(directory)).toThrow("not a database");
  });
});
