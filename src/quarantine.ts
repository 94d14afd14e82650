/**
 * Handlers that no node runs any more: a turn of theirs did not end when its fuel did, and its process was killed.
 *
 * One object of the store holds them all, by the hash of the instrumented module: `apply` of another module is what ends
 * it for an actor, and so is a later fuel pass. A node reads it before any tenant, and whenever something has changed.
 */
import { toHex } from "./bytes.ts";
import { noteChange } from "./changes.ts";
import { decodeDocument, encodeDocument } from "./checked.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { CHANGE_ATTEMPTS_MAX, QUARANTINED_MAX } from "./limits.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";

export const QUARANTINE_KEY = "quarantine";
const FORMAT = "postern-quarantine/1";
const HASH = /^[0-9a-f]{64}$/;

/** A module, and for whom it ran. */
export interface Blamed {
  /** SHA-256 of the instrumented module, hex. */
  readonly hash: string;
  readonly tenant: string;
}

export interface Quarantined extends Blamed {
  /** RFC 3339. */
  readonly since: string;
}

/** @returns `undefined` where it is not what this version writes. */
export function parseQuarantine(body: Uint8Array): readonly Quarantined[] | undefined {
  const { handlers }: { readonly handlers?: unknown } = decodeDocument(FORMAT, body) ?? {};
  return Array.isArray(handlers) && handlers.every(isQuarantined) ? handlers : undefined;
}

function isQuarantined(item: unknown): item is Quarantined {
  if (typeof item !== "object" || item === null) return false;
  const { hash, tenant, since }: Partial<Record<keyof Quarantined, unknown>> = item;
  return (
    typeof hash === "string" && HASH.test(hash) && typeof tenant === "string" && typeof since === "string"
  );
}

/** What a node knows of it. */
export class Quarantine {
  #handlers: ReadonlyMap<string, Quarantined> = new Map();

  /** What a turn of that module is answered with, where it is quarantined. */
  refuse(hash: string): Refusal | undefined {
    const found = this.#handlers.get(hash);
    if (found === undefined) return undefined;
    return refuse(
      "handler_trapped",
      `the handler is quarantined since ${found.since}: a turn of it did not end when its fuel did. Another module ends this`,
    );
  }

  /** Refusal: `store_unavailable`; then what was known before still holds. */
  async read(store: Store): Promise<Refusal | undefined> {
    const handlers = await readQuarantine(store);
    if (isRefusal(handlers)) return handlers;
    this.#handlers = new Map(handlers.map((handler) => [handler.hash, handler]));
    return undefined;
  }
}

/** Refusal: `store_unavailable`. */
export async function readQuarantine(store: Store): Promise<readonly Quarantined[] | Refusal> {
  const found = await store.get(QUARANTINE_KEY);
  if (found === undefined || isRefusal(found)) return found ?? [];
  return parseQuarantine(found.body) ?? damaged();
}

/** Refusal: `store_unavailable`. */
export function quarantine(
  store: Store,
  { hash, tenant }: Blamed,
  since: string,
  random: (length: number) => Uint8Array,
): Promise<Refusal | undefined> {
  return change(store, tenant, random, (before) => {
    if (before.some((known) => known.hash === hash)) return before;
    // Of so many the oldest is let go: it would only come back.
    return [...before, { hash, tenant, since }].slice(-QUARANTINED_MAX);
  });
}

/** @returns whether it was in quarantine. Refusal: `store_unavailable`. */
export async function lift(
  store: Store,
  hash: string,
  random: (length: number) => Uint8Array,
): Promise<boolean | Refusal> {
  const handlers = await readQuarantine(store);
  if (isRefusal(handlers)) return handlers;
  const found = handlers.find((known) => known.hash === hash);
  if (found === undefined) return false;
  const without = (before: readonly Quarantined[]) => before.filter((known) => known.hash !== hash);
  return (await change(store, found.tenant, random, without)) ?? true;
}

async function change(
  store: Store,
  tenant: string,
  random: (length: number) => Uint8Array,
  changed: (before: readonly Quarantined[]) => readonly Quarantined[],
): Promise<Refusal | undefined> {
  for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
    const found = await store.get(QUARANTINE_KEY);
    if (isRefusal(found)) return found;
    const before = found === undefined ? [] : parseQuarantine(found.body);
    if (before === undefined) return damaged();
    const after = changed(before);
    if (after === before) return undefined;
    const body = encodeDocument(FORMAT, { handlers: after, nonce: toHex(random(16)) });
    const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
    const put = await settledPut(store, QUARANTINE_KEY, body, condition);
    if (put.outcome === "won") return noteChange(store, tenant, random);
    if (put.outcome === "unknown")
      return refuse("store_unavailable", `${QUARANTINE_KEY} was not written: ${put.reason}`);
  }
  return refuse("store_unavailable", `${QUARANTINE_KEY} was not written: too many others write it`);
}

function damaged(): Refusal {
  return refuse("store_unavailable", `the object ${QUARANTINE_KEY} is damaged or of another version`);
}
