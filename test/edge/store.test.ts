/** The store's drivers as they run on the edge: inside workerd, on R2 as miniflare simulates it and on a real Ceph RGW. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromBase64url, toBase64url, toHex } from "../../src/bytes.ts";
import { bundleWorker } from "../../src/cli/edge-bundle.ts";
import { type Code, refuse } from "../../src/errors.ts";
import type { PutOutcome, Settled, Store } from "../../src/store/contract.ts";
import { probeStore } from "../../src/store/probe.ts";
import { storeContract } from "../store/conformance.ts";
import { random } from "../support/gate.ts";
import { describeOnRgw, type Rgw, startRgw } from "../support/rgw.ts";
import { startWorkerd, type Workerd } from "../support/workerd.ts";
import type { StoreCall } from "./store-worker.ts";

const SETTINGS = {
  POSTERN_EDGE: "test",
  POSTERN_EDGE_KEY: toHex(random(32)),
  POSTERN_TENANTS: "demo",
  POSTERN_AUTHORITIES: "gate.example",
};

const startStores = async (bindings: Record<string, string>): Promise<Workerd> => {
  const source = `export { default } from "./store-worker.ts";`;
  const script = await bundleWorker(source, fileURLToPath(new URL(".", import.meta.url)));
  return startWorkerd(
    { script, modules: new Map() },
    { bindings: { ...SETTINGS, ...bindings }, r2Buckets: ["STORE"] },
  );
};

interface Reply {
  readonly value?: unknown;
  readonly refusal?: { readonly code: Code; readonly detail: string };
}

/** The store of that name inside workerd. */
function remote({ url }: Workerd, name: string): Store {
  const ask = async <T>(call: StoreCall): Promise<T> => {
    const response = await fetch(`${url}/${name}`, { method: "POST", body: JSON.stringify(call) });
    if (!response.ok) throw new Error(await response.text());
    const { value, refusal } = (await response.json()) as Reply;
    return (refusal ? refuse(refusal.code, refusal.detail) : value) as T;
  };
  return {
    get: async (key) => {
      const found = await ask<{ etag: string; body: string } | undefined>({ method: "get", key });
      if (found === undefined || !("etag" in found)) return found;
      return { etag: found.etag, body: fromBase64url(found.body) ?? new Uint8Array() };
    },
    put: (key, body, condition) =>
      ask<PutOutcome>({ method: "put", key, body: toBase64url(body), condition }),
    settledPut: (key, body, condition) =>
      ask<Settled>({ method: "settledPut", key, body: toBase64url(body), condition }),
    delete: (key) => ask({ method: "delete", key }),
    list: (prefix) => ask({ method: "list", key: prefix }),
    close: async () => {},
  };
}

const freshName = (): string => toHex(random(8));

describe("R2 in workerd", () => {
  let workerd: Workerd;
  beforeAll(async () => {
    workerd = await startStores({ POSTERN_STORE: "r2:" });
  });
  afterAll(() => workerd.stop());

  storeContract("R2", async () => ({ store: remote(workerd, freshName()), dispose: async () => {} }));

  test("the probe passes, and leaves nothing behind", async () => {
    const store = remote(workerd, freshName());
    expect(await probeStore(store, random)).toBeUndefined();
    expect(await store.list("")).toEqual([]);
  });
});

describeOnRgw("S3 in workerd, on Ceph RGW", () => {
  let rgw: Rgw;
  let workerd: Workerd;
  beforeAll(async () => {
    rgw = await startRgw();
    workerd = await startStores({ ...rgw.env, POSTERN_STORE: `${rgw.freshUrl()}/` });
  });
  afterAll(async () => {
    await workerd.stop();
    await rgw.stop();
  });

  storeContract("S3", async () => ({ store: remote(workerd, freshName()), dispose: async () => {} }));

  test("the probe passes, and leaves nothing behind", async () => {
    const store = remote(workerd, freshName());
    expect(await probeStore(store, random)).toBeUndefined();
    expect(await store.list("")).toEqual([]);
  });
});
