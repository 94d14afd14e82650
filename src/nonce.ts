/** A request is taken once: its nonce, remembered for as long as the request could be accepted. */
import { type Envelope, nonceKey, replayed } from "./envelope.ts";
import { type Refusal, refuse } from "./errors.ts";
import { rememberUntil } from "./signature/freshness.ts";
import type { ReplayWindow } from "./signature/replay.ts";

interface NonceOptions {
  readonly replays: ReplayWindow;
  readonly monotonic_ms: () => number;
}

/**
 * The request's nonce. It is taken where the call is done: every copy of a request reaches the leader of its actor's
 * shard. A request whose shard moves meanwhile may be tried here again; it is still the same one.
 */
export class Nonce {
  readonly #gate: NonceOptions;
  readonly #key: string;
  readonly #until_s: number;
  #taken = false;

  constructor(gate: NonceOptions, { signature, lifetime }: Envelope) {
    this.#gate = gate;
    this.#key = nonceKey(signature);
    this.#until_s = rememberUntil(lifetime);
  }

  /** Refusals: `replayed`, `overloaded`. */
  take(): Refusal | undefined {
    if (this.#taken) return undefined;
    const { replays, monotonic_ms } = this.#gate;
    const taken = replays.remember(this.#key, this.#until_s, monotonic_ms() / 1000);
    if (taken === "replayed") return replayed();
    if (taken === "full") return refuse("overloaded", "the replay window is full", { retry_after_ms: 1000 });
    this.#taken = true;
    return undefined;
  }

  giveBack(): void {
    if (this.#taken) this.#gate.replays.release(this.#key);
    this.#taken = false;
  }
}
