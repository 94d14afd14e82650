/**
 * Derivatives and minimal automata against products of NFAs, over at least 100,000 random expressions and words.
 *
 * fast-check prints seed and path of a failure; `POSTERN_SEED=<seed> npx vitest run … test/protocol/nfa.test.ts` runs
 * the same expressions again.
 */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import { anyTree } from "./arbitrary.ts";
import { begin, follow, nfaOf, sizeOf } from "./nfa.ts";
import { ALL_WORDS, LETTERS, language, prefixes } from "./oracle.ts";

const RUNS = 120_000;
/** Nine expressions of ten are smaller; the others would take nine tenths of the time. */
const NFA_STATES_MAX = 150;
const WORD_LENGTH = 12;
const seed = process.env["POSTERN_SEED"];

test("at every point of a random word both admit the same messages, and both may end or neither", {
  timeout: 240_000,
}, () => {
  let compared = 0;
  let admitted = 0;
  const anyChoices = fc.array(fc.nat(11), { minLength: WORD_LENGTH, maxLength: WORD_LENGTH });
  fc.assert(
    fc.property(anyTree, anyChoices, (protocol, choices) => {
      if (sizeOf(protocol) > NFA_STATES_MAX) return;
      const automaton = compileProtocol(protocol);
      if (isRefusal(automaton)) return;
      compared++;
      const nfa = nfaOf(protocol);
      let state = 0;
      let states = begin(nfa);
      for (const choice of choices) {
        if (automaton.accepting(state) !== states.has(nfa.final)) throw new Error("one may end here");
        const nexts = LETTERS.map((letter) => follow(nfa, states, letter));
        const enabled = LETTERS.filter((_, i) => (nexts[i]?.size ?? 0) > 0);
        if (automaton.enabled(state).join() !== enabled.join())
          throw new Error(`admitted: ${enabled.join()}`);
        const letter = enabled[choice % Math.max(enabled.length, 1)];
        if (letter === undefined) break;
        admitted++;
        state = automaton.next(state, letter) ?? -1;
        states = nexts[LETTERS.indexOf(letter)] ?? new Set();
      }
    }),
    { numRuns: RUNS, ...(seed !== undefined && { seed: Number(seed) }) },
  );
  // The comparison is not empty: almost all expressions are small enough, and words are several messages long.
  expect(compared).toBeGreaterThan(100_000);
  expect(admitted / compared).toBeGreaterThan(2);
});

describe("the oracles themselves agree", () => {
  test("NFAs and sets of words", () => {
    fc.assert(
      fc.property(anyTree, (protocol) => {
        fc.pre(sizeOf(protocol) <= NFA_STATES_MAX);
        const nfa = nfaOf(protocol);
        expect(nfa.moves.length).toBe(sizeOf(protocol));
        const words = language(protocol);
        const starts = prefixes(protocol);
        for (const word of ALL_WORDS) {
          const states = [...word].reduce((from, letter) => follow(nfa, from, letter), begin(nfa));
          expect(states.has(nfa.final)).toBe(words.has(word));
          expect(states.size > 0).toBe(starts.has(word));
        }
      }),
      { numRuns: 300 },
    );
  });
});
