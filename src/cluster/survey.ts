/**
 * The cluster as its store shows it: nodes by their leases, shards by their ownership.
 *
 * Positions are as old as the owner's last renewal. Nothing of it is used to decide anything.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import { STORE_READS_AT_ONCE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { NODE_PREFIX } from "./format.ts";
import { type LeaseRecord, parseLease } from "./lease.ts";
import { readMeta } from "./meta.ts";
import { readOwnership } from "./ownership.ts";

export interface SurveyedNode {
  readonly session: string;
  readonly url: string;
  readonly state: LeaseRecord["state"];
  readonly shards: number;
  readonly ttl_ms: number;
  /** RFC 3339, by that node's wall clock. */
  readonly renewed_at: string;
  /** By the clocks of two machines: for people. */
  readonly lease_age_ms: number;
}

export interface SurveyedShard {
  readonly shard: number;
  /** Session of the owner; `null` where nobody owns it. */
  readonly owner: string | null;
  readonly epoch: number;
  /** The last slot that its owner has reported as durable; `null` where no owner reports. */
  readonly seq: number | null;
  /** The last slot of its checkpoint. */
  readonly checkpoint: number;
  /** Slots behind the checkpoint: what a successor would read. */
  readonly lag: number | null;
}

export interface Survey {
  readonly nodes: readonly SurveyedNode[];
  readonly shards: readonly SurveyedShard[];
}

/** Refusal: `store_unavailable`. */
export async function survey(store: Store, wall_ms: number): Promise<Survey | Refusal> {
  const meta = await readMeta(store);
  if (isRefusal(meta)) return meta;
  const leases = await readLeases(store);
  if (isRefusal(leases)) return leases;
  const shards: SurveyedShard[] = [];
  for (let from = 0; from < (meta?.shards ?? 0); from += STORE_READS_AT_ONCE) {
    const count = Math.min(STORE_READS_AT_ONCE, (meta?.shards ?? 0) - from);
    const some = await Promise.all(
      Array.from({ length: count }, (_, i) => surveyShard(store, from + i, leases)),
    );
    for (const shard of some) {
      if (isRefusal(shard)) return shard;
      shards.push(shard);
    }
  }
  const nodes = leases.map((lease) => surveyNode(lease, wall_ms));
  return { nodes: nodes.toSorted((a, b) => (a.url < b.url ? -1 : 1)), shards };
}

async function readLeases(store: Store): Promise<readonly LeaseRecord[] | Refusal> {
  const keys = await store.list(NODE_PREFIX);
  if (isRefusal(keys)) return keys;
  const leases: LeaseRecord[] = [];
  for (const key of keys) {
    const found = await store.get(key);
    if (isRefusal(found)) return found;
    const lease = found && parseLease(found.body);
    if (lease !== undefined) leases.push(lease);
  }
  return leases;
}

async function surveyShard(
  store: Store,
  shard: number,
  leases: readonly LeaseRecord[],
): Promise<SurveyedShard | Refusal> {
  const found = await readOwnership(store, shard);
  if (isRefusal(found)) return found;
  const { session = null, epoch = 0, checkpoint = null } = found?.ownership ?? {};
  const reported = leases.find((lease) => lease.session === session)?.shards[shard];
  const seq = reported?.[0] === epoch ? reported[1] : null;
  const checkpointed = checkpoint?.seq ?? 0;
  const lag = seq === null ? null : Math.max(0, seq - checkpointed);
  return { shard, owner: session, epoch, seq, checkpoint: checkpointed, lag };
}

function surveyNode(lease: LeaseRecord, wall_ms: number): SurveyedNode {
  const { session, url, state, shards, ttl_ms, renewed_at } = lease;
  const lease_age_ms = Math.max(0, wall_ms - Date.parse(renewed_at));
  return { session, url, state, shards: Object.keys(shards).length, ttl_ms, renewed_at, lease_age_ms };
}
