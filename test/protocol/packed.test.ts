import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PackedTable } from "../../src/protocol/packed.ts";

const anyTable = fc
  .record({
    rows: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 250, max: 512 })),
    width: fc.nat(7),
  })
  .chain(({ rows, width }) =>
    fc.record({
      rows: fc.constant(rows),
      width: fc.constant(width),
      cells: fc.array(fc.integer({ min: -1, max: rows - 1 }), {
        minLength: rows * width,
        maxLength: rows * width,
      }),
    }),
  );

describe("a packed table", () => {
  test("gives back what was put in", () => {
    fc.assert(
      fc.property(anyTable, ({ rows, width, cells }) => {
        const table = new PackedTable(cells, width, rows);
        const read = cells.map((_, index) => table.get(Math.floor(index / width), index % width));
        expect(read).toEqual(cells);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    [1, 8, 4],
    [3, 5, 4],
    [15, 8, 60],
    [255, 4, 1020],
    [512, 64, 65_536],
  ])("of %i states and %i messages takes %i bytes", (rows, width, size) => {
    const table = new PackedTable(new Int16Array(rows * width).fill(rows - 1), width, rows);
    expect(table.sizeBytes).toBe(size);
    expect(table.get(rows - 1, width - 1)).toBe(rows - 1);
  });

  test("holds nothing outside", () => {
    const table = new PackedTable([0, 1, 1, 0], 2, 2);
    for (const row of [-1, 2, 0.5, Number.NaN, Infinity, 2 ** 32]) expect(table.get(row, 0)).toBe(-1);
    for (const column of [-1, 2]) expect(table.get(0, column)).toBe(-1);
  });
});
