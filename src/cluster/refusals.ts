/** What the cluster says where a call cannot be done here or now. None of these calls had an effect. */
import { type Refusal, refuse } from "../errors.ts";
import type { LivingOwner } from "./owners.ts";

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
