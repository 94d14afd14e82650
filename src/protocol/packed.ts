/**
 * Transition tables in as few bits as they need: a cell has 1, 2, 4, 8 or 16 bits, so that none crosses a word.
 *
 * Guarantees: what was put in comes out; a row or a column outside the table holds nothing, so that a damaged
 * state number admits nothing. Thousands of tables are kept at once, most of them of a few states.
 */

const WORD_BITS = 32;

export class PackedTable {
  readonly width: number;
  readonly #rows: number;
  /** Binary logarithms: of the bits of a cell, and of the cells in a word. */
  readonly #cellShift: number;
  readonly #wordShift: number;
  readonly #mask: number;
  readonly #words: Uint32Array;

  /** @param cells row by row; -1 for nothing, otherwise a number below the number of rows */
  constructor(cells: ArrayLike<number>, width: number, rows: number) {
    this.width = width;
    this.#rows = rows;
    this.#cellShift = cellShift(rows);
    this.#wordShift = Math.log2(WORD_BITS) - this.#cellShift;
    this.#mask = 2 ** (1 << this.#cellShift) - 1;
    this.#words = new Uint32Array(Math.ceil((rows * width) / (1 << this.#wordShift)));
    // Stored plus one: 0 is nothing, as in a word that was never written.
    for (let index = 0; index < rows * width; index++) {
      const word = index >>> this.#wordShift;
      const stored = ((cells[index] ?? -1) + 1) << this.#bitOf(index);
      this.#words[word] = (this.#words[word] ?? 0) | stored;
    }
  }

  /** @returns -1 for nothing. */
  get(row: number, column: number): number {
    // Also false for what is no number at all. Fractions and negative rows address no row.
    if (!(row >= 0 && row < this.#rows && column >= 0 && column < this.width) || !Number.isInteger(row))
      return -1;
    const index = row * this.width + column;
    const word = this.#words[index >>> this.#wordShift] ?? 0;
    return ((word >>> this.#bitOf(index)) & this.#mask) - 1;
  }

  get sizeBytes(): number {
    return this.#words.byteLength;
  }

  /** The bit of its word at which a cell begins. */
  #bitOf(index: number): number {
    return (index & ((1 << this.#wordShift) - 1)) << this.#cellShift;
  }
}

/** As many bits as hold nothing, or any of the rows: 2 to the number returned. */
function cellShift(rows: number): number {
  let shift = 0;
  while (2 ** (1 << shift) < rows + 1) shift++;
  return shift;
}
