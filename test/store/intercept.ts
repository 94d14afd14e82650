/** Faults on purpose: a store whose operations pass through hooks on their way to a real one. */
import { type Refusal, refuse } from "../../src/errors.ts";
import type { PutCondition, PutOutcome, Store, StoredObject } from "../../src/store/contract.ts";

type Next<T> = () => Promise<T>;

export interface Hooks {
  readonly get?: (
    key: string,
    next: Next<StoredObject | undefined | Refusal>,
  ) => Promise<StoredObject | undefined | Refusal>;
  readonly put?: (
    key: string,
    next: Next<PutOutcome>,
    body: Uint8Array,
    condition: PutCondition,
  ) => Promise<PutOutcome>;
  readonly delete?: (key: string, next: Next<"done" | "unknown">) => Promise<"done" | "unknown">;
  readonly list?: (
    prefix: string,
    next: Next<readonly string[] | Refusal>,
  ) => Promise<readonly string[] | Refusal>;
}

export function intercept(store: Store, hooks: Hooks): Store {
  return {
    get: (key) => {
      const next = () => store.get(key);
      return hooks.get === undefined ? next() : hooks.get(key, next);
    },
    put: (key, body, condition) => {
      const next = () => store.put(key, body, condition);
      return hooks.put === undefined ? next() : hooks.put(key, next, body, condition);
    },
    delete: (key) => {
      const next = () => store.delete(key);
      return hooks.delete === undefined ? next() : hooks.delete(key, next);
    },
    list: (prefix) => {
      const next = () => store.list(prefix);
      return hooks.list === undefined ? next() : hooks.list(prefix, next);
    },
    close: () => store.close(),
  };
}

export const UNCLEAR: PutOutcome = { outcome: "unknown", reason: "the connection was cut" };

/** `UNCLEAR`, in its own time: who asks without end lets others run, and the test's clock ends it. */
export async function unclear(): Promise<PutOutcome> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  return UNCLEAR;
}

export const SILENT: Refusal = refuse("store_unavailable", "the store does not answer");

/** Puts of the keys that match wait until they are let through; everything else passes. */
export class Barrier {
  readonly store: Store;
  readonly #waiting: (() => void)[] = [];
  #open = false;

  constructor(inner: Store, holds: (key: string) => boolean) {
    this.store = intercept(inner, {
      put: async (key, next) => {
        if (!this.#open && holds(key)) await new Promise<void>((go) => this.#waiting.push(go));
        return next();
      },
    });
  }

  /** Puts that wait now. */
  get held(): number {
    return this.#waiting.length;
  }

  /** Lets the oldest waiting put through, and the next ones wait. */
  letOne(): void {
    this.#waiting.shift()?.();
  }

  /** Lets through all that wait and all that come. */
  open(): void {
    this.#open = true;
    for (const go of this.#waiting.splice(0)) go();
  }
}
