/**
 * What a protocol means, by definition and without derivatives: sets of words, built up from the parts.
 *
 * Exact for words up to `WORD_LENGTH_MAX` messages; messages are single letters, so that a word is a string. It
 * shares no code with src/protocol but the type of the tree.
 */
import type { Protocol } from "../../src/protocol/grammar.ts";

export const LETTERS = ["a", "b", "c"] as const;
export const WORD_LENGTH_MAX = 5;

export type Words = ReadonlySet<string>;

/** Every word over `LETTERS` that the oracle can judge. */
export const ALL_WORDS: readonly string[] = (() => {
  const words = [""];
  for (const word of words)
    if (word.length < WORD_LENGTH_MAX) words.push(...LETTERS.map((letter) => word + letter));
  return words;
})();

export function language(protocol: Protocol): Words {
  switch (protocol.kind) {
    case "end":
      return new Set([""]);
    case "message":
      return new Set([protocol.name]);
    case "choice":
      return union(protocol.parts.map(language));
    case "shuffle":
      return protocol.parts.map(language).reduce(interleave);
    case "seq":
      return protocol.parts.map(language).reduce(concatenate);
    case "repeat":
  }
  return union(powers(language(protocol.body), protocol.max).slice(protocol.min));
}

/** All prefixes of the words of a protocol. Words may be longer than what the oracle holds; prefixes may not. */
export function prefixes(protocol: Protocol): Words {
  switch (protocol.kind) {
    case "end":
      return new Set([""]);
    case "message":
      return new Set(["", protocol.name]);
    case "choice":
      return union(protocol.parts.map(prefixes));
    case "shuffle":
      return protocol.parts.map(prefixes).reduce(interleave);
    case "seq": {
      const befores = protocol.parts.map((_, i) => protocol.parts.slice(0, i).map(language));
      return union(
        protocol.parts.map((part, i) =>
          concatenate((befores[i] ?? []).reduce(concatenate, EMPTY_WORD), prefixes(part)),
        ),
      );
    }
    case "repeat":
  }
  if (protocol.max === 0) return EMPTY_WORD;
  const befores = powers(language(protocol.body), protocol.max - 1);
  return union(befores.map((before) => concatenate(before, prefixes(protocol.body))));
}

const EMPTY_WORD: Words = new Set([""]);

/** w^0, w^1 … w^n; cut where longer powers add nothing that the oracle can see. */
function powers(words: Words, n: number): Words[] {
  const all = [EMPTY_WORD];
  // A body with ε has its shorter words in each power, one without grows by a letter: past twice the length, for
  // any start of a slice up to the length, the powers repeat.
  const last = Math.min(n, 2 * WORD_LENGTH_MAX + 2);
  for (let i = 1; i <= last; i++) all.push(concatenate(all[i - 1] ?? EMPTY_WORD, words));
  return all;
}

function union(sets: readonly Words[]): Words {
  const all = new Set<string>();
  for (const set of sets) for (const word of set) all.add(word);
  return all;
}

function concatenate(left: Words, right: Words): Words {
  const all = new Set<string>();
  for (const a of left) for (const b of right) if (a.length + b.length <= WORD_LENGTH_MAX) all.add(a + b);
  return all;
}

function interleave(left: Words, right: Words): Words {
  return union([...left].flatMap((a) => [...right].map((b) => interleavings(a, b))));
}

function interleavings(a: string, b: string): Words {
  if (a.length + b.length > WORD_LENGTH_MAX) return new Set();
  if (a === "" || b === "") return new Set([a + b]);
  const fromA = [...interleavings(a.slice(1), b)].map((rest) => a.charAt(0) + rest);
  const fromB = [...interleavings(a, b.slice(1))].map((rest) => b.charAt(0) + rest);
  return new Set([...fromA, ...fromB]);
}
