/**
 * Work that may still be done before a question counts as too large. Work is counted and not timed, so a text is
 * refused on every machine or on none.
 */
export class Budget {
  readonly #work: number;
  #left: number;

  constructor(work: number) {
    this.#work = work;
    this.#left = work;
  }

  /** @returns false once more was asked for than there was, and ever after. */
  spend(work: number): boolean {
    this.#left -= work;
    return this.#left >= 0;
  }

  get exhausted(): boolean {
    return this.#left < 0;
  }

  /** All that was asked for, beyond the budget too. */
  get spent(): number {
    return this.#work - this.#left;
  }
}
