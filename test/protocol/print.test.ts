import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { PROTOCOL_BYTES_MAX } from "../../src/limits.ts";
import { type Protocol, parseProtocol } from "../../src/protocol/grammar.ts";
import { formatProtocol, printProtocol } from "../../src/protocol/print.ts";
import { anyTree } from "./arbitrary.ts";

function parse(text: string): Protocol {
  const protocol = parseProtocol(text);
  if (isRefusal(protocol)) throw new Error(protocol.detail);
  return protocol;
}

const anyWidth = fc.constantFrom(1, 8, 20, 40, Infinity);

describe("the canonical text", () => {
  test.each([
    ["open ; (deposit | withdraw | balance)* ; close", "open;(deposit|withdraw|balance)*;close"],
    ["  (((a)))\t\n", "a"],
    ["(a;b);(c;d)", "a;b;c;d"],
    ["(a|b)&(c;d)", "(a|b)&c;d"],
    ["(a*)*", "(a*)*"],
    ["(a;b)+", "(a;b)+"],
    ["a{0,1}", "a?"],
    ["a { 02 , 3 }", "a{2,3}"],
    ["a{0,0}", "a{0,0}"],
    ["end | ending | end_", "end|ending|end_"],
  ])("of %j is %j", (text, printed) => expect(printProtocol(parse(text))).toBe(printed));

  test("parse ∘ print is the identity on trees, in no more characters than any text has", () => {
    fc.assert(
      fc.property(anyTree, anyWidth, (protocol, width) => {
        const text = printProtocol(protocol);
        fc.pre(text.length <= PROTOCOL_BYTES_MAX);
        expect(parse(text)).toEqual(protocol);
        expect(text.length).toBeLessThanOrEqual(formatProtocol(protocol, width).length);
      }),
      { numRuns: 5000 },
    );
  });

  test("no pair of parentheses can be left out", () => {
    fc.assert(
      fc.property(anyTree, (protocol) => {
        const text = printProtocol(protocol);
        fc.pre(text.length <= PROTOCOL_BYTES_MAX);
        for (const [open, close] of pairs(text)) {
          const without = text.slice(0, open) + text.slice(open + 1, close) + text.slice(close + 1);
          expect(parseProtocol(without)).not.toEqual(protocol);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("the text for people", () => {
  test.each([
    ["open;(deposit|withdraw)*;close", "open ; (deposit | withdraw)* ; close"],
    ["a|b;c", "a | b ; c"],
    ["(a|b);c", "(a | b) ; c"],
    ["(a*)*&b?", "(a*)* & b?"],
  ])("of %j is %j", (text, formatted) => expect(formatProtocol(parse(text))).toBe(formatted));

  test("shows what an & takes in: it binds looser than ;", () => {
    expect(formatProtocol(parse("upload* & review ; approve ; publish"))).toBe(
      "upload* & (review ; approve ; publish)",
    );
    expect(formatProtocol(parse("(upload* & review) ; approve ; publish"))).toBe(
      "(upload* & review) ; approve ; publish",
    );
    expect(formatProtocol(parse("a & b | c"))).toBe("(a & b) | c");
  });

  test("breaks at the loosest operator first, and indents what stands in parentheses", () => {
    const text = "open ; (deposit | withdraw ; receipt | (balance & audit))* ; close | end";
    expect(formatProtocol(parse(text), 40).split("\n")).toEqual([
      "(",
      "  open ;",
      "  (",
      "    deposit |",
      "    withdraw ; receipt |",
      "    (balance & audit)",
      "  )* ;",
      "  close",
      ") |",
      "end",
    ]);
  });

  test("parses to the same tree, however narrow it is", () => {
    fc.assert(
      fc.property(anyTree, anyWidth, (protocol, width) => {
        const text = formatProtocol(protocol, width);
        fc.pre(text.length <= PROTOCOL_BYTES_MAX);
        expect(parseProtocol(text)).toEqual(protocol);
        if (width === Infinity) expect(text).not.toContain("\n");
      }),
      { numRuns: 3000 },
    );
  });

  test("keeps within the width, where a line can be broken", () => {
    fc.assert(
      fc.property(anyTree, (protocol) => {
        const long = formatProtocol(protocol, 30)
          .split("\n")
          .filter((line) => line.length > 30);
        expect(long.filter((line) => line.trimStart().length > 30 && / [|&;] ./.test(line))).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  test("what fits is on one line", () => {
    fc.assert(
      fc.property(anyTree, (protocol) => {
        const flat = formatProtocol(protocol);
        expect(formatProtocol(protocol, flat.length)).toBe(flat);
        if (flat.includes(" ")) expect(formatProtocol(protocol, flat.length - 1)).not.toBe(flat);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Indexes of matching parentheses. */
function pairs(text: string): [number, number][] {
  const open: number[] = [];
  const found: [number, number][] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") open.push(i);
    if (text[i] === ")") found.push([open.pop() ?? 0, i]);
  }
  return found;
}
