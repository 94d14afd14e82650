/**
 * Who may write a shard's log: the object `own/{shard}`, changed only under If-Match and never deleted.
 *
 * Taking the ownership raises the epoch. The object also says where recovery begins: the checkpoint.
 */
import { fromUtf8, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { CLAIM_ATTEMPTS_MAX } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import { logPrefix, ownKey } from "./format.ts";

export interface Checkpoint {
  /** The last log slot that the checkpoint contains. */
  readonly seq: number;
  readonly parts: number;
}

export interface Ownership {
  readonly epoch: number;
  readonly session: string;
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

/** Takes the shard from whoever owns it. */
export async function claim(
  store: Store,
  shard: number,
  session: string,
  nonce: () => string,
): Promise<Owned | Refusal> {
  for (let attempt = 0; attempt < CLAIM_ATTEMPTS_MAX; attempt++) {
    const found = await readOwnership(store, shard);
    if (isRefusal(found)) return found;
    const lost = found === undefined ? await refuseLost(store, shard) : undefined;
    if (lost !== undefined) return lost;
    const before = found?.ownership ?? { epoch: 0, checkpoint: null, collected: 0 };
    const ownership: Ownership = { ...before, epoch: before.epoch + 1, session, nonce: nonce() };
    const written = await write(store, shard, ownership, found?.etag);
    if (isRefusal(written)) return written;
    if (written !== "lost") return written;
  }
  return refuse("store_unavailable", `shard ${shard} is being taken by other nodes all the time`);
}

/** Changes the owner's own record. @returns `not_leader` where another node has taken the shard meanwhile. */
export async function update(
  store: Store,
  shard: number,
  owned: Owned,
  ownership: Ownership,
): Promise<Owned | Refusal> {
  const written = await write(store, shard, ownership, owned.etag);
  return written === "lost" ? refuse("not_leader", `another node has taken shard ${shard}`) : written;
}

export async function readOwnership(store: Store, shard: number): Promise<Owned | undefined | Refusal> {
  const found = await store.get(ownKey(shard));
  if (found === undefined || isRefusal(found)) return found;
  try {
    return { ownership: JSON.parse(fromUtf8(found.body) ?? "") as Ownership, etag: found.etag };
  } catch {
    return refuse("store_unavailable", `the object ${ownKey(shard)} is damaged`);
  }
}

/** A shard without a record is new, unless it has a log: that must not begin again from nothing (law 1). */
async function refuseLost(store: Store, shard: number): Promise<Refusal | undefined> {
  const slots = await store.list(logPrefix(shard));
  if (isRefusal(slots)) return slots;
  if (slots.length === 0) return undefined;
  // Another node may have begun the shard just now. Then the record is there, and the claim finds it.
  const again = await readOwnership(store, shard);
  if (again !== undefined) return isRefusal(again) ? again : undefined;
  return refuse("store_unavailable", `the object ${ownKey(shard)} is missing`);
}

async function write(
  store: Store,
  shard: number,
  ownership: Ownership,
  etag: string | undefined,
): Promise<Owned | "lost" | Refusal> {
  const condition = etag === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: etag };
  const put = await settledPut(store, ownKey(shard), utf8(JSON.stringify(ownership)), condition);
  if (put.outcome === "won") return { ownership, etag: put.etag };
  if (put.outcome === "lost") return "lost";
  return refuse("store_unavailable", `the store did not say whether shard ${shard} was taken: ${put.reason}`);
}
