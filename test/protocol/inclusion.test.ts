import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { type Automaton, compileProtocol } from "../../src/protocol/automaton.ts";
import { Budget } from "../../src/protocol/budget.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import {
  anyOrder,
  findViolation,
  fresh,
  type Residual,
  residual,
  type Violation,
} from "../../src/protocol/inclusion.ts";
import { type Monitor, stepAll } from "../../src/protocol/monitor.ts";
import { anyTree, infix, repeat } from "./arbitrary.ts";
import { begin, follow, nfaOf, type States, sizeOf } from "./nfa.ts";
import { LETTERS } from "./oracle.ts";

function compile(protocol: string | Protocol): Automaton {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

function ask(parts: readonly string[], outer: string, after: readonly string[] = []): Violation | undefined {
  const rest = residual(compile(outer), after);
  if (rest === undefined) throw new Error("not admitted");
  const found = findViolation(
    parts.map((part) => fresh(compile(part))),
    [rest],
  );
  if (isRefusal(found)) throw new Error(found.detail);
  return found;
}

const wordOf = (found: Violation | undefined): string | undefined =>
  found?.word.map(({ message, part }) => `${message}${part}`).join(" ");

describe("one protocol within another", () => {
  test.each([
    ["a;b", "a;b;c", undefined],
    ["a;b;c", "a;b", "a0 b0 c0"],
    ["a*", "a{0,3}", "a0 a0 a0 a0"],
    ["b|a", "c", "a0"],
    ["end", "a", undefined],
    ["a&b", "a;b|b;a", undefined],
    ["deposit{0,2};balance*", "(deposit|withdraw|balance)*;close", undefined],
  ])("%s within %s: %s", (part, outer, word) => expect(wordOf(ask([part], outer))).toBe(word));

  test("is asked about what is sent, not about where it ends", () => {
    expect(ask(["a"], "a;b")).toBeUndefined();
    expect(ask(["a*"], "a+")).toBeUndefined();
  });

  test("is asked about what remains", () => {
    const account = "open;(deposit|withdraw)*;close";
    expect(wordOf(ask(["deposit*;close"], account))).toBe("close0");
    expect(ask(["deposit*;close"], account, ["open", "withdraw"])).toBeUndefined();
    expect(residual(compile(account), ["deposit"])).toBeUndefined();
  });
});

describe("two parts of one protocol", () => {
  test.each([
    ["upload*", "review;approve", "upload* & (review;approve)", undefined],
    ["upload*", "review;approve", "(upload* & review);approve", "review1 approve1 upload0"],
    ["open", "close", "open;close", "close1"],
    ["deposit*", "close", "(deposit|withdraw)*;close", "close1 deposit0"],
    ["deposit*", "withdraw{0,2}", "(deposit|withdraw)*;close", undefined],
    ["a", "a", "a;a", undefined],
    ["a", "a", "a", "a0 a1"],
    ["a", "end", "a", undefined],
  ])("%s and %s of %s: %s", (one, two, outer, word) => expect(wordOf(ask([one, two], outer))).toBe(word));

  test("the violation says which of the outer protocols it breaks, and what that admits", () => {
    const outers = ["(a|b)*", "a*;c"].map((text) => fresh(compile(text)));
    expect(findViolation([fresh(compile("a;b"))], outers)).toEqual({
      word: [
        { message: "a", part: 0 },
        { message: "b", part: 0 },
      ],
      by: 1,
      enabled: ["a", "c"],
    });
  });

  test("a set of messages in any order is a protocol, too", () => {
    const outer = anyOrder(new Set(["b", "a"]));
    expect(findViolation([fresh(compile("(a|b)*"))], [outer])).toBeUndefined();
    expect(findViolation([fresh(compile("a;c"))], [outer])).toMatchObject({ enabled: ["a", "b"] });
  });
});

test("what takes too long is refused, by the work", () => {
  const parts = ["a{511,511}", "b{511,511}", "c{511,511}"].map((text) => fresh(compile(text)));
  const budget = new Budget(10_000);
  const found = findViolation(parts, [fresh(compile("(a|b|c)*"))], budget);
  expect(isRefusal(found) && found.code).toBe("malformed_request");
  expect(budget.spent).toBeLessThan(10_100);
});

/** A split as somebody might try it: often the parts are what the outer protocol is made of. */
interface Attempt {
  readonly outer: Protocol;
  readonly parts: readonly [Protocol, Protocol];
  readonly choices: readonly number[];
}

const anyPiece = anyTree.filter((protocol) => sizeOf(protocol) <= 12);
const LOOSE = repeat(
  infix(
    "choice",
    LETTERS.map((name) => ({ kind: "message", name })),
  ),
  0,
  Infinity,
);

const anyAttempt: fc.Arbitrary<Attempt> = fc
  .record({
    one: anyPiece,
    two: anyPiece,
    other: anyPiece,
    shape: fc.nat(7),
    choices: fc.array(fc.nat(11), { minLength: 24, maxLength: 24 }),
  })
  .map(({ one, two, other, shape, choices }) => {
    const both = infix("shuffle", [one, two]);
    const outer = [
      both,
      infix("seq", [both, other]),
      infix("choice", [both, other]),
      infix("shuffle", [both, other]),
      repeat(both, 0, Infinity),
      LOOSE,
      infix("seq", [one, two]),
      other,
    ][shape] as Protocol;
    return { outer, parts: [one, two] as const, choices };
  });

/** A walk of the outer protocol's: what was sent before the split. */
function walk(automaton: Automaton, choices: readonly number[]): readonly string[] {
  const word: string[] = [];
  let state = 0;
  for (const choice of choices) {
    const enabled = automaton.enabled(state);
    const message = enabled[choice % Math.max(1, enabled.length)];
    if (message === undefined) break;
    word.push(message);
    state = automaton.next(state, message) ?? -1;
  }
  return word;
}

interface Split {
  readonly outer: Residual;
  readonly parts: readonly [Automaton, Automaton];
  readonly after: readonly string[];
  readonly found: Violation | undefined;
}

/** Every second attempt begins after a few messages. */
function attempt({ outer, parts, choices }: Attempt): Split | undefined {
  if (sizeOf(outer) > 150) return undefined; // Nine of ten are smaller; the others would take most of the time.
  const whole = compileProtocol(outer);
  const compiled = parts.map((part) => compileProtocol(part));
  const [one, two] = compiled;
  if (isRefusal(whole) || one === undefined || two === undefined || isRefusal(one) || isRefusal(two))
    return undefined;
  const after = walk(whole, choices.slice(0, (choices[0] ?? 0) % 2 === 0 ? 0 : (choices[1] ?? 0) % 4));
  const rest = residual(whole, after);
  const found = rest && findViolation([fresh(one), fresh(two)], [rest]);
  if (rest === undefined || isRefusal(found)) return undefined;
  return { outer: rest, parts: [one, two], after, found };
}

describe("laws", () => {
  /** What the tokens of a split carry: the parent's monitor and one of their own. */
  function family({ outer, parts }: Split): readonly (readonly Monitor[])[] {
    const parent = { id: "parent", automaton: outer.automaton };
    return parts.map((automaton, i) => [parent, { id: `part ${i}`, automaton }]);
  }

  test("two children of a passed split never refuse each other: 20,000 of them", { timeout: 240_000 }, () => {
    let passed = 0;
    let sent = 0;
    fc.assert(
      fc.property(anyAttempt, (tried) => {
        const split = attempt(tried);
        if (split === undefined || split.found !== undefined) return;
        passed++;
        const states = new Map([["parent", split.outer.state]]);
        const stateOf = (id: string): number => states.get(id) ?? 0;
        const children = family(split);
        for (const choice of tried.choices) {
          // Whoever moves, everything that its own monitor admits must pass the parent's, too.
          const moves = children.flatMap((monitors, child) =>
            (split.parts[child]?.enabled(stateOf(`part ${child}`)) ?? []).map((message) => ({
              monitors,
              message,
            })),
          );
          const steps = moves.map(({ monitors, message }) => stepAll(monitors, stateOf, message));
          if (steps.some(isRefusal)) throw new Error("a child was refused");
          const taken = steps[choice % Math.max(1, steps.length)];
          if (taken === undefined || isRefusal(taken)) break;
          for (const { id, to } of taken) states.set(id, to);
          sent++;
        }
      }),
      { numRuns: 40_000 },
    );
    expect(passed).toBeGreaterThan(20_000);
    expect(sent / passed).toBeGreaterThan(1);
  });

  test("a refusal's word is sent by the parts, and refused by the parent's monitor at its last message", () => {
    let refused = 0;
    fc.assert(
      fc.property(anyAttempt, (tried) => {
        const split = attempt(tried);
        if (split?.found === undefined) return;
        refused++;
        const states = new Map([["parent", split.outer.state]]);
        const stateOf = (id: string): number => states.get(id) ?? 0;
        for (const [index, { message, part }] of split.found.word.entries()) {
          const own = split.parts[part]?.next(stateOf(`part ${part}`), message);
          expect(own).toBeDefined();
          const steps = stepAll(family(split)[part] ?? [], stateOf, message);
          expect(isRefusal(steps)).toBe(index === split.found.word.length - 1);
          if (!isRefusal(steps)) for (const { id, to } of steps) states.set(id, to);
        }
      }),
      { numRuns: 5000 },
    );
    expect(refused).toBeGreaterThan(1000);
  });

  test("products of NFAs find the same: a violation or none, and no shorter one", () => {
    let compared = 0;
    fc.assert(
      fc.property(anyAttempt, (tried) => {
        const split = attempt(tried);
        if (split === undefined) return;
        compared++;
        const parts = nfaOf(infix("shuffle", tried.parts));
        const outer = nfaOf(tried.outer);
        const start = split.after.reduce((from, message) => follow(outer, from, message), begin(outer));
        const length = shortest(
          (states, letter) => follow(parts, states, letter),
          (states, letter) => follow(outer, states, letter),
          [begin(parts), start],
        );
        expect(split.found?.word.length).toBe(length);
      }),
      { numRuns: 5000 },
    );
    expect(compared).toBeGreaterThan(4000);
  });
});

type Move = (states: States, letter: string) => States;

/** Length of the shortest word that the first admits and the second does not. */
function shortest(first: Move, second: Move, start: readonly [States, States]): number | undefined {
  const keyOf = (pair: readonly [States, States]): string =>
    pair.map((states) => [...states].toSorted((a, b) => a - b).join()).join(";");
  const seen = new Set([keyOf(start)]);
  let level = [start];
  for (let length = 1; level.length > 0; length++) {
    const next: [States, States][] = [];
    for (const [left, right] of level)
      for (const letter of LETTERS) {
        const pair: [States, States] = [first(left, letter), second(right, letter)];
        if (pair[0].size === 0) continue;
        if (pair[1].size === 0) return length;
        if (seen.has(keyOf(pair))) continue;
        seen.add(keyOf(pair));
        next.push(pair);
      }
    level = next;
  }
  return undefined;
}
