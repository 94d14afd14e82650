/**
 * The replay window: a signed request is taken once.
 *
 * A nonce is remembered for as long as its request could still be accepted, on the slowest clock that is
 * tolerated. When the window is full, new requests are refused; nothing is forgotten to make room. What a shard that
 * is taken over brings along has room in any case: its log held it before.
 */
import { REPLAY_ENTRIES_MAX } from "../limits.ts";

export class ReplayWindow {
  readonly #entriesMax: number;
  /** Nonces by the second in which they may be forgotten, so that forgetting costs nothing to find. */
  readonly #bySecond = new Map<number, string[]>();
  readonly #seen = new Set<string>();
  #forgottenUntil_s = 0;

  constructor(entriesMax = REPLAY_ENTRIES_MAX) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#seen.size;
  }

  has(key: string): boolean {
    return this.#seen.has(key);
  }

  /** Written only after the signature has verified. @param until_s seconds since the epoch, inclusive */
  remember(key: string, until_s: number, now_s: number): "fresh" | "replayed" | "full" {
    this.#forget(now_s);
    // Where the clock was set back, what was forgotten may come again: it counts as seen.
    if (this.#seen.has(key) || until_s < this.#forgottenUntil_s) return "replayed";
    if (this.#seen.size >= this.#entriesMax) return "full";
    this.#add(key, until_s);
    return "fresh";
  }

  /** A request that has taken effect, at whichever node: should it come again, it is known. */
  restore(key: string, until_s: number, now_s: number): void {
    this.#forget(now_s);
    if (!this.#seen.has(key) && until_s >= this.#forgottenUntil_s) this.#add(key, until_s);
  }

  #add(key: string, until_s: number): void {
    this.#seen.add(key);
    const bucket = this.#bySecond.get(until_s);
    if (bucket === undefined) this.#bySecond.set(until_s, [key]);
    else bucket.push(key);
  }

  /** The request had no effect after all, and may come again. @param until_s as it was remembered */
  release(key: string, until_s: number): void {
    if (!this.#seen.delete(key)) return;
    const left = this.#bySecond.get(until_s)?.filter((other) => other !== key) ?? [];
    this.#bySecond.set(until_s, left);
  }

  #forget(now_s: number): void {
    const now = Math.floor(now_s);
    if (now <= this.#forgottenUntil_s) return;
    this.#forgottenUntil_s = now;
    for (const [second, keys] of this.#bySecond) {
      if (second >= now) continue;
      for (const key of keys) this.#seen.delete(key);
      this.#bySecond.delete(second);
    }
  }
}
