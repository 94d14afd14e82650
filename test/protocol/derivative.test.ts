import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Budget } from "../../src/protocol/budget.ts";
import { type Node, NodeTable } from "../../src/protocol/derivative.ts";
import { anyProtocol } from "./arbitrary.ts";
import { LETTERS, language, WORD_LENGTH_MAX } from "./oracle.ts";

const WORK = 1_000_000;

/** What each law is about: a table with `empty`, `end` and three random nodes. */
function forAll(law: (nodes: NodeTable, r: Node, s: Node, t: Node) => void): void {
  fc.assert(
    fc.property(anyProtocol, anyProtocol, anyProtocol, (r, s, t) => {
      const nodes = new NodeTable(new Budget(WORK));
      law(nodes, nodes.from(r), nodes.from(s), nodes.from(t));
    }),
    { numRuns: 300 },
  );
}

describe("similar expressions are one node", () => {
  test("choice", () =>
    forAll((nodes, r, s, t) => {
      expect(nodes.choice([r, s])).toBe(nodes.choice([s, r]));
      expect(nodes.choice([r, r])).toBe(r);
      expect(nodes.choice([nodes.empty, r])).toBe(r);
      expect(nodes.choice([nodes.choice([r, s]), t])).toBe(nodes.choice([r, nodes.choice([s, t])]));
    }));

  test("interleaving", () =>
    forAll((nodes, r, s, t) => {
      expect(nodes.shuffle([r, s])).toBe(nodes.shuffle([s, r]));
      expect(nodes.shuffle([nodes.end, r])).toBe(r);
      expect(nodes.shuffle([nodes.empty, r])).toBe(nodes.empty);
      expect(nodes.shuffle([nodes.shuffle([r, s]), t])).toBe(nodes.shuffle([r, nodes.shuffle([s, t])]));
    }));

  test("sequence", () =>
    forAll((nodes, r, s, t) => {
      expect(nodes.seq(nodes.seq(r, s), t)).toBe(nodes.seq(r, nodes.seq(s, t)));
      expect(nodes.seq(nodes.end, r)).toBe(r);
      expect(nodes.seq(r, nodes.end)).toBe(r);
      expect(nodes.seq(nodes.empty, r)).toBe(nodes.empty);
      expect(nodes.seq(r, nodes.empty)).toBe(nodes.empty);
    }));

  test("repetition", () =>
    forAll((nodes, r) => {
      const star = nodes.repeat(r, 0, Infinity);
      expect(nodes.repeat(star, 0, Infinity)).toBe(star);
      expect(nodes.repeat(star, 2, 5)).toBe(star);
      expect(nodes.repeat(r, 1, 1)).toBe(r);
      expect(nodes.repeat(r, 0, 0)).toBe(nodes.end);
      expect(nodes.repeat(nodes.end, 1, 3)).toBe(nodes.end);
      expect(nodes.repeat(nodes.empty, 0, 3)).toBe(nodes.end);
      expect(nodes.repeat(nodes.empty, 1, 3)).toBe(nodes.empty);
    }));
});

describe("derivatives", () => {
  test("l;w is in the language exactly if w is in the derivative by l", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const nodes = new NodeTable(new Budget(WORK));
        const words: string[] = [];
        const walk = (node: Node, word: string): void => {
          if (node.nullable) words.push(word);
          if (word.length === WORD_LENGTH_MAX) return;
          for (const [message, rest] of nodes.gradient(node)) walk(rest, word + message);
        };
        walk(nodes.from(protocol), "");
        expect(words.toSorted()).toEqual([...language(protocol)].toSorted());
      }),
      { numRuns: 500 },
    );
  });

  test("are never the empty set", () =>
    forAll((nodes, r) => {
      for (const letter of LETTERS) expect(nodes.gradient(r).get(letter)).not.toBe(nodes.empty);
    }));
});

describe("the work budget", () => {
  test("is spent by each node asked for, and then everything is empty", () => {
    const nodes = new NodeTable(new Budget(3));
    const [a, b] = [nodes.message("a"), nodes.message("b")];
    expect(nodes.exhausted).toBe(false);
    expect(nodes.choice([a, b])).toBe(nodes.empty);
    expect(nodes.exhausted).toBe(true);
    expect(nodes.message("a")).toBe(nodes.empty);
  });
});
