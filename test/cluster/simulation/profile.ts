/** What a seed decides before anything happens: how large the cluster is, how slow its store, and what goes wrong. */
import type { Random } from "./random.ts";

/** What may befall a request to the store. */
export const REQUEST_FAULTS = [
  /** It never arrives, and no answer comes. */
  "lost",
  /** It is done, and the answer is lost. */
  "unanswered",
  /** A 500 before, and one after it was done. */
  "failed",
  "done_but_failed",
  /** A 409: not done, though nothing stands in its way. */
  "conflict",
  /** It is done much later, when its sender has long been told that no answer came. */
  "late",
  /** It is done, and done once more much later. */
  "twice",
  /** It takes longer than a lease lives, and is answered then. */
  "slow",
] as const;
export type RequestFault = (typeof REQUEST_FAULTS)[number];

/** What may befall a process, a connection, or the store. */
export const EVENTS = [
  "pause",
  /** A pause, after which the process does not see for a while that it was declared dead. */
  "zombie",
  "crash",
  "drain",
  "cut_store",
  "cut_nodes",
  "outage",
  "wall_jump",
] as const;
export type ClusterEvent = (typeof EVENTS)[number];

/** What a process has just done when it is struck. */
const OCCASIONS = [
  /** It has begun to read the log of a shard that it has taken. */
  { when: "recovery", chance: 0.5 },
  /** It has declared another one dead. */
  { when: "burial", chance: 0.5 },
  { when: "renewal", chance: 0.02 },
  /** It has written a slot, or a part of a checkpoint, or its record of the ownership. */
  { when: "log", chance: 0.02 },
  { when: "ckpt", chance: 0.05 },
  { when: "own", chance: 0.05 },
] as const;
export type Occasion = (typeof OCCASIONS)[number]["when"];

export interface Profile {
  readonly nodes: number;
  /** Nodes of one machine see at once when a neighbour's process has ended. */
  readonly machines: number;
  readonly shards: number;
  readonly actorsPerShard: number;
  readonly ttl_ms: number;
  /** One way to the store. */
  readonly latency_ms: number;
  /** The longest that a turn takes. */
  readonly turn_ms: number;
  readonly window: number;
  readonly checkpointLogBytesMin: number;
  /** How much longer than need be the states are. */
  readonly paddingLength: number;
  readonly clients: number;
  readonly operationsPerClient: number;
  readonly chaos_ms: number;
  readonly requestFaultRate: number;
  readonly requestFaults: readonly RequestFault[];
  /** Only requests for these kinds of objects fail. */
  readonly faultyFolders: readonly string[];
  /** In mean between two events. */
  readonly event_ms: number;
  readonly events: readonly ClusterEvent[];
  /** Pauses, crashes and cuts at the worst time, in so many of the cases. */
  readonly strikes: { readonly when: Occasion; readonly chance: number } | undefined;
  /** The store loses an object that was durable. No store may; where one does, the shard must stop. */
  readonly loses: boolean;
  /** Turns send messages to other actors. */
  readonly sends: boolean;
}

/**
 * @param turns decides how long turns take, and when: where they take no time, all else is as if there were none
 * @param sends decided apart from the rest, so that the other seeds tell the story that they told without it
 */
export function drawProfile(random: Random, turns: Random, sends: boolean): Profile {
  const ttl_ms = random.pick([600, 1000, 1000, 3000]);
  const size = random.next();
  // More than two pages hold, so that their number doubles.
  const isLarge = size > 0.95;
  const nodes = random.pick([2, 2, 2, 3, 3, 3, 4, 5, ...(size < 0.1 ? [6, 7] : [])]);
  const shards = random.pick([1, 1, 2, 3, ...(size < 0.2 ? [8, 16] : []), ...(size < 0.05 ? [32, 64] : [])]);
  return {
    nodes,
    machines: random.pick([1, nodes, nodes, nodes]),
    shards: isLarge ? 1 : shards,
    actorsPerShard: isLarge ? 3 : random.pick([1, 2, 3]),
    ttl_ms,
    turn_ms: turns.pick([0, 0, 1, ttl_ms / 100, ttl_ms / 20]),
    latency_ms: random.pick([1, 3, 10, ttl_ms / 50, ttl_ms / 10]),
    window: random.pick([1, 2, 4, 4]),
    checkpointLogBytesMin: random.pick([1, 1, 1, 20_000, 60_000, 1e9]),
    paddingLength: isLarge ? 95_000 : random.pick([0, 0, 100]),
    clients: isLarge ? 3 : random.pick([1, 3, 5, 8]),
    operationsPerClient: isLarge ? 20 : random.pick([20, 40, 80]),
    chaos_ms: ttl_ms * random.pick([5, 8, 12]),
    requestFaultRate: random.pick([0, 0.01, 0.05, 0.15, 0.4]),
    faultyFolders: random.some(["node/", "own/", "log/", "ckpt/"]),
    requestFaults: random.chance(0.5) ? random.some(REQUEST_FAULTS) : [random.pick(REQUEST_FAULTS)],
    event_ms: ttl_ms * random.pick([0.3, 0.7, 1.5, 4]),
    events: random.some(EVENTS),
    strikes: random.pick([undefined, ...OCCASIONS]),
    loses: random.chance(0.1),
    sends,
  };
}
