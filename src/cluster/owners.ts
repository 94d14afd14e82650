/**
 * Who owns which shard, as far as this node knows: what the other nodes' leases list, and what `own/{shard}` or another
 * node has told.
 *
 * What was told holds until the owner's lease changes and does not list the shard: the owner may be on its way to
 * open it, may have given it up, or may have failed to. Only `own/{shard}` can tell, so it is read again.
 */
import type { LeaseRecord } from "./lease.ts";
import type { Peers } from "./peers.ts";

/** Nobody where the shard was handed over. */
export interface Owner {
  readonly session: string | null;
  readonly epoch: number;
}

export interface LivingOwner {
  readonly lease: LeaseRecord;
  readonly epoch: number;
}

interface Told extends Owner {
  /** The version of the owner's lease when it was told. */
  readonly version: string | undefined;
  /** Another node says so, and not the store. */
  readonly isHint: boolean;
}

export class Owners {
  readonly #peers: Peers;
  readonly #told = new Map<number, Told>();

  constructor(peers: Peers) {
    this.#peers = peers;
  }

  /** What the store says. Who read it earlier may tell it later: an older reign is not believed. */
  tell(shard: number, owner: Owner): void {
    const known = this.#told.get(shard);
    if (known === undefined || known.isHint || known.epoch <= owner.epoch) this.#set(shard, owner, false);
  }

  /** What another node says, which may be wrong: until the store is asked. */
  hint(shard: number, owner: Owner): void {
    const known = this.#told.get(shard);
    if (known === undefined || known.isHint || known.epoch < owner.epoch) this.#set(shard, owner, true);
  }

  #set(shard: number, { session, epoch }: Owner, isHint: boolean): void {
    this.#told.set(shard, { session, epoch, version: this.#peers.version(session ?? ""), isHint });
  }

  /** Whether the last that is known is that this session owns it. */
  isOf(shard: number, session: string): boolean {
    const told = this.#told.get(shard);
    return told?.session === session && (this.#listed(shard)?.epoch ?? 0) <= told.epoch;
  }

  /** Whether the last that is known is that somebody who lives owns it, be it by a lease that cannot be read. */
  isLed(shard: number): boolean {
    const { session, version } = this.#told.get(shard) ?? {};
    if (this.of(shard) !== undefined) return true;
    if (session === undefined || session === null) return false;
    return this.#peers.lives(session) && this.#peers.version(session) === version;
  }

  /** The node that owns the shard, where it is known and lives. */
  of(shard: number): LivingOwner | undefined {
    const listed = this.#listed(shard);
    const told = this.#told.get(shard);
    if (told === undefined || (listed !== undefined && listed.epoch > told.epoch)) return listed;
    const { session, epoch, version } = told;
    const lease = session === null ? undefined : this.#peers.alive(session);
    if (session === null || lease === undefined) return undefined;
    if (listed?.lease === lease) return listed;
    return this.#peers.version(session) === version ? { lease, epoch } : undefined;
  }

  /** The latest reign that a living node claims. */
  #listed(shard: number): LivingOwner | undefined {
    let best: LivingOwner | undefined;
    for (const lease of this.#peers.living) {
      const [epoch] = lease.shards[shard] ?? [];
      if (epoch !== undefined && epoch > (best?.epoch ?? 0)) best = { lease, epoch };
    }
    return best;
  }
}
