/**
 * Which turn is next: deficit round robin among tenants, by the time that their turns take.
 *
 * A turn cannot be interrupted, and what it takes is known when it is over. So a tenant pays afterwards, and one that is
 * in debt waits until the others have had as much. And one thread is kept for tenants who hold none and whose turns have
 * been brief of late: whatever one tenant's turns do, another's begin at once.
 */
import { type Refusal, refuse } from "../errors.ts";
import {
  TURN_BRIEF_US_MAX,
  TURN_BYTES_WAITING_PER_TENANT_MAX,
  TURN_LONG_BARRED_FACTOR,
  TURN_QUANTUM_US,
  TURNS_WAITING_PER_TENANT_MAX,
} from "../limits.ts";

export interface Waiting {
  readonly tenant: string;
  /** Of its input. */
  readonly bytes: number;
}

class Share<W> {
  readonly waiting: W[] = [];
  /** Of their inputs. */
  bytes = 0;
  running = 0;
  /** What its turns have taken, µs, measured against what every tenant was granted. */
  spent_us = 0;
  /** Until then, monotonic ms, it does not get the kept thread. */
  barredUntil_ms = Number.NEGATIVE_INFINITY;
}

export class TurnQueue<W extends Waiting> {
  /** Of every tenant that has had a turn: the operator makes tenants, nobody else. */
  readonly #shares = new Map<string, Share<W>>();
  /** Tenants who wait; whose turn was begun last stands last. */
  #ring: Share<W>[] = [];
  /** To each tenant, in all rounds until now. */
  #granted_us = 0;

  /** @returns `overloaded` where as much of this tenant waits as may */
  push(work: W): Refusal | undefined {
    const share = this.#shares.get(work.tenant) ?? new Share<W>();
    this.#shares.set(work.tenant, share);
    const { waiting, running } = share;
    const full =
      waiting.length >= TURNS_WAITING_PER_TENANT_MAX ||
      (waiting.length > 0 && share.bytes + work.bytes > TURN_BYTES_WAITING_PER_TENANT_MAX);
    if (full) return crowded(work.tenant);
    // Who was away has saved nothing up; what he owes he still owes.
    if (running === 0 && waiting.length === 0) share.spent_us = Math.max(share.spent_us, this.#granted_us);
    if (waiting.length === 0) this.#ring.push(share);
    waiting.push(work);
    share.bytes += work.bytes;
    return undefined;
  }

  /**
   * Takes the next turn out: it counts as running until `done`.
   * @param isKept for the thread that is kept for brief turns
   */
  next(now_ms: number, isKept: boolean): W | undefined {
    const served = isKept
      ? this.#ring.filter(({ running, barredUntil_ms }) => running === 0 && barredUntil_ms <= now_ms)
      : this.#ring;
    const share = served.find(({ spent_us }) => spent_us < this.#granted_us) ?? this.#nextRound(served);
    const work = share?.waiting.shift();
    if (share === undefined || work === undefined) return undefined;
    share.bytes -= work.bytes;
    share.running++;
    this.#ring = this.#ring.filter((other) => other !== share);
    if (share.waiting.length > 0) this.#ring.push(share);
    return work;
  }

  /** @param took_us of a thread's time */
  done({ tenant }: Waiting, took_us: number, now_ms: number): void {
    const share = this.#shares.get(tenant);
    if (share === undefined) throw new Error(`no turn of ${tenant} is running`);
    share.running--;
    share.spent_us += took_us;
    if (took_us > TURN_BRIEF_US_MAX)
      share.barredUntil_ms = now_ms + (took_us / 1000) * TURN_LONG_BARRED_FACTOR;
  }

  /** As many rounds as it takes until one of these may go on. */
  #nextRound([first, ...rest]: readonly Share<W>[]): Share<W> | undefined {
    if (first === undefined) return undefined;
    const next = rest.reduce((least, share) => (share.spent_us < least.spent_us ? share : least), first);
    const rounds = Math.floor((next.spent_us - this.#granted_us) / TURN_QUANTUM_US) + 1;
    this.#granted_us += rounds * TURN_QUANTUM_US;
    return next;
  }
}

function crowded(tenant: string): Refusal {
  return refuse("overloaded", `too many turns of tenant ${tenant} wait`, { retry_after_ms: 1000 });
}
