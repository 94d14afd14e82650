/**
 * A conditional put whose unclear outcome is settled by reading back.
 *
 * The body must be unique (it carries a random nonce), and a retry sends the same bytes under the same
 * condition: so finding my bytes means that I won, other bytes mean that I lost, and an unchanged object means
 * that nothing happened yet and the same put may be sent again.
 *
 * How long to wait between attempts is the store's to know: one in a bucket is waited for, one on a disk is not.
 */
import { sameBytes } from "../bytes.ts";
import { isRefusal } from "../errors.ts";
import { PUT_ATTEMPTS_MAX } from "../limits.ts";
import type { PutCondition, Settled, Store, StoredObject } from "./contract.ts";

export type { Settled } from "./contract.ts";

export function settledPut(
  store: Store,
  key: string,
  body: Uint8Array,
  condition: PutCondition,
): Promise<Settled> {
  if (store.settledPut !== undefined) return store.settledPut(key, body, condition);
  return settle(store, { key, body, condition }, async (attempt) => attempt < PUT_ATTEMPTS_MAX);
}

export interface Put {
  readonly key: string;
  readonly body: Uint8Array;
  readonly condition: PutCondition;
}

/** @param patience waits after the unclear put of this number, and says whether it may be sent again */
export async function settle(
  store: Pick<Store, "get" | "put">,
  { key, body, condition }: Put,
  patience: (attempt: number) => Promise<boolean>,
): Promise<Settled> {
  let reason = "it answers a conflict where none can be seen";
  for (let attempt = 1, goOn = true; goOn; attempt++) {
    const put = await store.put(key, body, condition);
    if (put.outcome === "done") return { outcome: "won", etag: put.etag };
    const isClear = put.outcome === "conflict";
    if (!isClear) {
      ({ reason } = put);
      goOn = await patience(attempt);
    }
    // Also after a conflict: it is with my own bytes where an earlier sending, or a copy made on the way, came first.
    const found = await store.get(key);
    if (!isRefusal(found)) {
      if (found !== undefined && sameBytes(found.body, body)) return { outcome: "won", etag: found.etag };
      if (!isUnchanged(found, condition)) return { outcome: "lost" };
    }
    if (isClear) goOn = await patience(attempt);
  }
  return { outcome: "unknown", reason };
}

function isUnchanged(found: StoredObject | undefined, condition: PutCondition): boolean {
  return "ifMatch" in condition ? found?.etag === condition.ifMatch : found === undefined;
}
