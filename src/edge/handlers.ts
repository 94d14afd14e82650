/**
 * Handlers on an edge node. workerd compiles no bytes at run time, so those run that were bundled with the worker; and
 * where a Worker Loader is bound, those that were published later, each in an isolate of its own.
 */
import { inputDocument, type Turn, type TurnResult } from "../dispatch/sandbox.ts";
import { type Allowance, turnsHere } from "../dispatch/turns.ts";
import { isRefusal, Refusal, refuse } from "../errors.ts";
import { type Handlers, type Run, readModule } from "../handlers.ts";
import type { Store } from "../store/contract.ts";
import { FUEL_HEADER, type LoadedAnswer } from "./loaded.ts";

/** What came with the worker. */
export interface Bundled {
  /** Compiled by the platform, by the hash of the instrumented module. */
  readonly handlers: ReadonlyMap<string, WebAssembly.Module>;
  /** The script around a handler that is loaded (`loaded.ts`): it imports the module as `handler.wasm`. */
  readonly loaded: string;
  /** When the platform behaved as that script needs it. */
  readonly compatibilityDate: string;
}

/** What is needed of a Worker Loader's binding. */
export interface LoaderBinding {
  /** Starts it, or takes the one that runs under this name. */
  get(name: string, code: () => Promise<LoadedCode>): { getEntrypoint(): { fetch: typeof fetch } };
}

interface LoadedCode {
  readonly compatibilityDate: string;
  readonly mainModule: string;
  readonly modules: Readonly<Record<string, { readonly js: string } | { readonly wasm: ArrayBuffer }>>;
  readonly env: object;
  /** `null`: it reaches nothing. */
  readonly globalOutbound: null;
}

export class EdgeHandlers implements Handlers {
  readonly #bundled: Bundled;
  readonly #store: Store;
  readonly #loader: LoaderBinding | undefined;

  constructor(bundled: Bundled, store: Store, loader: LoaderBinding | undefined) {
    this.#bundled = bundled;
    this.#store = store;
    this.#loader = loader;
  }

  async get(hash: string, tenant: string): Promise<Run | undefined> {
    const module = this.#bundled.handlers.get(hash);
    if (module !== undefined) return (...turn) => turnsHere.run({ hash, module }, tenant, ...turn);
    const loader = this.#loader;
    return loader && ((...turn) => this.#runLoaded(loader, hash, ...turn));
  }

  async #runLoaded(
    loader: LoaderBinding,
    hash: string,
    turn: Turn,
    { fuel }: Allowance,
  ): Promise<TurnResult | Refusal> {
    let unread: Refusal | undefined;
    const worker = loader.get(hash, async () => {
      const bytes = await readModule(this.#store, hash);
      if (isRefusal(bytes)) {
        unread = bytes;
        throw new Error(bytes.detail);
      }
      return this.#codeOf(bytes);
    });
    try {
      const response = await worker.getEntrypoint().fetch("http://handler/", {
        method: "POST",
        headers: { [FUEL_HEADER]: String(fuel) },
        body: inputDocument(turn),
      });
      const answer = (await response.json()) as LoadedAnswer;
      if ("ended" in answer) return answer.ended;
      const { code, detail, facts } = answer.refused;
      return new Refusal(code, detail, facts);
    } catch {
      return unread ?? refuse("handler_trapped", "the isolate that ran the handler has ended");
    }
  }

  #codeOf(bytes: Uint8Array<ArrayBuffer>): LoadedCode {
    return {
      compatibilityDate: this.#bundled.compatibilityDate,
      mainModule: "main.js",
      modules: { "main.js": { js: this.#bundled.loaded }, "handler.wasm": { wasm: bytes.buffer } },
      env: {},
      globalOutbound: null,
    };
  }
}
