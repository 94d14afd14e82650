/**
 * How a node runs handlers, by the hash of what was admitted and instrumented.
 *
 * Other bytes than that hash names are never run, wherever they come from.
 */
import type { Turn, TurnResult } from "./dispatch/sandbox.ts";
import type { Allowance, Handler, Turns } from "./dispatch/turns.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { hashOf, moduleKey } from "./publish.ts";
import type { Store } from "./store/contract.ts";

export type Run = (turn: Turn, allowance: Allowance) => Promise<TurnResult | Refusal>;

export interface Handlers {
  /**
   * @param hash of the instrumented module
   * @param tenant for whom it is run
   * @returns `undefined` where this node cannot run it: then the leader of the actor's shard does. Refusal:
   *   `store_unavailable`
   */
  get(hash: string, tenant: string): Promise<Run | undefined | Refusal>;
}

/** Those of the store, compiled once for each hash: handlers are shared by tenants and outlive policies. */
export class StoredHandlers implements Handlers {
  readonly #store: Store;
  readonly #turns: Turns;
  readonly #known = new Map<string, Handler>();

  constructor(store: Store, turns: Turns) {
    this.#store = store;
    this.#turns = turns;
  }

  async get(hash: string, tenant: string): Promise<Run | Refusal> {
    const handler = this.#known.get(hash) ?? (await this.#compile(hash, tenant));
    return isRefusal(handler) ? handler : (...turn) => this.#turns.run(handler, tenant, ...turn);
  }

  async #compile(hash: string, tenant: string): Promise<Handler | Refusal> {
    const bytes = await readModule(this.#store, hash);
    if (isRefusal(bytes)) return bytes;
    const handler = await this.#turns.compile(hash, bytes, tenant);
    if (!isRefusal(handler)) this.#known.set(hash, handler);
    return handler;
  }
}

/** Refusal: `store_unavailable`, where it is missing or damaged, too. */
export async function readModule(store: Store, hash: string): Promise<Uint8Array<ArrayBuffer> | Refusal> {
  const key = moduleKey(hash);
  const found = await store.get(key);
  if (isRefusal(found)) return found;
  if (found === undefined) return refuse("store_unavailable", `the handler ${key} is missing from the store`);
  // It was admitted and instrumented, or it is not run.
  if (hashOf(found.body) !== hash) return refuse("store_unavailable", `the handler ${key} is damaged`);
  return new Uint8Array(found.body);
}
