/** Handlers on an edge node: workerd compiles no bytes at run time, so those run that were bundled with the worker. */
import { turnsHere } from "../dispatch/turns.ts";
import type { Handlers, Run } from "../handlers.ts";

/** Compiled by the platform, by the hash of the instrumented module. */
export type Bundled = ReadonlyMap<string, WebAssembly.Module>;

export class EdgeHandlers implements Handlers {
  readonly #bundled: Bundled;

  constructor(bundled: Bundled) {
    this.#bundled = bundled;
  }

  async get(hash: string, tenant: string): Promise<Run | undefined> {
    const module = this.#bundled.get(hash);
    return module && ((...turn) => turnsHere.run({ hash, module }, tenant, ...turn));
  }
}
