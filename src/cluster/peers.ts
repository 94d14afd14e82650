/**
 * The other nodes, as this one has seen their leases change.
 *
 * A node is dead when its lease has stayed the same for a TTL *in which this node was looking*: time without a
 * successful look, as in a pause of this process or an outage of the store, counts for nobody's death. No wall clocks
 * are compared. A lease that cannot be read may be that of a newer version: its holder lives as long as it changes.
 */
import { LEASE_TTL_MS_MAX } from "../limits.ts";
import type { LeaseRecord } from "./lease.ts";

interface Seen {
  /** `undefined` where this version cannot read it. */
  readonly record: LeaseRecord | undefined;
  readonly etag: string;
  /** How long it has been looked at without a change. */
  unchanged_ms: number;
  looked_ms: number;
  /** When the latest look began that has found anything. */
  asked_ms: number;
  /** It has changed under our eyes: its holder lived after we came. */
  readonly confirmed: boolean;
  dead: boolean;
  /** Aborted when it is dead or gone. */
  readonly life: AbortController;
}

/** One that is dead and whose lease is still there, in the version that was seen. */
export interface DeadPeer {
  readonly session: string;
  readonly etag: string;
  /** Its lease says so already. */
  readonly isDeclared: boolean;
}

/** When a look at a lease began and ended, by this node's monotonic clock. */
export interface Look {
  readonly asked_ms: number;
  readonly answered_ms: number;
}

export interface PeersOptions {
  readonly ttl_ms: number;
  /** How often leases are looked at; a longer gap is time not looked. */
  readonly interval_ms: number;
  /** Whether such a process of this machine is known to have ended. */
  readonly isGone: (process: string) => boolean;
}

export class Peers {
  readonly #options: PeersOptions;
  readonly #seen = new Map<string, Seen>();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /**
   * What a look has found. A change may be as young as the answer; that there was none is as old as the question.
   * @param record `undefined` where it cannot be read
   */
  saw(session: string, record: LeaseRecord | undefined, etag: string, look: Look): void {
    const before = this.#seen.get(session);
    // Looks may overtake each other.
    if (before !== undefined && before.etag !== etag && look.asked_ms < before.asked_ms) return;
    const seen = before?.etag === etag ? before : changed(before, record, etag, look);
    this.#seen.set(session, seen);
    const looked_ms = Math.min(look.asked_ms - seen.looked_ms, 2 * this.#options.interval_ms);
    seen.unchanged_ms += Math.max(0, looked_ms);
    seen.looked_ms = Math.max(seen.looked_ms, look.asked_ms);
    seen.asked_ms = Math.max(seen.asked_ms, look.asked_ms);
    if (!this.#isDead(seen)) return;
    seen.dead = true;
    seen.life.abort();
  }

  #isDead({ record, unchanged_ms, dead }: Seen): boolean {
    const ttl_ms = Math.max(this.#options.ttl_ms, record?.ttl_ms ?? LEASE_TTL_MS_MAX);
    if (dead || unchanged_ms >= ttl_ms || record?.state === "dead") return true;
    return record !== undefined && this.#options.isGone(record.process);
  }

  /** The lease is not there: its holder has removed it, or was declared dead. */
  gone(session: string): void {
    this.#seen.get(session)?.life.abort();
    this.#seen.delete(session);
  }

  /** Whether it lives as far as is known. */
  lives(session: string): boolean {
    return this.#seen.get(session)?.dead === false;
  }

  /** The record of a session that lives as far as is known, where it can be read. */
  alive(session: string): LeaseRecord | undefined {
    return this.lives(session) ? this.#seen.get(session)?.record : undefined;
  }

  /** Is aborted when the session is dead or gone. */
  lifeOf(session: string): AbortSignal | undefined {
    return this.#seen.get(session)?.life.signal;
  }

  /** The version of its lease that was seen last. */
  version(session: string): string | undefined {
    return this.#seen.get(session)?.etag;
  }

  get living(): readonly LeaseRecord[] {
    return [...this.#seen.values()].flatMap(({ record, dead }) => (dead || !record ? [] : [record]));
  }

  /** Whether its lease has changed while this node looked on. */
  isConfirmed(session: string): boolean {
    return this.#seen.get(session)?.confirmed === true;
  }

  get dead(): readonly DeadPeer[] {
    return [...this.#seen].flatMap(([session, { record, etag, dead }]) =>
      dead ? [{ session, etag, isDeclared: record?.state === "dead" }] : [],
    );
  }

  get sessions(): readonly string[] {
    return [...this.#seen.keys()];
  }
}

function changed(
  before: Seen | undefined,
  record: LeaseRecord | undefined,
  etag: string,
  { asked_ms, answered_ms }: Look,
): Seen {
  const life = before === undefined || before.dead ? new AbortController() : before.life;
  return {
    record,
    etag,
    unchanged_ms: 0,
    looked_ms: answered_ms,
    asked_ms,
    confirmed: before !== undefined,
    dead: false,
    life,
  };
}
