import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { applyDelta, type Delta, deltaOf } from "../../src/actor/delta.ts";

/** What the log makes of it. */
function logged(delta: Delta): Delta {
  const bytes = new TextEncoder().encode(JSON.stringify(delta));
  return JSON.parse(new TextDecoder().decode(bytes)) as Delta;
}

const canonical = (value: unknown): string => JSON.stringify(JSON.parse(JSON.stringify(value)));

/** Text as a state has it: any units, half surrogate pairs, names that look like integers, numbers at their ends. */
const anyText = fc
  .oneof(
    fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }),
    fc.array(fc.nat(0xffff), { maxLength: 8 }).map((units) => String.fromCharCode(...units)),
    fc.dictionary(fc.oneof(fc.nat(20).map(String), fc.string()), fc.double()),
    fc.constantFrom(0, -0, 1e21, 5e-324, 2 ** 53, "", {}, [], "😀", "\ud83d", "\ude00", '\\"\n\u2028'),
  )
  .map(canonical);

/** Two texts, often with much in common. */
const anyChange = fc.oneof(
  fc.tuple(anyText, anyText),
  fc
    .tuple(anyText, anyText, anyText, anyText)
    .map(([start, from, to, end]) => [`[${start},${from},${end}]`, `[${start},${to},${end}]`] as const),
  // Pairs that share one half: the splice cuts them in two.
  fc.constantFrom(['"😀"', '"😁"'] as const, ['"😀"', '"🨀"'] as const, ['"😀😀"', '"😀"'] as const),
);

describe("a delta", () => {
  test("makes the new text out of the old one, unit by unit, also after the log's UTF-8", () => {
    fc.assert(
      fc.property(anyChange, ([before, after]) => {
        expect(applyDelta(before, logged(deltaOf(before, after)))).toBe(after);
      }),
      { seed: 1, numRuns: 5000 },
    );
  });

  test("applies to no other text", () => {
    fc.assert(
      fc.property(anyChange, anyText, ([before, after], other) => {
        fc.pre(other !== before);
        expect(applyDelta(other, deltaOf(before, after))).toBeUndefined();
      }),
      { seed: 2, numRuns: 2000 },
    );
    // Of the same length, and changed elsewhere than where the delta changes it.
    expect(applyDelta('{"a":1,"b":2}', deltaOf('{"a":0,"b":2}', '{"a":0,"b":3}'))).toBeUndefined();
  });

  test("holds only what differs", () => {
    const balance = (n: number) => `{"owner":"${"x".repeat(1000)}","balance":${n},"open":true}`;
    const [start, between, end] = deltaOf(balance(1999), balance(1000));
    expect([start + between.length + end, between]).toEqual([balance(1000).length, "000"]);
    expect(deltaOf("aaa", "aaaaa").slice(0, 3)).toEqual([3, "aa", 0]);
    expect(deltaOf("aaaaa", "aaa").slice(0, 3)).toEqual([3, "", 0]);
  });
});
