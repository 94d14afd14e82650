import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import {
  NAME_LENGTH_MAX,
  PROTOCOL_BYTES_MAX,
  PROTOCOL_DEPTH_MAX,
  PROTOCOL_MESSAGES_MAX,
  PROTOCOL_REPEAT_MAX,
} from "../../src/limits.ts";
import { parseProtocol } from "../../src/protocol/grammar.ts";

function refusal(text: string): { reason: string; position: { text: string; column: number } | undefined } {
  const protocol = parseProtocol(text);
  if (!isRefusal(protocol)) throw new Error(`accepted: ${text}`);
  expect(protocol.code).toBe("malformed_request");
  return { reason: protocol.detail, position: protocol.facts.position };
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
    ["a @ 0123abcd", 3, "a label belongs to a caveat"],
  ])("%j at %i", (text, column, reason) => {
    const found = refusal(text);
    expect(found.reason).toMatch(new RegExp(`^protocol, column ${column}: `));
    expect(found.reason).toContain(reason);
    expect(found.reason).not.toContain("\n");
    expect(found.position?.column).toBe(column);
  });

  test.each([
    ["open, close", 5, "joined with ';'"],
    ["open -> close", 6, "joined with ';'"],
    ["open.close", 5, "joined with ';'"],
    ["a && b", 4, "a single '&'"],
    ["a || b", 4, "a single '|'"],
    ["a or b", 3, "choice is '|'"],
    ["a/b", 2, "choice is '|'"],
    ["a{2}", 4, "exactly n times is {n,n}"],
    ["a{2,}", 5, "at least n times"],
    ["a ; ()", 6, "'end'"],
  ])("%j at %i, and says how it is written here", (text, column, hint) => {
    const found = refusal(text);
    expect(found.position?.column).toBe(column);
    expect(found.reason).toContain(hint);
  });

  test("a hint is given only for what stands there", () => {
    expect(refusal("a{2,2} ; ; b").reason).toMatch(/found ';'$/);
    expect(refusal("a ; (b").reason).toMatch(/found the end of the text$/);
  });

  test("the text comes with it on one line, in characters of one column each", () => {
    expect(refusal("open ;\n (a | | b)").position).toEqual({ text: "open ;  (a | | b)", column: 14 });
    expect(refusal("open ; \u001b[2J").position).toEqual({ text: "open ; ?[2J", column: 8 });
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
