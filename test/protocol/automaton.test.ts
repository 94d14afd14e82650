import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { PROTOCOL_BYTES_MAX } from "../../src/limits.ts";
import { type Automaton, compileProtocol } from "../../src/protocol/automaton.ts";
import { createProtocolCache } from "../../src/protocol/cache.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { anyProtocol, infix, repeat, rewrite } from "./arbitrary.ts";
import { ALL_WORDS, LETTERS, language, prefixes } from "./oracle.ts";

function compile(protocol: string | Protocol): Automaton {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

/** The state after a word of single letters, or `undefined` where it is not admitted. */
function run(automaton: Automaton, word: Iterable<string>): number | undefined {
  let state: number | undefined = 0;
  for (const message of word) {
    if (state === undefined) return undefined;
    state = automaton.next(state, message);
  }
  return state;
}

/** All that is observable: for each state whether it accepts, and where each message leads. */
function table(automaton: Automaton): unknown {
  const rows = Array.from({ length: automaton.stateCount }, (_, state) => {
    const moves = automaton.alphabet.map((message) => automaton.next(state, message) ?? null);
    return [automaton.accepting(state), ...moves];
  });
  return { alphabet: automaton.alphabet, rows };
}

function messages(count: number, operator: string): string {
  return Array.from({ length: count }, (_, i) => `m${i}`).join(operator);
}

function sessions(count: number): string {
  return Array.from({ length: count }, (_, i) => `(open${i};use${i}*;close${i})`).join("&");
}

describe("against the definition", () => {
  // 3,000 protocols × 364 words.
  test("a word is accepted exactly if it is in the language, and admitted exactly if it starts a word of it", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        const words = language(protocol);
        const starts = prefixes(protocol);
        const admitted = ALL_WORDS.filter((word) => run(automaton, word) !== undefined);
        const accepted = admitted.filter((word) => automaton.accepting(run(automaton, word) ?? -1));
        expect(admitted).toEqual(ALL_WORDS.filter((word) => starts.has(word)));
        expect(accepted).toEqual(ALL_WORDS.filter((word) => words.has(word)));
      }),
      { numRuns: 3000 },
    );
  });

  test("enabled is what has a next state, sorted", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        for (let state = 0; state < automaton.stateCount; state++)
          expect(automaton.enabled(state)).toEqual(
            LETTERS.filter((letter) => automaton.next(state, letter) !== undefined),
          );
      }),
    );
  });

  test("every state lies on the way to acceptance", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        const live = new Set<number>();
        for (let round = 0; round <= automaton.stateCount; round++)
          for (let state = 0; state < automaton.stateCount; state++) {
            const moves = automaton.enabled(state).map((message) => automaton.next(state, message) ?? -1);
            if (automaton.accepting(state) || moves.some((to) => live.has(to))) live.add(state);
          }
        expect(live.size).toBe(automaton.stateCount);
      }),
    );
  });
});

describe("laws: two texts of one language give one table", () => {
  const laws: [string, (r: Protocol, s: Protocol, t: Protocol) => [Protocol, Protocol]][] = [
    ["r|s = s|r", (r, s) => [infix("choice", [r, s]), infix("choice", [s, r])]],
    ["r|r = r", (r) => [infix("choice", [r, r]), r]],
    ["r&s = s&r", (r, s) => [infix("shuffle", [r, s]), infix("shuffle", [s, r])]],
    ["ε&r = r", (r) => [infix("shuffle", [{ kind: "end" }, r]), r]],
    ["ε;r;ε = r", (r) => [infix("seq", [{ kind: "end" }, r, { kind: "end" }]), r]],
    [
      "(r|s);t = r;t | s;t",
      (r, s, t) => [
        infix("seq", [infix("choice", [r, s]), t]),
        infix("choice", [infix("seq", [r, t]), infix("seq", [s, t])]),
      ],
    ],
    [
      "(r|s)&t = r&t | s&t",
      (r, s, t) => [
        infix("shuffle", [infix("choice", [r, s]), t]),
        infix("choice", [infix("shuffle", [r, t]), infix("shuffle", [s, t])]),
      ],
    ],
    ["r** = r*", (r) => [repeat(repeat(r, 0, Infinity), 0, Infinity), repeat(r, 0, Infinity)]],
    ["r+ = r;r*", (r) => [repeat(r, 1, Infinity), infix("seq", [r, repeat(r, 0, Infinity)])]],
    [
      "r{1,3} = r | r;r | r;r;r",
      (r) => [repeat(r, 1, 3), infix("choice", [r, infix("seq", [r, r]), infix("seq", [r, r, r])])],
    ],
  ];

  test.each(laws)("%s", (_, law) => {
    fc.assert(
      fc.property(anyProtocol, anyProtocol, anyProtocol, (r, s, t) => {
        const [left, right] = law(r, s, t).map((protocol) => compileProtocol(protocol));
        fc.pre(left !== undefined && right !== undefined && !isRefusal(left) && !isRefusal(right));
        expect(table(left)).toEqual(table(right));
      }),
      { numRuns: 200 },
    );
  });

  test("any rewriting", () => {
    fc.assert(
      fc.property(anyProtocol, fc.array(fc.nat(11), { minLength: 1, maxLength: 20 }), (protocol, numbers) => {
        let at = 0;
        const rewritten = rewrite(protocol, () => numbers[at++ % numbers.length] ?? 0);
        const other = compileProtocol(rewritten);
        fc.pre(!isRefusal(other));
        expect(table(other)).toEqual(table(compile(protocol)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the numbering, which is stored", () => {
  test("does not change between releases", () => {
    expect(table(compile("open ; (deposit | withdraw)* ; close"))).toEqual({
      alphabet: ["close", "deposit", "open", "withdraw"],
      rows: [
        [false, null, null, 1, null],
        [false, 2, 1, null, 1],
        [true, null, null, null, null],
      ],
    });
    expect(table(compile("c;a | b;(a|end) | a;b;c"))).toEqual({
      alphabet: ["a", "b", "c"],
      rows: [
        [false, 1, 2, 3],
        [false, null, 4, null],
        [true, 5, null, null],
        [false, 5, null, null],
        [false, null, null, 5],
        [true, null, null, null],
      ],
    });
  });

  test("is breadth first over the sorted messages, from 0", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        const order = new Set([0]);
        for (const state of order)
          for (const message of automaton.alphabet) {
            const to = automaton.next(state, message);
            if (to !== undefined) order.add(to);
          }
        expect([...order]).toEqual(Array.from({ length: automaton.stateCount }, (_, state) => state));
      }),
    );
  });

  test("is of the minimal automaton: any two states are told apart by a word", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        // Moore 1956: refine by what is seen in one step, until nothing changes.
        let classes = Array.from({ length: automaton.stateCount }, () => "");
        for (let round = 0; round <= automaton.stateCount; round++) {
          const seen = classes.map((_, state) => {
            const moves = automaton.alphabet.map(
              (message) => classes[automaton.next(state, message) ?? -1] ?? "-",
            );
            return `${automaton.accepting(state)} ${moves.join(" ")}`;
          });
          const names = [...new Set(seen)];
          classes = seen.map((signature) => String(names.indexOf(signature)));
        }
        expect(new Set(classes).size).toBe(automaton.stateCount);
      }),
    );
  });

  test("a message that no word contains is not in the alphabet", () => {
    expect(table(compile("a ; b{0,0}"))).toEqual(table(compile("a")));
  });

  test.each([-1, 3, 1e9, 0.5, Number.NaN])("state %d is none, and admits nothing", (state) => {
    const automaton = compile("open ; use* ; close");
    expect(automaton.enabled(state)).toEqual([]);
    expect(automaton.accepting(state)).toBe(false);
  });
});

describe("bounds", () => {
  test.each([
    ["512 states in a row", "a{511,511}", 512],
    ["512 states interleaved", messages(9, "&"), 512],
    ["512 states of 64 messages", `(${messages(64, "|")}){511,511}`, 512],
    ["8 messages back", "(a|b)*;a;(a|b){7,7}", 256],
    ["4 sessions", sessions(4), 81],
  ])("%s are compiled", (_, text, states) => expect(compile(text).stateCount).toBe(states));

  test.each([
    ["513 states in a row", "a{512,512}", "512 states"],
    ["1024 states interleaved", messages(10, "&"), "512 states"],
    ["12 sessions", sessions(12), "512 states"],
    ["10 messages back", "(a|b)*;a;(a|b){9,9}", "512 states"],
    ["512 messages back", "(a|b)*;a;(a|b){512,512}", "512 states"],
    ["nested repetitions", "((a{1,30};b{1,30}){1,30};c{1,30}){1,30}", "512 states"],
    ["nested optional repetitions", "((((a{0,500}){0,500}){0,500}){0,500}){0,500}", "steps to compile"],
    ["one message, optional 340 times", "a?;".repeat(340).slice(0, -1), "steps to compile"],
  ])("%s are refused", (_, text, reason) => {
    const refused = compileProtocol(text);
    expect(isRefusal(refused) && refused.code).toBe("malformed_request");
    expect(isRefusal(refused) && refused.detail).toContain(reason);
  });
});

describe("the cache", () => {
  test("gives the same automaton for the same expression", () => {
    const cache = createProtocolCache(10);
    const automaton = cache.get("a;b");
    expect(isRefusal(automaton)).toBe(false);
    expect(cache.get("a;b")).toBe(automaton);
    expect(cache.size).toBe(1);
  });

  test("remembers refusals, but not texts past the bound", () => {
    const cache = createProtocolCache(10);
    expect(isRefusal(cache.get("a;;"))).toBe(true);
    expect(cache.get("a;;")).toBe(cache.get("a;;"));
    expect(isRefusal(cache.get("a".padEnd(PROTOCOL_BYTES_MAX + 1)))).toBe(true);
    expect(cache.size).toBe(1);
  });

  test("forgets the least recently used first", () => {
    const cache = createProtocolCache(2);
    const a = cache.get("a");
    const b = cache.get("b");
    cache.get("a");
    cache.get("c");
    expect(cache.size).toBe(2);
    expect(cache.get("a")).toBe(a);
    expect(cache.get("b")).not.toBe(b);
  });

  test("holds no more bytes than it may", () => {
    const cache = createProtocolCache(1000, 64 * 1024);
    for (let i = 0; i < 200; i++) cache.get(`m${i}{511,511}`);
    expect(cache.size).toBeLessThan(64);
    expect(cache.size).toBeGreaterThan(10);
  });
});
