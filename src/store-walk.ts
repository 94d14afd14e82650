/** Reading a whole store, object by object: a few at a time, with progress, and without holding more than those. */
import { isRefusal, type Refusal } from "./errors.ts";
import { STORE_READS_AT_ONCE } from "./limits.ts";
import type { Store } from "./store/contract.ts";

/** How far a long work over a store has come. */
export type Progress = (done: number, total: number, bytes: number) => void;

/** Reads the objects, a few at a time, in about the order of their keys. @returns the first refusal, if any. */
export async function forEachObject(
  store: Store,
  keys: readonly string[],
  progress: Progress,
  visit: (key: string, body: Uint8Array) => void | Promise<Refusal | void>,
): Promise<Refusal | undefined> {
  let next = 0;
  let done = 0;
  let bytes = 0;
  let failed: Refusal | undefined;
  const reader = async (): Promise<void> => {
    for (let key = keys[next++]; key !== undefined && failed === undefined; key = keys[next++]) {
      const found = await store.get(key);
      // Absent by now: a node at work has collected it.
      const refused = isRefusal(found) ? found : found && (await visit(key, found.body));
      if (refused) failed ??= refused;
      bytes += isRefusal(found) ? 0 : (found?.body.length ?? 0);
      progress(++done, keys.length, bytes);
    }
  };
  await Promise.all(Array.from({ length: STORE_READS_AT_ONCE }, reader));
  return failed;
}
