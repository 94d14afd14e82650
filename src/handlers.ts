/**
 * How handlers are run, by the hash of what was admitted and instrumented.
 *
 * Other bytes than that hash names are never run, wherever they come from.
 */
import { runTurn, TURN_BOUNDS, type Turn, type TurnResult } from "./dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { hashOf, moduleKey } from "./publish.ts";
import type { Store } from "./store/contract.ts";

export type Run = (turn: Turn, fuel: number) => TurnResult | Refusal;

export interface Handlers {
  /**
   * @param hash of the instrumented module
   * @returns `undefined` where this node cannot run it: then the leader of the actor's shard does. Refusal:
   *   `store_unavailable`
   */
  get(hash: string): Promise<Run | undefined | Refusal>;
}

/** Compiled from the store, once for each hash: handlers are shared by tenants and outlive policies. */
export class CompiledHandlers implements Handlers {
  readonly #store: Store;
  readonly #runs = new Map<string, Run>();

  constructor(store: Store) {
    this.#store = store;
  }

  async get(hash: string): Promise<Run | Refusal> {
    const known = this.#runs.get(hash);
    if (known !== undefined) return known;
    const bytes = await readModule(this.#store, hash);
    if (isRefusal(bytes)) return bytes;
    const run = runOf(await WebAssembly.compile(bytes));
    this.#runs.set(hash, run);
    return run;
  }
}

export function runOf(module: WebAssembly.Module): Run {
  return (turn, fuel) => runTurn(module, turn, { ...TURN_BOUNDS, fuel });
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
