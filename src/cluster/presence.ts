/**
 * This node in the eyes of the others: its lease, renewed in time, and whenever what it says has changed.
 *
 * It ends for good: when the node leaves, or when another one has declared it dead.
 */
import { type Refusal, refuse } from "../errors.ts";
import { Lease, type LeaseOptions } from "./lease.ts";

export interface PresenceOptions extends LeaseOptions {
  /** Called once: other nodes have declared this one dead. */
  readonly lost: (why: Refusal) => void;
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #lease: Lease;
  #hasEnded = false;
  #published: Promise<void> = Promise.resolve();

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#lease = new Lease(options);
  }

  /** Refusal: `store_unavailable`. */
  acquire(): Promise<Refusal | undefined> {
    return this.#lease.acquire();
  }

  /** From now on it is renewed. */
  begin(): void {
    void this.#renewals();
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Whether nobody can have taken over, as far as clocks can tell. */
  get isValid(): boolean {
    return !this.#hasEnded && this.#lease.isValid;
  }

  /** How long from one renewal to the next. */
  get interval_ms(): number {
    return this.#lease.interval_ms;
  }

  /** Lets others know soon what is so now. Resolves when they may. */
  publish(): Promise<void> {
    if (!this.#hasEnded) this.#published = this.#renew();
    return this.#published;
  }

  /** Resolves when nothing is being published. */
  get published(): Promise<void> {
    return this.#published;
  }

  /** The orderly end: others need not wait for that of the lease. */
  async leave(): Promise<void> {
    this.#hasEnded = true;
    await this.#lease.remove();
  }

  async #renewals(): Promise<void> {
    while (!this.#hasEnded) {
      await this.#options.clock.sleep(this.#lease.interval_ms);
      if (!this.#hasEnded) await this.#renew();
    }
  }

  async #renew(): Promise<void> {
    if ((await this.#lease.renew()) !== "lost" || this.#hasEnded) return;
    this.#hasEnded = true;
    this.#lease.invalidate();
    this.#options.lost(refuse("not_leader", "other nodes have declared this one dead"));
  }
}
