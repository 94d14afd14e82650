/**
 * Recovery: from the checkpoint over the log to a seal, after which no older writer can append.
 *
 * Every slot is read in order. The first free slot gets my seal, by If-None-Match: whoever still believes to own
 * the shard finds its next slot taken. Then the ownership is read again, because somebody newer may have come
 * while I read (law 6).
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import { checkpointKey, decodeObject, encodeObject, type LogObject, logKey, logPrefix } from "./format.ts";
import { type Owned, readOwnership } from "./ownership.ts";

/** Where recovered history goes, in order: the checkpoint's lines first, then each entry. */
export interface Sink {
  restore(line: string): void;
  apply(entry: string): void;
}

export interface Recovered {
  /** The slot of my seal; the next entry goes behind it. */
  readonly sealed: number;
  /** Bytes of the entries after the checkpoint. */
  readonly logBytes: number;
  readonly checkpointBytes: number;
}

export async function recover(
  store: Store,
  shard: number,
  owned: Owned,
  nonce: () => string,
  sink: Sink,
): Promise<Recovered | Refusal> {
  const { epoch, session, checkpoint } = owned.ownership;
  const checkpointBytes = await restore(store, shard, owned, sink);
  if (isRefusal(checkpointBytes)) return checkpointBytes;

  let logBytes = 0;
  let epochSeen = 0;
  for (let seq = (checkpoint?.seq ?? 0) + 1; ; seq++) {
    const found = await readObject(store, logKey(shard, seq));
    if (isRefusal(found)) return found;
    if (found === undefined) {
      const hole = await refuseHole(store, shard, owned, seq);
      if (hole !== undefined) return hole;
      const seal = encodeObject({ epoch, session, nonce: nonce(), kind: "seal" }, []);
      const put = await settledPut(store, logKey(shard, seq), seal, { ifNoneMatch: "*" });
      if (put.outcome === "unknown")
        return refuse("store_unavailable", `the seal of shard ${shard}: ${put.reason}`);
      if (put.outcome === "won") {
        const confirmed = await confirm(store, shard, owned, seq);
        return confirmed ?? { sealed: seq, logBytes, checkpointBytes };
      }
      seq--; // somebody wrote there: read it
      continue;
    }
    const { header, entries, bytes } = found;
    if (header.epoch > epoch) return refuse("not_leader", `a newer node writes the log of shard ${shard}`);
    // An entry of an epoch lower than one already seen was written by a deposed node: void.
    if (header.epoch < epochSeen) continue;
    epochSeen = header.epoch;
    logBytes += bytes;
    for (const entry of entries) sink.apply(entry);
  }
}

async function restore(
  store: Store,
  shard: number,
  { ownership }: Owned,
  sink: Sink,
): Promise<number | Refusal> {
  const { seq, parts } = ownership.checkpoint ?? { seq: 0, parts: 0 };
  let bytes = 0;
  for (let part = 0; part < parts; part++) {
    const key = checkpointKey(shard, seq, part);
    const found = await readObject(store, key);
    if (isRefusal(found)) return found;
    if (found === undefined) return refuse("store_unavailable", `the object ${key} is missing`);
    for (const line of found.entries) sink.restore(line);
    bytes += found.bytes;
  }
  return bytes;
}

async function readObject(
  store: Store,
  key: string,
): Promise<(LogObject & { readonly bytes: number }) | undefined | Refusal> {
  const found = await store.get(key);
  if (found === undefined || isRefusal(found)) return found;
  const decoded = decodeObject(found.body);
  if (typeof decoded === "string") return refuse("store_unavailable", `the object ${key} ${decoded}`);
  return { ...decoded, bytes: found.body.length };
}

/**
 * Slots are written one after the other. Where a later one is there and this one is not, it was lost: a seal here
 * would cut off the rest of the history.
 */
async function refuseHole(
  store: Store,
  shard: number,
  owned: Owned,
  seq: number,
): Promise<Refusal | undefined> {
  const slots = await store.list(logPrefix(shard));
  if (isRefusal(slots)) return slots;
  const key = logKey(shard, seq);
  if (!slots.some((slot) => slot > key)) return undefined;
  // Its writer may have filled it since I looked; then the seal finds it taken.
  const again = await store.get(key);
  if (again !== undefined) return isRefusal(again) ? again : undefined;
  // A newer owner may have collected it.
  const deposed = await confirm(store, shard, owned, seq);
  return deposed ?? refuse("store_unavailable", `the object ${key} is missing`);
}

/** My seal holds only if I still own the shard and no checkpoint has passed my seal. */
async function confirm(
  store: Store,
  shard: number,
  owned: Owned,
  sealed: number,
): Promise<Refusal | undefined> {
  const now = await readOwnership(store, shard);
  if (isRefusal(now)) return now;
  const mine = now?.etag === owned.etag && (now.ownership.checkpoint?.seq ?? 0) < sealed;
  return mine ? undefined : refuse("not_leader", `another node took shard ${shard} during recovery`);
}
