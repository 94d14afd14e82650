import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import {
  NAME_LENGTH_MAX,
  PROTOCOL_BYTES_MAX,
  PROTOCOL_DEPTH_MAX,
  PROTOCOL_MESSAGES_MAX,
  PROTOCOL_REPEAT_MAX,
} from "../../src/limits.ts";
import {
  parseLabelledProtocol,
  parseProtocol,
  printProtocol,
  splitLabel,
} from "../../src/protocol/grammar.ts";
import { anyProtocol } from "./arbitrary.ts";

function reprint(text: string): string {
  const protocol = parseProtocol(text);
  if (isRefusal(protocol)) throw new Error(protocol.detail);
  return printProtocol(protocol);
}

/** The refusal's first line, and the column where its caret stands. */
function refusal(text: string): { reason: string | undefined; caret: number } {
  const protocol = parseProtocol(text);
  if (!isRefusal(protocol)) throw new Error(`accepted: ${text}`);
  expect(protocol.code).toBe("malformed_request");
  const [reason, , caret = ""] = protocol.detail.split("\n");
  return { reason, caret: caret.length };
}

function nested(depth: number): string {
  return `${"(".repeat(depth)}a${")".repeat(depth)}`;
}

function messages(count: number): string {
  return Array.from({ length: count }, (_, i) => `m${i}`).join("|");
}

describe("the grammar", () => {
  test("choice binds loosest, then interleaving, then sequence, then repetition", () => {
    expect(parseProtocol("a | b & c ; d*")).toEqual({
      kind: "choice",
      parts: [
        { kind: "message", name: "a" },
        {
          kind: "shuffle",
          parts: [
            { kind: "message", name: "b" },
            {
              kind: "seq",
              parts: [
                { kind: "message", name: "c" },
                { kind: "repeat", body: { kind: "message", name: "d" }, min: 0, max: Infinity },
              ],
            },
          ],
        },
      ],
    });
  });

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
  ])("%j prints as %j", (text, printed) => expect(reprint(text)).toBe(printed));

  test("parsing what was printed gives the tree back, in no more characters", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const text = printProtocol(protocol);
        fc.pre(text.length <= PROTOCOL_BYTES_MAX);
        expect(parseProtocol(text)).toEqual(protocol);
      }),
      { numRuns: 5000 },
    );
  });

  test("no pair of printed parentheses can be left out", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
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

describe("a refusal shows the column", () => {
  test.each([
    ["", 1, "found the end of the text"],
    ["a;", 3, "found the end of the text"],
    ["a ; ; b", 5, "found ';'"],
    ["a || b", 4, "found '|'"],
    ["open;Close", 6, "found 'C'"],
    ["a b", 3, "an operator or the end of the text"],
    ["a)", 2, "found ')'"],
    ["(a;b", 5, "')' for the '(' in column 1"],
    ["a**", 3, "found '*'"],
    ["a{2}", 4, "','"],
    ["a{,2}", 3, "a number"],
    ["a{3,2}", 5, "ends below"],
    ["a{1,2", 6, "'}'"],
    ["a{1,9999999999}", 5, `at most ${PROTOCOL_REPEAT_MAX}`],
    ["a;é", 3, "U+00e9"],
    ["a\n;\u0000", 4, "U+0000"],
    ["a;😀", 3, "U+1f600"],
    ["a @ 0123abcd", 3, "hex digits"],
  ])("%j at %i", (text, column, reason) => {
    const found = refusal(text);
    expect(found.reason).toContain(`column ${column}:`);
    expect(found.reason).toContain(reason);
    expect(found.caret).toBe(column);
  });

  test("the line under it is the text", () => {
    const protocol = parseProtocol("open ;\n (a | | b)");
    expect(isRefusal(protocol) && protocol.detail.split("\n").slice(1)).toEqual([
      "open ;  (a | | b)",
      "             ^",
    ]);
  });
});

describe("bounds", () => {
  test.each([
    ["bytes", "a".padEnd(PROTOCOL_BYTES_MAX), "a".padEnd(PROTOCOL_BYTES_MAX + 1)],
    ["nesting", nested(PROTOCOL_DEPTH_MAX), nested(PROTOCOL_DEPTH_MAX + 1)],
    ["messages", messages(PROTOCOL_MESSAGES_MAX), messages(PROTOCOL_MESSAGES_MAX + 1)],
    ["a name", "a".repeat(NAME_LENGTH_MAX), "a".repeat(NAME_LENGTH_MAX + 1)],
    ["repetition", `a{0,${PROTOCOL_REPEAT_MAX}}`, `a{0,${PROTOCOL_REPEAT_MAX + 1}}`],
  ])("%s: at it accepted, past it refused", (_, at, past) => {
    expect(isRefusal(parseProtocol(at))).toBe(false);
    expect(isRefusal(parseProtocol(past))).toBe(true);
  });

  test("parentheses side by side do not nest", () => {
    expect(isRefusal(parseProtocol(Array.from({ length: 200 }, () => "(a)").join(";")))).toBe(false);
  });
});

describe("labels", () => {
  test.each([
    ["a;b @ 0123abcd", "a;b", "0123abcd"],
    ["a@ffffffff ", "a", "ffffffff"],
    ["a", "a", undefined],
  ])("%j", (text, expression, label) => {
    const protocol = parseProtocol(expression);
    expect(parseLabelledProtocol(text)).toEqual(label === undefined ? { protocol } : { protocol, label });
    expect(splitLabel(text).expression).toBe(expression);
  });

  test.each(["a @", "a @ 0123ABCD", "a @ 0123abc", "a @ 0123abcd0", "a @ 0123abcd @ 0123abcd", "@ 0123abcd"])(
    "%j is refused",
    (text) => expect(isRefusal(parseLabelledProtocol(text))).toBe(true),
  );
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
