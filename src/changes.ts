/**
 * One small object that every publication changes, so that a node learns of all of them by one read a second.
 *
 * Whoever publishes a policy, changes a key ring or revokes something writes that first and then its tenant's name
 * here. A node that has seen change 17 and finds 19 reads the tenants that 18 and 19 name. A writer that dies between
 * its two writes leaves a change that nobody is told of: that is what a node's full pass is for.
 */
import { toHex } from "./bytes.ts";
import { decodeDocument, encodeDocument } from "./checked.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { CHANGE_ATTEMPTS_MAX, CHANGES_KEPT_MAX } from "./limits.ts";
import { TENANT_NAME } from "./names.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";

export const CHANGES_KEY = "changes";

const FORMAT = "postern-changes/1";

export interface Changes {
  /** How many there were since the store was made. */
  readonly count: number;
  /** The tenants of the last ones, in order; the last is that of change `count`. */
  readonly recent: readonly string[];
  /** Makes the bytes unique for `settledPut`. */
  readonly nonce: string;
}

/** @returns `undefined` where it is not what this version writes. */
export function parseChanges(body: Uint8Array): Changes | undefined {
  const read: Partial<Changes> | undefined = decodeDocument(FORMAT, body);
  const { count, recent, nonce } = read ?? {};
  if (!Number.isSafeInteger(count) || typeof nonce !== "string") return undefined;
  if (!Array.isArray(recent) || recent.length > CHANGES_KEPT_MAX) return undefined;
  if (!recent.every((name) => typeof name === "string" && TENANT_NAME.test(name))) return undefined;
  return read as Changes;
}

/** The tenants that changed since; `undefined` where that cannot be told, because it was too many, or another store. */
export function changedSince(count: number, now: Changes): ReadonlySet<string> | undefined {
  const missed = now.count - count;
  if (missed < 0 || missed > now.recent.length) return undefined;
  return new Set(now.recent.slice(now.recent.length - missed));
}

/** Says that a tenant has changed; to be called when its change is written. Refusal: `store_unavailable`. */
export async function noteChange(
  store: Store,
  tenant: string,
  random: (length: number) => Uint8Array,
): Promise<Refusal | undefined> {
  const unnoted = (why: string): Refusal =>
    refuse("store_unavailable", `${tenant} was changed, but nodes may learn of it only in a minute: ${why}`);
  for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
    const found = await store.get(CHANGES_KEY);
    if (isRefusal(found)) return unnoted(found.detail);
    // Where it is damaged, nodes read nothing any more: a new one, and their full pass, mend that.
    const before = found && parseChanges(found.body);
    const changes: Changes = {
      count: (before?.count ?? 0) + 1,
      recent: [...(before?.recent ?? []), tenant].slice(-CHANGES_KEPT_MAX),
      nonce: toHex(random(16)),
    };
    const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
    const put = await settledPut(store, CHANGES_KEY, encodeDocument(FORMAT, changes), condition);
    if (put.outcome === "won") return undefined;
    if (put.outcome === "unknown") return unnoted(put.reason);
  }
  return unnoted("too many others publish at the same moment");
}
