/** A store's driver inside workerd, for tests outside: its contract over HTTP, one call a request. */
import { fromBase64url, toBase64url } from "../../src/bytes.ts";
import { readSettings } from "../../src/edge/settings.ts";
import { isRefusal } from "../../src/errors.ts";
import type { PutCondition, Store } from "../../src/store/contract.ts";
import { settledPut } from "../../src/store/settle.ts";
import { openStore } from "../../src/worker.ts";

export interface StoreCall {
  readonly method: "get" | "put" | "settledPut" | "delete" | "list";
  readonly key: string;
  /** Base64url. */
  readonly body?: string;
  readonly condition?: PutCondition;
}

/** One store for all requests, as in an edge node. */
const stores = new Map<string, Store>();

export default {
  async fetch(request: Request, bindings: Readonly<Record<string, unknown>>): Promise<Response> {
    const name = new URL(request.url).pathname.slice(1);
    const call = (await request.json()) as StoreCall;
    const store = stores.get(name) ?? open(name, bindings);
    stores.set(name, store);
    return Response.json(await answer(store, call));
  },
};

function open(name: string, bindings: Readonly<Record<string, unknown>>): Store {
  const settings = readSettings({
    ...bindings,
    POSTERN_STORE: `${String(bindings["POSTERN_STORE"])}${name}`,
  });
  if (typeof settings === "string") throw new Error(settings);
  return openStore(settings.store);
}

async function answer(store: Store, { method, key, body = "", condition }: StoreCall): Promise<object> {
  const bytes = fromBase64url(body) ?? new Uint8Array();
  if (method === "list") return wrapped(await store.list(key));
  if (method === "delete") return wrapped(await store.delete(key));
  if (method === "get") {
    const found = await store.get(key);
    return wrapped(found && !isRefusal(found) ? { etag: found.etag, body: toBase64url(found.body) } : found);
  }
  if (condition === undefined) throw new Error("a put without a condition");
  return wrapped(
    await (method === "put" ? store.put(key, bytes, condition) : settledPut(store, key, bytes, condition)),
  );
}

function wrapped(value: unknown): object {
  if (isRefusal(value)) return { refusal: { code: value.code, detail: value.detail } };
  return value === undefined ? {} : { value };
}
