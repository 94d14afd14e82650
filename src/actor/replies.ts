/**
 * The replies that an actor keeps for retries, by idempotency key, oldest first.
 *
 * Nothing is forgotten before its time: a ledger that is full, in number or in bytes, takes no new key until its
 * oldest reply has expired.
 */
import type { Json } from "../json.ts";
import { IDEMPOTENCY_BYTES_PER_ACTOR_MAX, IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX } from "../limits.ts";
import type { SealedRecord } from "./capabilities.ts";

export interface KeptReply {
  /** Of message and arguments: the key means this request and no other. */
  readonly digest: string;
  readonly reply: Json;
  /** The capabilities that it refers to. */
  readonly caps: readonly SealedRecord[];
  readonly until_ms: number;
}

export class Replies {
  readonly #kept = new Map<string, KeptReply & { readonly bytes: number }>();
  #bytes = 0;

  get size(): number {
    return this.#kept.size;
  }

  /** Of keys, digests and replies as text. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): KeptReply | undefined {
    return this.#kept.get(key);
  }

  keys(): Iterable<string> {
    return this.#kept.keys();
  }

  set(key: string, reply: KeptReply): void {
    const sealed = reply.caps.reduce((length, [, text]) => length + text.length, 0);
    const bytes = key.length + reply.digest.length + JSON.stringify(reply.reply).length + sealed;
    this.#bytes += bytes - (this.#kept.get(key)?.bytes ?? 0);
    this.#kept.set(key, { ...reply, bytes });
  }

  /** All of them live equally long, so those that have expired stand first. */
  forget(now_ms: number): void {
    for (const [key, { until_ms, bytes }] of this.#kept) {
      if (until_ms >= now_ms) return;
      this.#kept.delete(key);
      this.#bytes -= bytes;
    }
  }

  /** Whether a new key must wait. One that has expired makes room for it. */
  isFull(now_ms: number): boolean {
    const room =
      this.#kept.size < IDEMPOTENCY_ENTRIES_PER_ACTOR_MAX && this.#bytes < IDEMPOTENCY_BYTES_PER_ACTOR_MAX;
    const [oldest] = this.#kept.values();
    return !room && oldest !== undefined && oldest.until_ms >= now_ms;
  }

  [Symbol.iterator](): Iterator<[string, KeptReply]> {
    return this.#kept[Symbol.iterator]();
  }
}
