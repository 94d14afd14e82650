/** Chance that follows from a seed: the same seed tells the same story on every machine. */

/** mulberry32: small, seeded, good enough to choose faults. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 up to and without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  between(least: number, most: number): number {
    return least + this.next() * (most - least);
  }

  /** A whole number from 0 up to and without `count`. */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  pick<T>(choices: readonly T[]): T {
    const index = this.below(choices.length);
    if (index >= choices.length) throw new Error("nothing to choose from");
    return choices[index] as T;
  }

  /** Each of them or not, and at least one. */
  some<T>(choices: readonly T[]): readonly T[] {
    const chosen = choices.filter(() => this.chance(0.5));
    return chosen.length > 0 ? chosen : [this.pick(choices)];
  }

  /** Waiting times of events that come at random, in mean so long. */
  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean;
  }
}
