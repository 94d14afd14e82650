/**
 * The replay window: a signed request is taken once, whatever the wall clock does. That clock is not asked here.
 *
 * A nonce is remembered for as long as a request can live, by the monotonic clock; then only the time is kept until which
 * its request could be taken. Those times are a few stretches, and what would end in one of them counts as seen. A wall
 * clock that runs ahead for a while forgets nothing that could come again, and bars nothing when it is set right: fresh
 * requests end later than all that was forgotten. One that is set back to a time for which requests were taken and
 * forgotten bars that time: nobody knows any more which of its requests were there before.
 *
 * When the window is full, new requests are refused; nothing is forgotten to make room. What a shard that is taken over
 * brings along (each nonce of a call that took effect, and the stretches of those that its leaders forgot; both are in
 * its log) has room in any case. It is remembered for a whole life anew: only wall clocks tell how long ago it was taken.
 */
import { REPLAY_ENTRIES_MAX, REQUEST_LIFE_S_MAX } from "../limits.ts";
import { isWithin, joined, type Stretch } from "../stretches.ts";

export class ReplayWindow {
  readonly #entriesMax: number;
  /** `[nonce, until_s]` */
  readonly #seen = new Map<string, number>();
  /** Nonces by the monotonic second past which they are forgotten, the earliest first. */
  readonly #byDue = new Map<number, string[]>();
  #forgotten: readonly Stretch[] = [];

  constructor(entriesMax = REPLAY_ENTRIES_MAX) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#seen.size;
  }

  has(key: string): boolean {
    return this.#seen.has(key);
  }

  /**
   * Written only after the signature has verified.
   *
   * @param until_s until when the request could be taken: seconds since the epoch, inclusive
   * @param now_s monotonic
   */
  remember(key: string, until_s: number, now_s: number): "fresh" | "replayed" | "full" {
    this.forget(now_s);
    if (this.#seen.has(key) || isWithin(this.#forgotten, until_s)) return "replayed";
    if (this.#seen.size >= this.#entriesMax) return "full";
    this.#add(key, until_s, now_s);
    return "fresh";
  }

  /** A request that has taken effect, at whichever node: should it come again, it is known. */
  restore(key: string, until_s: number, now_s: number): void {
    if (!this.#seen.has(key) && !isWithin(this.#forgotten, until_s)) this.#add(key, until_s, now_s);
  }

  /** Requests that have taken effect, and of which nobody knows more. */
  restoreForgotten(stretches: readonly Stretch[]): void {
    for (const stretch of stretches) this.#forgotten = joined(this.#forgotten, stretch);
  }

  /** The request had no effect after all, and may come again. */
  release(key: string): void {
    this.#seen.delete(key);
  }

  /** @param now_s monotonic */
  forget(now_s: number): void {
    for (const [due_s, keys] of this.#byDue) {
      if (due_s >= Math.floor(now_s)) return;
      this.#byDue.delete(due_s);
      for (const key of keys) this.#forget(key);
    }
  }

  #forget(key: string): void {
    const until_s = this.#seen.get(key);
    if (until_s === undefined) return;
    this.#seen.delete(key);
    this.#forgotten = joined(this.#forgotten, [until_s, until_s]);
  }

  #add(key: string, until_s: number, now_s: number): void {
    this.#seen.set(key, until_s);
    const due_s = Math.floor(now_s) + REQUEST_LIFE_S_MAX;
    const bucket = this.#byDue.get(due_s);
    if (bucket === undefined) this.#byDue.set(due_s, [key]);
    else bucket.push(key);
  }
}
