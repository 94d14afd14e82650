/** What the cluster says where a call cannot be done here or now, or ever. None of these calls had an effect. */
import { type Refusal, refuse } from "../errors.ts";
import type { LivingOwner } from "./owners.ts";

/** What the store should hold, and does not: the shard stops, and no other. */
export function damaged(kind: "object" | "record", key: string, how: string): Refusal {
  return refuse("store_unavailable", `the ${kind} ${key} ${how}`, { damaged: key });
}

/**
 * What the records make of a text from the store. It has passed its checksum, so where they throw, another version or
 * a bug has written it.
 */
export function used<T>(kind: "object" | "record", key: string, use: () => T): T | Refusal {
  try {
    return use();
  } catch (error) {
    // A parser's own message quotes the text.
    const why = error instanceof Error && !(error instanceof SyntaxError) ? `: ${error.message}` : "";
    return damaged(kind, key, `cannot be used${why}`);
  }
}

/** To a writer that lost its shard. */
export function deposed(shard: number): Refusal {
  return refuse("not_leader", `another node has taken shard ${shard}`);
}

/** To a node that has passed a call on. */
export function notLeader(shard: number, owner: LivingOwner | undefined): Refusal {
  const refusal = refuse("not_leader", `this node does not lead shard ${shard}`);
  if (owner === undefined) return refusal;
  const { lease, epoch } = owner;
  return refusal.with({ leader: { session: lease.session, url: lease.url, epoch } });
}

/** To whoever has passed a call on and is no node that lives, as far as is known here. */
export function unknownNode(): Refusal {
  return refuse("not_leader", "the node that has passed the call on is not known here");
}

/** A moment later somebody leads it. */
export function moving(shard: number): Refusal {
  return refuse("draining", `shard ${shard} is moving to another node`, { retry_after_ms: 1000 });
}

export function draining(): Refusal {
  return refuse("draining", "the node is draining");
}
