/** A whole store is found whole; whatever is cut out of it or changed in it is named; a copy is the same store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { isRefusal } from "../src/errors.ts";
import { REVOCATIONS_PER_PAGE } from "../src/limits.ts";
import { revoke } from "../src/revoke.ts";
import { Secret } from "../src/secret.ts";
import type { StoreProblem } from "../src/shard-check.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { checkStore } from "../src/store-check.ts";
import { copyStore } from "../src/store-copy.ts";
import { encodePage, pageKey, type Revocation } from "../src/token/revocation.ts";
import { numbered, opened } from "./cluster/harness.ts";
import { call, codeOf, freshAccount, MASTER, must, party, random, startGate } from "./support/gate.ts";

const ignore = (): void => {};

/** What a gateway wrote (shard 0), and a shard whose log has a checkpoint (shard 7). */
let whole: ReadonlyMap<string, Uint8Array>;

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-check-"));
  const gate = await startGate(directory);
  const actor = freshAccount();
  const ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
  for (let i = 0; i < 5; i++) expect(codeOf(await call(ada, actor, "deposit", { amount: 1 }))).toBe("200");
  await gate.server.stop(0);

  const store = memoryStore();
  const served = sqliteStore(directory);
  must(await copyStore(served, store, ignore));
  await served.close();
  rmSync(directory, { recursive: true });
  const first = await opened(store, { checkpointLogBytesMin: 200 });
  await first.appendEach(...numbered("a", 6));
  await first.log.idle();
  const second = await opened(store);
  await second.appendEach(...numbered("b", 3));
  // A full page of revocations, and a second with one entry.
  const kid = (value: number): Revocation => ({ kind: "kid", value: String(value), at: "" });
  const entries = Array.from({ length: REVOCATIONS_PER_PAGE }, (_, i) => kid(i + 1));
  const page = encodePage({ tenant: "demo", page: 0, entries }, "n");
  await store.put(pageKey("demo", 0), page, { ifNoneMatch: "*" });
  must(await revoke(store, "demo", kid(REVOCATIONS_PER_PAGE + 1), { now_ms: 0, random }));
  whole = await objectsOf(store);
});

async function objectsOf(store: Store): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>();
  for (const key of must(await store.list(""))) {
    const found = must(await store.get(key));
    if (found !== undefined) objects.set(key, found.body);
  }
  return objects;
}

async function storeOf(objects: ReadonlyMap<string, Uint8Array>): Promise<Store> {
  const store = memoryStore();
  for (const [key, body] of objects) await store.put(key, body, { ifNoneMatch: "*" });
  return store;
}

async function problemsOf(
  objects: ReadonlyMap<string, Uint8Array>,
  master = MASTER,
): Promise<readonly StoreProblem[]> {
  return must(await checkStore(await storeOf(objects), master, ignore)).problems;
}

const keysOf = (kind: string): string[] => [...whole.keys()].filter((key) => key.startsWith(`${kind}/`));

describe("check", () => {
  it("finds a whole store whole, and says how far it has come", async () => {
    const kinds = new Set([...whole.keys()].map((key) => key.split("/")[0]));
    expect(kinds).toEqual(new Set(["changes", "ckpt", "handler", "keys", "log", "own", "policy", "revoked"]));
    const seen: number[] = [];
    const report = await checkStore(await storeOf(whole), MASTER, (done) => seen.push(done));
    let bytes = 0;
    for (const body of whole.values()) bytes += body.length;
    expect(report).toEqual({ objects: whole.size, bytes, problems: [] });
    expect(seen.at(-1)).toBe(whole.size);
  });

  it("names every object with a checksum or a hash in which one bit is turned over", async () => {
    for (const key of ["log", "ckpt", "keys", "revoked"]
      .flatMap(keysOf)
      .concat(keysOf("handler").filter((name) => name.includes("original")))) {
      const body = new Uint8Array(whole.get(key) ?? []);
      const at = Math.floor(body.length / 2);
      body[at] = (body[at] ?? 0) ^ 4;
      const problems = await problemsOf(new Map(whole).set(key, body));
      expect(problems.map((problem) => problem.key)).toContain(key);
    }
  });

  it("names what is missing: slots within the log, parts of a checkpoint, owners, handlers", async () => {
    const slotsOf = (shard: string): string[] =>
      keysOf("log")
        .filter((key) => key.startsWith(`log/${shard}/`))
        .toSorted();
    // The end of a log has nothing behind it that would miss it; a seal below the checkpoint is only a fence.
    const dispensable = new Set([slotsOf("000").at(-1), slotsOf("007").at(-1), slotsOf("007")[0]]);
    const needed = ["log", "ckpt", "own", "handler"].flatMap(keysOf).filter((key) => !dispensable.has(key));
    expect(needed.length).toBeGreaterThan(8);
    for (const key of needed) {
      const objects = new Map(whole);
      objects.delete(key);
      expect(JSON.stringify(await problemsOf(objects)), key).toContain(key);
    }
  });

  it("names a page of revocations that is missing, that stands in another's place, or ends too soon", async () => {
    const [first, second] = [pageKey("demo", 0), pageKey("demo", 1)];
    const without = new Map(whole);
    without.delete(first);
    const missing = [{ key: second, detail: `it needs ${first}, which is missing` }];
    expect(await problemsOf(without)).toEqual(missing);
    const swapped = new Map(whole).set(first, whole.get(second) ?? utf8("")).set("changes", utf8("{}"));
    expect((await problemsOf(swapped)).map(({ key }) => key)).toEqual(["changes", first]);
    const short = encodePage({ tenant: "demo", page: 0, entries: [] }, "n");
    expect(await problemsOf(new Map(whole).set(first, short))).toEqual([
      { key: first, detail: "it is not full, but another follows" },
    ]);
  });

  it("tells another master key, a foreign object, a broken policy", async () => {
    expect(await problemsOf(whole, new Secret(new Uint8Array(32)))).toMatchObject([{ key: "keys/demo" }]);
    const strange = new Map(whole).set("notes/readme", utf8("hello")).set("policy/demo", utf8("{"));
    expect((await problemsOf(strange)).map(({ key }) => key).toSorted()).toEqual([
      "notes/readme",
      "policy/demo",
    ]);
  });
});

describe("copy", () => {
  it("makes the same store, and again copies nothing", async () => {
    const from = await storeOf(whole);
    const to = memoryStore();
    expect(await copyStore(from, to, ignore)).toEqual({ copied: whole.size, there: 0 });
    expect(await objectsOf(to)).toEqual(new Map(whole));
    expect(await copyStore(from, to, ignore)).toEqual({ copied: 0, there: whole.size });
  });

  it("goes on where an interrupted one stopped; until then nobody can own a shard of it", async () => {
    const from = await storeOf(whole);
    for (const stopAfter of [0, 3, whole.size - 1]) {
      const to = memoryStore();
      let puts = 0;
      const failing: Store = {
        ...to,
        put: async (...put) => (puts++ < stopAfter ? to.put(...put) : { outcome: "unknown", reason: "gone" }),
      };
      expect(await copyStore(from, failing, ignore)).toMatchObject({ code: "store_unavailable" });
      const owned = [...(await objectsOf(to)).keys()].filter((key) => key.startsWith("own/"));
      if (owned.length > 0) expect((await objectsOf(to)).size).toBe(whole.size - 1);
      must(await copyStore(from, to, ignore));
      expect(await objectsOf(to)).toEqual(new Map(whole));
    }
  });

  it("overwrites nothing", async () => {
    const to = await storeOf(new Map([["keys/demo", utf8("another ring")]]));
    const refused = await copyStore(await storeOf(whole), to, ignore);
    expect(refused).toMatchObject({
      code: "store_unavailable",
      detail: expect.stringContaining("keys/demo"),
    });
    expect((await objectsOf(to)).get("keys/demo")).toEqual(utf8("another ring"));
  });

  it("refuses a source where something is revoked meanwhile, be it the first change of all", async () => {
    for (const changes of [true, false]) {
      const objects = new Map(whole);
      if (!changes) objects.delete("changes");
      const from = await storeOf(objects);
      const to = memoryStore();
      const busy: Store = {
        ...to,
        put: async (key, body, condition) => {
          const entry = { kind: "tenant", value: "demo", at: "" } as const;
          if (key.startsWith("policy/")) must(await revoke(from, "demo", entry, { now_ms: 0, random }));
          return to.put(key, body, condition);
        },
      };
      const refused = await copyStore(from, busy, ignore);
      expect(isRefusal(refused) && refused.detail).toContain("changes changed during the copy");
    }
  });

  it("refuses a source whose owner wrote a checkpoint meanwhile", async () => {
    const from = await storeOf(whole);
    const to = memoryStore();
    const busy: Store = {
      ...to,
      put: async (key, body, condition) => {
        if (key.startsWith("policy/")) await opened(from);
        return to.put(key, body, condition);
      },
    };
    const refused = await copyStore(from, busy, ignore);
    expect(isRefusal(refused) && refused.detail).toContain("own/007 changed during the copy");
  });
});
