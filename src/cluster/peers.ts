/**
 * The other nodes, as this one has seen their leases change.
 *
 * A node is dead when its lease has stayed the same for a TTL *in which this node was looking*: time without a
 * successful look, as in a pause of this process or an outage of the store, counts for nobody's death. No wall clocks
 * are compared.
 */
import type { LeaseRecord } from "./lease.ts";

interface Seen {
  record: LeaseRecord;
  etag: string;
  /** How long it has been looked at without a change. */
  unchanged_ms: number;
  looked_ms: number;
  /** It has changed under our eyes: its holder lived after we came. */
  confirmed: boolean;
  dead: boolean;
  /** Aborted when it is dead or gone. */
  readonly life: AbortController;
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
  readonly isGone: (place: string) => boolean;
}

export class Peers {
  readonly #options: PeersOptions;
  readonly #seen = new Map<string, Seen>();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** What a look has found. A change may be as young as the answer; that there was none is as old as the question. */
  saw(record: LeaseRecord, etag: string, { asked_ms, answered_ms }: Look): void {
    const dead = record.state === "dead" || this.#options.isGone(record.place);
    const before = this.#seen.get(record.session);
    if (before === undefined || before.etag !== etag) {
      const seen: Seen = {
        record,
        etag,
        unchanged_ms: 0,
        looked_ms: answered_ms,
        confirmed: before !== undefined,
        dead,
        life: before?.life ?? new AbortController(),
      };
      this.#seen.set(record.session, seen);
      if (dead) seen.life.abort();
      return;
    }
    const looked_ms = Math.min(asked_ms - before.looked_ms, 2 * this.#options.interval_ms);
    before.unchanged_ms += Math.max(0, looked_ms);
    before.looked_ms = asked_ms;
    const ttl_ms = Math.max(this.#options.ttl_ms, record.ttl_ms);
    before.dead ||= dead || before.unchanged_ms >= ttl_ms;
    if (before.dead) before.life.abort();
  }

  /** The lease is not there: its holder has removed it, or was declared dead. */
  gone(session: string): void {
    this.#seen.get(session)?.life.abort();
    this.#seen.delete(session);
  }

  /** The record of a session that lives as far as is known. */
  alive(session: string): LeaseRecord | undefined {
    const seen = this.#seen.get(session);
    return seen === undefined || seen.dead ? undefined : seen.record;
  }

  /** Aborted when the session turns out to be dead: nothing that it was asked is answered any more. */
  lifeOf(session: string): AbortSignal {
    return this.#seen.get(session)?.life.signal ?? AbortSignal.abort();
  }

  /** The version of its lease that was seen last. */
  version(session: string): string | undefined {
    return this.#seen.get(session)?.etag;
  }

  get living(): readonly LeaseRecord[] {
    return [...this.#seen.values()].flatMap(({ record, dead }) => (dead ? [] : [record]));
  }

  /** Whether its lease has changed while this node looked on. */
  isConfirmed(session: string): boolean {
    return this.#seen.get(session)?.confirmed === true;
  }

  /** Those that are dead and whose leases are still there, with the version that was seen. */
  get dead(): readonly { readonly record: LeaseRecord; readonly etag: string }[] {
    return [...this.#seen.values()].filter(({ dead }) => dead);
  }

  get sessions(): readonly string[] {
    return [...this.#seen.keys()];
  }
}
