import { describe, expect, test } from "vitest";
import { Readings } from "../../src/authorize/readings.ts";
import { outcome } from "../token/outcome.ts";

const placed = (text: string, tail: Uint8Array) => ({ index: 0, text, tail, tailBefore: new Uint8Array(32) });

describe("what was read of a caveat", () => {
  test("is kept with its tail, and with no other of the same bytes", () => {
    const readings = new Readings();
    const tail = new Uint8Array(32);
    const read = readings.read(placed("when = args.amount < 5", tail), 0);
    expect(outcome(read)).toBe("taken");
    expect(readings.read(placed("when = args.amount < 5", tail), 0)).toBe(read);
    expect(readings.read(placed("when = args.amount < 5", new Uint8Array(32)), 0)).not.toBe(read);
    expect(new Readings().read(placed("when = args.amount < 5", tail), 0)).not.toBe(read);
  });

  test("is refused each time where it is not understood", () => {
    const readings = new Readings();
    const tail = new Uint8Array(32);
    for (const _ of [1, 2])
      expect(outcome(readings.read(placed("colour = red", tail), 0))).toBe("unknown_caveat");
  });
});
