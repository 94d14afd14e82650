/**
 * So many pieces of work at once, of one tenant only a part of them, and the rest in the order in which it came.
 *
 * Whoever's work takes long holds up himself: what waits behind it, and is another's, goes past.
 */
export interface Bounds {
  readonly most: number;
  readonly mostOfOne: number;
}

export class Few {
  readonly #bounds: Bounds;
  #busy = 0;
  readonly #busyOf = new Map<string, number>();
  readonly #waiting: { readonly whose: string; readonly begin: () => void }[] = [];

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  async run<T>(whose: string, work: () => Promise<T>): Promise<T> {
    if (this.#hasRoom(whose)) this.#enter(whose);
    else await new Promise<void>((begin) => this.#waiting.push({ whose, begin }));
    try {
      return await work();
    } finally {
      this.#leave(whose);
    }
  }

  #hasRoom(whose: string): boolean {
    const { most, mostOfOne } = this.#bounds;
    return this.#busy < most && (this.#busyOf.get(whose) ?? 0) < mostOfOne;
  }

  #enter(whose: string): void {
    this.#busy++;
    this.#busyOf.set(whose, (this.#busyOf.get(whose) ?? 0) + 1);
  }

  #leave(whose: string): void {
    this.#busy--;
    const left = (this.#busyOf.get(whose) ?? 0) - 1;
    if (left > 0) this.#busyOf.set(whose, left);
    else this.#busyOf.delete(whose);
    const at = this.#waiting.findIndex((waiting) => this.#hasRoom(waiting.whose));
    const [next] = at < 0 ? [] : this.#waiting.splice(at, 1);
    if (next === undefined) return;
    // In the same step, so that nobody who comes meanwhile takes the place.
    this.#enter(next.whose);
    next.begin();
  }
}
