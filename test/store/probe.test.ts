/** The probe refuses every store that breaks one promise, and says which; it accepts those that keep them all. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isRefusal, refuse } from "../../src/errors.ts";
import type { PutCondition, PutOutcome, Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { probeStore } from "../../src/store/probe.ts";
import { s3Store } from "../../src/store/s3.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { random } from "../support/gate.ts";
import { s3Options } from "../support/s3-options.ts";
import { type Hooks, intercept, unclear } from "./intercept.ts";

/** Writes whatever is there. */
async function force(store: Store, key: string, body: Uint8Array): Promise<PutOutcome> {
  for (;;) {
    const found = await store.get(key);
    if (isRefusal(found)) throw new Error(found.detail);
    const put = await store.put(
      key,
      body,
      found === undefined ? { ifNoneMatch: "*" } : { ifMatch: found.etag },
    );
    if (put.outcome !== "conflict") return put;
  }
}

async function holds(store: Store, key: string, condition: PutCondition): Promise<boolean> {
  const found = await store.get(key);
  if (isRefusal(found)) throw new Error(found.detail);
  return "ifMatch" in condition ? found?.etag === condition.ifMatch : found === undefined;
}

const isCreation = (condition: PutCondition): boolean => "ifNoneMatch" in condition;

/** Each breaks one promise: how, and what the probe must say. */
const BROKEN: readonly [string, string, (inner: Store) => Hooks][] = [
  [
    "ignores If-None-Match",
    "it ignores If-None-Match",
    (inner) => ({
      put: (key, next, body, condition) => (isCreation(condition) ? force(inner, key, body) : next()),
    }),
  ],
  [
    "ignores If-Match",
    "it ignores If-Match",
    (inner) => ({
      put: (key, next, body, condition) => (isCreation(condition) ? next() : force(inner, key, body)),
    }),
  ],
  [
    "ignores If-Match where the key is absent",
    "it ignores If-Match where the key is absent",
    (inner) => ({
      put: async (key, next, body) =>
        (await inner.get(key)) === undefined ? force(inner, key, body) : next(),
    }),
  ],
  [
    "refuses every If-Match",
    "it answers a conflict where none can be seen",
    () => ({
      put: async (_key, next, _body, condition) => (isCreation(condition) ? next() : { outcome: "conflict" }),
    }),
  ],
  [
    "refuses every write",
    "it answers a conflict where none can be seen",
    () => ({ put: async () => ({ outcome: "conflict" }) }),
  ],
  ...(["If-None-Match", "If-Match"] as const).map((header): [string, string, (inner: Store) => Hooks] => [
    `looks, waits, and writes: ${header}`,
    `of 8 who race with ${header}, several win`,
    (inner) => ({
      put: async (key, next, body, condition) => {
        if (isCreation(condition) !== (header === "If-None-Match")) return next();
        if (!(await holds(inner, key, condition))) return { outcome: "conflict" };
        await setImmediate();
        return force(inner, key, body);
      },
    }),
  ]),
  [
    "says conflict and writes",
    "it ignores If-None-Match",
    (inner) => ({
      put: async (key, next, body) => {
        const put = await next();
        if (put.outcome === "conflict") await force(inner, key, body);
        return put;
      },
    }),
  ],
  [
    "loses what it says is done",
    "a read does not find what was written",
    () => ({ get: async () => undefined }),
  ],
  [
    "shows another ETag on reads",
    "a read shows another ETag",
    () => ({
      get: async (_key, next) => {
        const found = await next();
        return found === undefined || isRefusal(found) ? found : { ...found, etag: `${found.etag}-gzip` };
      },
    }),
  ],
  ["lists nothing", "a list does not show what was written", () => ({ list: async () => [] })],
];

describe("refuses a store that", () => {
  test.each(BROKEN)("%s", async (_name, says, hooks) => {
    const inner = memoryStore();
    const problem = await probeStore(intercept(inner, hooks(inner)), random);
    expect(problem).toMatchObject({ code: "store_unavailable", detail: expect.stringContaining(says) });
    expect(await inner.list("")).toEqual([]);
  });

  test("answers nothing clearly, or nothing at all: without a word about conditions", async () => {
    const unclearStore = intercept(memoryStore(), { put: () => unclear() });
    const said = refuse("store_unavailable", "gone");
    for (const store of [unclearStore, intercept(memoryStore(), { get: async () => said })]) {
      const problem = await probeStore(store, random);
      expect(problem?.code).toBe("store_unavailable");
      expect(problem?.detail).not.toMatch(/ignores|refuses/);
    }
  });
});

describe("accepts", () => {
  test("a store that keeps the contract, and touches nothing but its own keys", async () => {
    const inner = memoryStore();
    await inner.put("probe/of somebody else", new Uint8Array(1), { ifNoneMatch: "*" });
    const keys = new Set<string>();
    const store = intercept(inner, {
      put: (key, next) => {
        keys.add(key);
        return next();
      },
    });
    for (let times = 0; times < 2; times++) expect(await probeStore(store, random)).toBeUndefined();
    for (const key of keys) expect(key).toMatch(/^probe\/[0-9a-f]{32}\/\d+$/);
    expect(new Set([...keys].map((key) => key.split("/")[1])).size).toBe(2);
    expect(await inner.list("")).toEqual(["probe/of somebody else"]);
  });

  test("the embedded store", async () => {
    const directory = mkdtempSync(join(tmpdir(), "postern-probe-"));
    const store = sqliteStore(directory);
    expect(await probeStore(store, random)).toBeUndefined();
    expect(await store.list("")).toEqual([]);
    await store.close();
    rmSync(directory, { recursive: true });
  });

  test("a store whose answers are often lost, because that is settled by reading back", async () => {
    let puts = 0;
    const store = intercept(memoryStore(), {
      put: async (_key, next) => {
        const put = await next();
        return puts++ % 3 === 0 ? unclear() : put;
      },
    });
    expect(await probeStore(store, random)).toBeUndefined();
  });
});

describe("s3rver, a server that takes conditions and ignores them", () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-s3rver-"));
  let server: ChildProcess;
  let endpoint = "";

  beforeAll(async () => {
    const options = ["--directory", directory, "--address", "127.0.0.1", "--port", "0"];
    server = spawn(process.execPath, [
      "node_modules/s3rver/bin/s3rver.js",
      ...options,
      "--configure-bucket",
      "careless",
    ]);
    endpoint = await new Promise((resolve) => {
      server.stdout?.on("data", (chunk: Buffer) => {
        const address = /listening on ([\d.]+:\d+)/.exec(chunk.toString())?.[1];
        if (address !== undefined) resolve(`http://${address}`);
      });
    });
  });
  afterAll(async () => {
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
    rmSync(directory, { recursive: true });
  });

  test("is refused, and the refusal says what it ignores", async () => {
    const env = {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: "S3RVER",
      AWS_SECRET_ACCESS_KEY: "S3RVER",
    };
    const store = s3Store(s3Options("s3://careless/prefix", env));
    expect(await probeStore(store, random)).toEqual(
      refuse("store_unavailable", "the store cannot be used, because it ignores If-None-Match"),
    );
    expect(await store.list("")).toEqual([]);
    await store.close();
  });
});
