/**
 * The actors whose sends an actor has taken, each with the number of the last one, so that none takes effect twice.
 *
 * A sender delivers to one receiver in order, the next only when the one before has its final answer: whatever comes
 * with a number that is not higher was taken or refused for good. So one number is enough, however much was sent. It
 * is kept for longer than a send may be under way; the sender's public key, which nobody else can sign with, names it.
 */
import { SENDERS_PER_ACTOR_MAX } from "../limits.ts";
import type { SenderRecord } from "./entry.ts";

export class Senders {
  /** The one that was heard of longest ago first. */
  readonly #last = new Map<string, SenderRecord>();

  get size(): number {
    return this.#last.size;
  }

  /** Whether the send with this number has had its answer. */
  hasTaken(key: string, number: number): boolean {
    return (this.#last.get(key)?.[1] ?? -1) >= number;
  }

  set(record: SenderRecord): void {
    const [key] = record;
    this.#last.delete(key);
    this.#last.set(key, record);
  }

  /** Lets go of those that nothing can come from any more. */
  forget(now_ms: number): void {
    for (const [key, [, , until_ms]] of this.#last) {
      if (until_ms >= now_ms) return;
      this.#last.delete(key);
    }
  }

  /** Whether a sender that is not known must wait. */
  isFull(key: string, now_ms: number): boolean {
    if (this.#last.has(key) || this.#last.size < SENDERS_PER_ACTOR_MAX) return false;
    const [oldest] = this.#last.values();
    return oldest !== undefined && oldest[2] >= now_ms;
  }

  [Symbol.iterator](): Iterator<SenderRecord> {
    return this.#last.values();
  }
}
