/**
 * Who may write a shard's log: the object `own/{shard}`, changed only under If-Match and never deleted.
 *
 * Taking the ownership raises the epoch; giving it up leaves the epoch and names nobody. The object also says where
 * recovery begins: the checkpoint.
 */
import { decodeDocument, encodeDocument } from "../checked.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import { logPrefix, ownKey } from "./format.ts";
import { damaged, deposed } from "./refusals.ts";

const FORMAT = "postern-own/1";

export interface Checkpoint {
  /** The last log slot that the checkpoint contains. */
  readonly seq: number;
  /** Names its manifest. */
  readonly id: string;
}

export interface Ownership {
  readonly epoch: number;
  /** `null` where the last owner has handed the shard over. */
  readonly session: string | null;
  /** Makes the bytes unique, so that reading back tells whose write won. */
  readonly nonce: string;
  readonly checkpoint: Checkpoint | null;
  /** Data slots up to here have been deleted. */
  readonly collected: number;
}

export interface Owned {
  readonly ownership: Ownership;
  readonly etag: string;
}

/**
 * Takes the shard as it was found.
 * @param found what `readOwnership` answered: whoever changed it since wins
 */
export async function claim(
  store: Store,
  shard: number,
  found: Owned | undefined,
  session: string,
  nonce: string,
): Promise<Owned | Refusal> {
  const lost = found === undefined ? await refuseLost(store, shard) : undefined;
  if (lost !== undefined) return lost;
  const before = found?.ownership ?? { epoch: 0, checkpoint: null, collected: 0 };
  return write(store, shard, { ...before, epoch: before.epoch + 1, session, nonce }, found?.etag);
}

/** Changes the owner's own record. @returns `not_leader` where another node has taken the shard meanwhile. */
export function update(
  store: Store,
  shard: number,
  owned: Owned,
  changes: Partial<Ownership> & { readonly nonce: string },
): Promise<Owned | Refusal> {
  return write(store, shard, { ...owned.ownership, ...changes }, owned.etag);
}

/** Refusal: `store_unavailable`. */
export async function readOwnership(store: Store, shard: number): Promise<Owned | undefined | Refusal> {
  const found = await store.get(ownKey(shard));
  if (found === undefined || isRefusal(found)) return found;
  const ownership = parseOwnership(found.body);
  if (ownership === undefined) return damaged("object", ownKey(shard), "is damaged");
  return { ownership, etag: found.etag };
}

export function parseOwnership(body: Uint8Array): Ownership | undefined {
  const ownership: Partial<Ownership> | undefined = decodeDocument(FORMAT, body);
  return Number.isSafeInteger(ownership?.epoch) ? (ownership as Ownership) : undefined;
}

/** Whether the record still speaks of the same reign. A reign changes its own record with each checkpoint. */
export function isSameReign(now: Owned | undefined, mine: Owned): boolean {
  const { epoch, session } = mine.ownership;
  return now?.ownership.epoch === epoch && now.ownership.session === session;
}

/** A shard without a record is new, unless it has a log: that must not begin again from nothing (law 1). */
async function refuseLost(store: Store, shard: number): Promise<Refusal | undefined> {
  const slots = await store.list(logPrefix(shard));
  if (isRefusal(slots)) return slots;
  if (slots.length === 0) return undefined;
  // Another node may have begun the shard just now. Then the record is there.
  const again = await readOwnership(store, shard);
  if (again !== undefined) return isRefusal(again) ? again : deposed(shard);
  return damaged("object", ownKey(shard), "is missing");
}

async function write(
  store: Store,
  shard: number,
  ownership: Ownership,
  etag: string | undefined,
): Promise<Owned | Refusal> {
  const condition = etag === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: etag };
  const put = await settledPut(store, ownKey(shard), encodeDocument(FORMAT, ownership), condition);
  if (put.outcome === "won") return { ownership, etag: put.etag };
  if (put.outcome === "lost") return deposed(shard);
  return refuse("store_unavailable", `the store did not say whether shard ${shard} was taken: ${put.reason}`);
}
