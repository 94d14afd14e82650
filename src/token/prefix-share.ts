/**
 * One tenant's share of the prefix cache: a trie over received caveats, and which place of it was used longest ago.
 *
 * Whoever uses a place uses all places before it, and those count as used after it. So the place that was used longest
 * ago is always a leaf, and what leaves first never leaves anything hanging.
 */
import { equalConstantTime } from "../bytes.ts";
import { PREFIX_PLACE_BYTES } from "../limits.ts";
import type { Secret } from "../secret.ts";

/** A prefix that has verified: an identifier and the caveats on the way here. */
class Place {
  /** The chain signature here: a secret. */
  readonly tail: Uint8Array;
  readonly before: Place | undefined;
  /** What leads here: the identifier's text, or a caveat's key. */
  readonly key: string;
  readonly bytes: number;
  readonly after = new Map<string, Place>();
  usedAt_ms = 0;
  older: Place | undefined;
  newer: Place | undefined;

  constructor(tail: Uint8Array, before: Place | undefined, key: string, bytes: number) {
    this.tail = tail;
    this.before = before;
    this.key = key;
    this.bytes = bytes;
  }
}

/** The key of the ring that the tails were made with: its bytes, for a number may come to mean another key. */
interface Root {
  readonly secret: Secret;
  readonly place: Place;
}

/** What names a prefix: the identifier's text, and a key for each caveat. */
export interface Path {
  readonly identifier: string;
  readonly caveats: readonly string[];
}

export class PrefixShare {
  readonly #roots = new Map<string, Root>();
  #oldest: Place | undefined;
  #newest: Place | undefined;
  #bytes = 0;
  #places = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get places(): number {
    return this.#places;
  }

  /** The tails of the longest prefix that is known: none, or those of the identifier and some first caveats. */
  find(secret: Secret, { identifier, caveats }: Path): readonly Uint8Array[] {
    const root = this.#roots.get(identifier);
    if (root === undefined) return [];
    if (!equalConstantTime(root.secret.expose(), secret.expose())) {
      // That key is no more: no token of it can verify again.
      this.#removeWithAllAfter(root.place);
      return [];
    }
    const tails = [root.place.tail];
    let place = root.place;
    for (const key of caveats) {
      const next = place.after.get(key);
      if (next === undefined) break;
      tails.push(next.tail);
      place = next;
    }
    return tails;
  }

  /**
   * @param tails of the identifier and of every caveat
   * @param more what is kept elsewhere for a caveat as long as its place is, in bytes
   * @returns whether any of it was new
   */
  keep(
    secret: Secret,
    { identifier, caveats }: Path,
    tails: readonly Uint8Array[],
    more: (key: string) => number,
    now_ms: number,
  ): boolean {
    const places = this.#places;
    const [first] = tails;
    if (first === undefined) throw new Error("a chain has a tail for its identifier at least");
    let root = this.#roots.get(identifier);
    if (root === undefined) {
      root = { secret, place: this.#add(first, undefined, identifier, 0) };
      this.#roots.set(identifier, root);
    }
    let { place } = root;
    for (const [index, key] of caveats.entries()) {
      const tail = tails[index + 1];
      if (tail === undefined) throw new Error("a chain has a tail for each caveat");
      let next = place.after.get(key);
      if (next === undefined) {
        next = this.#add(tail, place, key, more(key));
        place.after.set(key, next);
      }
      place = next;
    }
    for (let used: Place | undefined = place; used !== undefined; used = used.before)
      this.#touch(used, now_ms);
    return this.#places > places;
  }

  /** Forgets a prefix, and all that goes on from it. */
  forget({ identifier, caveats }: Path): void {
    let place = this.#roots.get(identifier)?.place;
    for (const key of caveats) place = place?.after.get(key);
    if (place !== undefined) this.#removeWithAllAfter(place);
  }

  /** @returns whether there was one that nobody had used since then */
  forgetOldest(before_ms = Infinity): boolean {
    const oldest = this.#oldest;
    if (oldest === undefined || oldest.usedAt_ms >= before_ms) return false;
    this.#remove(oldest);
    return true;
  }

  #add(tail: Uint8Array, before: Place | undefined, key: string, more: number): Place {
    // A character of a string takes two bytes where it is not Latin.
    const place = new Place(tail, before, key, PREFIX_PLACE_BYTES + 2 * key.length + more);
    this.#bytes += place.bytes;
    this.#places++;
    return place;
  }

  #removeWithAllAfter(place: Place): void {
    for (const next of place.after.values()) this.#removeWithAllAfter(next);
    this.#remove(place);
  }

  #remove(place: Place): void {
    this.#unlink(place);
    this.#bytes -= place.bytes;
    this.#places--;
    if (place.before === undefined) this.#roots.delete(place.key);
    else place.before.after.delete(place.key);
  }

  #touch(place: Place, now_ms: number): void {
    this.#unlink(place);
    place.usedAt_ms = now_ms;
    place.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = place;
    else this.#newest.newer = place;
    this.#newest = place;
  }

  #unlink(place: Place): void {
    const { older, newer } = place;
    if (older !== undefined) older.newer = newer;
    else if (this.#oldest === place) this.#oldest = newer;
    if (newer !== undefined) newer.older = older;
    else if (this.#newest === place) this.#newest = older;
    place.older = undefined;
    place.newer = undefined;
  }
}
