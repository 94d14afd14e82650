/** Where one protocol is narrower than the rest of another, judged by sets of words that know no automata. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { type Automaton, compileProtocol } from "../../src/protocol/automaton.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { findEntrances, findWidening } from "../../src/protocol/narrower.ts";
import { must } from "../support/gate.ts";
import { anyProtocol } from "./arbitrary.ts";
import { ALL_WORDS, prefixes, WORD_LENGTH_MAX } from "./oracle.ts";

const compile = (protocol: Protocol | string): Automaton => must(compileProtocol(protocol));

test("an entrance is one by definition; where there is none, each point has a word that would widen", () => {
  let [found, missing] = [0, 0];
  fc.assert(
    fc.property(anyProtocol, anyProtocol, (first, other) => {
      const [inner, outer] = [compile(other), compile(first)];
      const entrance = must(
        findEntrances({ name: "first", automaton: outer }, [{ name: "other", automaton: inner }]),
      ).get("other");
      const [within, around] = [prefixes(other), prefixes(first)];
      const fits = (after: string): boolean =>
        [...within].every((word) => after.length + word.length > WORD_LENGTH_MAX || around.has(after + word));
      if (entrance === undefined) {
        missing++;
        for (const word of around) {
          let state = 0;
          for (const letter of word) state = outer.next(state, letter) ?? -1;
          const widening = findWidening(inner, { automaton: outer, state });
          if (widening === undefined || isRefusal(widening)) throw new Error(`after ${word} it fits`);
          const wider = widening.word.map(({ message }) => message).join("");
          if (word.length + wider.length > WORD_LENGTH_MAX) continue;
          expect(within.has(wider)).toBe(true);
          expect(around.has(word + wider)).toBe(false);
        }
        return;
      }
      found++;
      const after = entrance.after.join("");
      if (after.length > WORD_LENGTH_MAX) return;
      expect([entrance.from, around.has(after), fits(after)]).toEqual(["first", true, true]);
      // A shortest one: before it there is none.
      for (const word of ALL_WORDS)
        if (word.length < after.length && around.has(word)) {
          let state = 0;
          for (const letter of word) state = outer.next(state, letter) ?? -1;
          expect(findWidening(inner, { automaton: outer, state })).toBeDefined();
        }
    }),
    { seed: 1, numRuns: 1500 },
  );
  expect(Math.min(found, missing)).toBeGreaterThan(100);
});

test("one leads to the next", () => {
  const named = Object.entries({ two: "c*", one: "(b|c)*", never: "a;a;a" }).map(([name, text]) => ({
    name,
    automaton: compile(text),
  }));
  const first = { name: "behaviour", automaton: compile("a ; (b | c ; c)* ; (b|c)*") };
  expect(Object.fromEntries(must(findEntrances(first, named)))).toEqual({
    one: { from: "behaviour", after: ["a"] },
    two: { from: "behaviour", after: ["a"] },
  });
  const chain = { name: "behaviour", automaton: compile("(a;a)* ; b") };
  const links = ["(a;a)* ; b", "a ; b", "b"].map((text, i) => ({ name: `n${i}`, automaton: compile(text) }));
  expect(must(findEntrances(chain, links)).get("n1")).toEqual({ from: "behaviour", after: ["a"] });
});
