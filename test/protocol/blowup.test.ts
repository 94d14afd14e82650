/** An attenuation can be a bomb: each known blow-up ends within the work budget, by counting and not by the clock. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { PROTOCOL_BYTES_MAX, PROTOCOL_WORK_MAX } from "../../src/limits.ts";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import { Budget } from "../../src/protocol/budget.ts";

const joined = (count: number, operator: string, part: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(operator);

/** What is asked for once the budget is spent: each constructor on the way out asks once more, and builds nothing. */
const OVERRUN = PROTOCOL_WORK_MAX / 2;

interface Compiled {
  readonly refused: string | undefined;
  readonly spent: number;
}

function compiled(text: string): Compiled {
  expect(text.length).toBeLessThanOrEqual(PROTOCOL_BYTES_MAX);
  const budget = new Budget(PROTOCOL_WORK_MAX);
  const automaton = compileProtocol(text, budget);
  return { refused: isRefusal(automaton) ? automaton.detail : undefined, spent: budget.spent };
}

describe("is refused, and no more is built than the budget allows", () => {
  test.each([
    ["12 sessions", joined(12, "&", (i) => `(open${i};use${i}*;close${i})`)],
    ["20 sessions", joined(20, "&", (i) => `(o${i};u${i}*;c${i})`)],
    ["sessions that share their messages", joined(30, "&", () => "((open;use)*;close)*")],
    ["nested counters", "((a{1,30};b{1,30}){1,30};c{1,30}){1,30}"],
    ["nested optional counters", "((((a{0,500}){0,500}){0,500}){0,500}){0,500}"],
    ["60 counters nested", "(".repeat(60) + "a;b" + "){1,512}".repeat(60)],
    ["40 counters beside each other", joined(40, "&", (i) => `a{${i},${i + 100}}`)],
    ["40 counters in a choice", joined(40, "|", (i) => `(a{${i},${i + 100}};b{0,100})*`)],
    ["counters in a row over two messages", joined(12, ";", (i) => `(a|b){${i},500}`)],
    ["the nth message from the end, n = 10", "(a|b)*;a;(a|b){9,9}"],
    ["the nth message from the end, n = 513", "(a|b)*;a;(a|b){512,512}"],
    ["stars interleaved", joined(60, "&", (i) => `(a${i}*;b)*`)],
    ["equal stars interleaved", joined(100, "&", () => "(a*;b*)")],
    ["stars and interleaving nested", "((((((a*&b)*&c)*&d)*&e)*&f)*&g)*"],
    ["cycles of coprime lengths", [2, 3, 5, 7, 11, 13].map((n) => `(a{${n},${n}})*`).join("|")],
    ["the same, interleaved", [2, 3, 5, 7, 11, 13].map((n) => `(a{${n},${n}})*`).join("&")],
    ["pairs of equal messages", joined(150, "&", () => "a;b")],
    ["one message, optional 340 times", joined(340, ";", () => "a?")],
    ["64 messages, twice 500 times", joined(2, ";", () => `(${joined(64, "|", (i) => `m${i}`)}){0,500}`)],
  ])("%s", (_, text) => {
    const { refused, spent } = compiled(text);
    expect(refused).toMatch(/512 states|steps to compile/);
    expect(spent).toBeLessThanOrEqual(PROTOCOL_WORK_MAX + OVERRUN);
  });
});

describe("looks like one, and is compiled", () => {
  test.each([
    ["many stars of one message", joined(200, "&", () => "a*"), 1],
    ["a message from each of 20 halves", joined(20, "&", (i) => `(a|b)*;${i % 2 ? "a" : "b"};(a|b)*`), 121],
    ["250 equal messages interleaved", joined(250, "&", () => "a"), 251],
    ["a choice of 250 ways", joined(250, "|", () => "a;b"), 3],
    ["30 suffixes of one language", joined(30, "|", (i) => `(a|b)*;a;(a|b){${i},${i}}`), 31],
  ])("%s", (_, text, states) => {
    const automaton = compileProtocol(text);
    expect(isRefusal(automaton) ? automaton.detail : automaton.stateCount).toBe(states);
  });
});

describe("whatever the text is", () => {
  // Large counters, few messages and much interleaving: most of these are too large.
  const count = fc.tuple(fc.integer({ min: 0, max: 512 }), fc.integer({ min: 0, max: 512 }));
  const { text: anyHostileText } = fc.letrec<{ text: string }>((tie) => ({
    text: fc.oneof(
      { maxDepth: 7, depthSize: "large" },
      fc.constantFrom("a", "b", "c", "d?", "(a|b)*"),
      fc
        .tuple(fc.constantFrom("|", "&", "&", ";"), fc.array(tie("text"), { minLength: 2, maxLength: 6 }))
        .map(([operator, parts]) => `(${parts.join(operator)})`),
      fc
        .tuple(tie("text"), count)
        .map(([body, bounds]) => `(${body}){${Math.min(...bounds)},${Math.max(...bounds)}}`),
      tie("text").map((body) => `(${body})*`),
    ),
  }));

  test("the work ends", () => {
    let refusals = 0;
    fc.assert(
      fc.property(anyHostileText, (text) => {
        fc.pre(text.length <= PROTOCOL_BYTES_MAX);
        const { refused, spent } = compiled(text);
        if (refused !== undefined) refusals++;
        expect(spent).toBeLessThanOrEqual(PROTOCOL_WORK_MAX + OVERRUN);
      }),
      { numRuns: 300 },
    );
    expect(refusals).toBeGreaterThan(60);
  });
});
