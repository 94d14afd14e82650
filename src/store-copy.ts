/**
 * Copies a whole store into another: a backup, or a move between a directory and a bucket.
 *
 * Objects are created, never replaced: what is there already must be the same bytes, so a copy that was interrupted
 * goes on where it stopped, and a store in use is never overwritten. Ownership records come last; until then no node
 * can serve from the copy. A source that a node writes to meanwhile is refused at the end: stop the node first.
 */
import { sameBytes } from "./bytes.ts";
import { CHANGES_KEY } from "./changes.ts";
import { NODE_PREFIX, OWN_PREFIX } from "./cluster/format.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";
import { forEachObject, type Progress } from "./store-walk.ts";

export interface CopyReport {
  readonly copied: number;
  /** Objects that an earlier copy had brought already. */
  readonly there: number;
}

/** What changes with all that matters: copied last, and a source where it changes meanwhile is refused. */
const isWatched = (key: string): boolean => key.startsWith(OWN_PREFIX) || key === CHANGES_KEY;

/** Of processes at work on the source: leases, and what a probe has left. */
const isPassing = (key: string): boolean => key.startsWith(NODE_PREFIX) || key.startsWith("probe/");

/** Refusals: `store_unavailable` for either store, an object that differs, a source that changed meanwhile. */
export async function copyStore(from: Store, to: Store, progress: Progress): Promise<CopyReport | Refusal> {
  const keys = await from.list("");
  if (isRefusal(keys)) return keys;
  const owned = keys.filter(isWatched);
  const others = keys.filter((key) => !isWatched(key) && !isPassing(key));
  const before = await etagsOf(from, keys);
  if (isRefusal(before)) return before;

  let copied = 0;
  let there = 0;
  const copy = async (key: string, body: Uint8Array): Promise<Refusal | undefined> => {
    const brought = await create(to, key, body);
    if (isRefusal(brought)) return brought;
    if (brought) copied++;
    else there++;
    return undefined;
  };
  // In two goes: whoever finds an ownership record in the copy finds all that it speaks of.
  const total = owned.length + others.length;
  const failed =
    (await forEachObject(from, others.toSorted(), (done, _, bytes) => progress(done, total, bytes), copy)) ??
    (await refuseChanged(from, before)) ??
    (await forEachObject(
      from,
      owned,
      (done, _, bytes) => progress(others.length + done, total, bytes),
      copy,
    )) ??
    (await refuseChanged(from, before));
  return failed ?? { copied, there };
}

/** @returns whether it was created; `false` where the same bytes were there. */
async function create(to: Store, key: string, body: Uint8Array): Promise<boolean | Refusal> {
  const found = await to.get(key);
  if (isRefusal(found)) return found;
  if (found === undefined) {
    const put = await settledPut(to, key, body, { ifNoneMatch: "*" });
    if (put.outcome === "won") return true;
    const why = put.outcome === "lost" ? "somebody else wrote it" : put.reason;
    return refuse("store_unavailable", `${key} was not copied: ${why}`);
  }
  return sameBytes(found.body, body)
    ? false
    : refuse("store_unavailable", `${key} is there already, with other bytes: copy into an empty store`);
}

/** Every object that is copied, and the versions of those that change when others do. */
type Etags = ReadonlyMap<string, string>;

async function etagsOf(store: Store, keys: readonly string[]): Promise<Etags | Refusal> {
  const etags = new Map<string, string>();
  for (const key of keys) {
    if (isPassing(key)) continue;
    const found = isWatched(key) ? await store.get(key) : undefined;
    if (isRefusal(found)) return found;
    etags.set(key, found?.etag ?? "");
  }
  return etags;
}

/** A slot that was appended meanwhile was acknowledged to somebody, and is not in the copy. */
async function refuseChanged(from: Store, before: Etags): Promise<Refusal | undefined> {
  const keys = await from.list("");
  if (isRefusal(keys)) return keys;
  const after = await etagsOf(from, keys);
  if (isRefusal(after)) return after;
  const all = new Set([...before.keys(), ...after.keys()]);
  const changed = [...all].find((key) => after.get(key) !== before.get(key));
  if (changed === undefined) return undefined;
  return refuse(
    "store_unavailable",
    `${changed} changed during the copy: stop what writes to the source first`,
  );
}
