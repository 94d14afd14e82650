/** Characters on a grid: text, and lines that know in which directions they leave each cell. */
import type { Net } from "./route.ts";

const UP = 1;
const RIGHT = 2;
const DOWN = 4;
const LEFT = 8;
const UPRIGHT = UP | DOWN;
const LEVEL = LEFT | RIGHT;

/** By the directions in which a line leaves its cell, as the sum of their bits. */
const GLYPHS = " │─╰││╭├─╯─┴╮┤┬┼";

export class Canvas {
  readonly #rows: string[][] = [];
  readonly #lines = new Map<string, number>();

  text(row: number, column: number, text: string): void {
    for (const [index, character] of Array.from(text).entries()) this.#put(row, column + index, character);
  }

  upright(column: number, row: number, height: number): void {
    for (let y = row; y < row + height; y++) this.#line(y, column, UPRIGHT);
  }

  /** Down from each top to the track, along it, and down to each bottom. Straight where there is one column. */
  net({ tops, bottoms }: Net, top: number, track: number, height: number): void {
    const columns = [...tops, ...bottoms];
    const [first, last] = [Math.min(...columns), Math.max(...columns)];
    if (first === last) return this.upright(first, top, height);
    for (let column = first; column <= last; column++) {
      const [up, down] = [tops.includes(column), bottoms.includes(column)];
      if (up) this.upright(column, top, track - top);
      if (down) this.upright(column, track + 1, top + height - track - 1);
      const level = (column > first ? LEFT : 0) | (column < last ? RIGHT : 0);
      this.#line(track, column, level | (up ? UP : 0) | (down ? DOWN : 0));
    }
  }

  toString(): string {
    return this.#rows
      .map((row) =>
        Array.from(row, (character) => character ?? " ")
          .join("")
          .trimEnd(),
      )
      .join("\n");
  }

  /** Where two lines cross, the upright one goes through and the level one behind it. */
  #line(row: number, column: number, directions: number): void {
    const key = `${row},${column}`;
    const there = this.#lines.get(key) ?? 0;
    if (there === UPRIGHT && directions === LEVEL) return;
    this.#lines.set(key, directions);
    this.#put(row, column, GLYPHS[directions] ?? " ");
  }

  #put(row: number, column: number, character: string): void {
    while (this.#rows.length <= row) this.#rows.push([]);
    const cells = this.#rows[row] ?? [];
    while (cells.length < column) cells.push(" ");
    cells[column] = character;
  }
}
