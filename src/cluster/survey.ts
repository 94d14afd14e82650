/**
 * The cluster as its store shows it: nodes by their leases, shards by their ownership.
 *
 * Positions are as old as the owner's last renewal. What cannot be read is shown as such and hides nothing else.
 * Nothing of it is used to decide anything.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import { STORE_READS_AT_ONCE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { NODE_PREFIX, ownKey } from "./format.ts";
import { type LeaseRecord, parseLease } from "./lease.ts";
import { readMeta } from "./meta.ts";
import { parseOwnership } from "./ownership.ts";

export interface SurveyedNode {
  readonly session: string;
  /** `unreadable`: a lease that is damaged or of another version; then nothing else is known. */
  readonly state: LeaseRecord["state"] | "unreadable";
  readonly url: string | null;
  /** How many shards it leads. */
  readonly shards: number;
  readonly ttl_ms: number | null;
  /** RFC 3339, by that node's wall clock. */
  readonly renewed_at: string | null;
  /** By the clocks of two machines: for people. */
  readonly lease_age_ms: number | null;
}

export interface SurveyedShard {
  readonly shard: number;
  /**
   * `led`: its owner reports it. `owned`: its owner does not: it opens it just now, or has died. `free`: handed over, or
   * never taken. `damaged`: its ownership record cannot be read.
   */
  readonly state: "led" | "owned" | "free" | "damaged";
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

type Leases = ReadonlyMap<string, LeaseRecord | undefined>;

/** @returns nothing in it where no node has ever served from the store. Refusal: `store_unavailable`. */
export async function survey(store: Store, wall_ms: number): Promise<Survey | Refusal> {
  const meta = await readMeta(store);
  if (isRefusal(meta)) return meta;
  const leases = await readLeases(store);
  if (isRefusal(leases)) return leases;
  const numbers = Array.from({ length: meta?.shards ?? 0 }, (_, shard) => shard);
  const shards = await someAtOnce(numbers, (shard) => surveyShard(store, shard, leases));
  if (isRefusal(shards)) return shards;
  const nodes = [...leases].map(([session, lease]) => surveyNode(session, lease, wall_ms));
  return { nodes: nodes.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)), shards };
}

const nameOf = ({ url, session }: SurveyedNode): string => `${url ?? ""} ${session}`;

async function readLeases(store: Store): Promise<Leases | Refusal> {
  const keys = await store.list(NODE_PREFIX);
  if (isRefusal(keys)) return keys;
  const found = await someAtOnce(keys, (key) => store.get(key));
  if (isRefusal(found)) return found;
  // Gone by now: its node has left.
  const there = keys.flatMap((key, i) => (found[i] ? [[key, found[i].body] as const] : []));
  return new Map(there.map(([key, body]) => [key.slice(NODE_PREFIX.length), parseLease(body)]));
}

async function surveyShard(store: Store, shard: number, leases: Leases): Promise<SurveyedShard | Refusal> {
  const found = await store.get(ownKey(shard));
  if (isRefusal(found)) return found;
  const ownership = found && parseOwnership(found.body);
  const { session = null, epoch = 0, checkpoint = null } = ownership ?? {};
  const unled = { shard, owner: session, epoch, seq: null, checkpoint: checkpoint?.seq ?? 0, lag: null };
  if (found !== undefined && ownership === undefined) return { ...unled, state: "damaged" };
  if (session === null) return { ...unled, state: "free" };
  const [reign, seq = 0] = leases.get(session)?.shards[shard] ?? [];
  if (reign !== epoch) return { ...unled, state: "owned" };
  return { ...unled, state: "led", seq, lag: Math.max(0, seq - unled.checkpoint) };
}

function surveyNode(session: string, lease: LeaseRecord | undefined, wall_ms: number): SurveyedNode {
  const unknown = { url: null, shards: 0, ttl_ms: null, renewed_at: null, lease_age_ms: null };
  if (lease === undefined) return { session, state: "unreadable", ...unknown };
  const { url, state, shards, ttl_ms, renewed_at } = lease;
  const age_ms = wall_ms - Date.parse(renewed_at);
  const lease_age_ms = Number.isNaN(age_ms) ? null : Math.max(0, age_ms);
  return { session, state, url, shards: Object.keys(shards).length, ttl_ms, renewed_at, lease_age_ms };
}

/** In the order of the items. @returns the first refusal, if any. */
async function someAtOnce<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R | Refusal>,
): Promise<Exclude<R, Refusal>[] | Refusal> {
  const results: Exclude<R, Refusal>[] = [];
  for (let from = 0; from < items.length; from += STORE_READS_AT_ONCE) {
    for (const result of await Promise.all(items.slice(from, from + STORE_READS_AT_ONCE).map(work))) {
      if (isRefusal(result)) return result;
      results.push(result as Exclude<R, Refusal>);
    }
  }
  return results;
}
