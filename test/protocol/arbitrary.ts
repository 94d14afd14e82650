/** Random protocols in the parser's normal form, and random rewritings that keep the language. */
import * as fc from "fast-check";
import { isRefusal } from "../../src/errors.ts";
import { compileProtocol } from "../../src/protocol/automaton.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { LETTERS } from "./oracle.ts";

const END: Protocol = { kind: "end" };

export function repeat(body: Protocol, min: number, max: number): Protocol {
  return { kind: "repeat", body, min, max };
}

/** An infix node with its operator's associativity worked in, as the parser does. */
export function infix(kind: "choice" | "shuffle" | "seq", operands: readonly Protocol[]): Protocol {
  const parts = operands.flatMap((operand) => (operand.kind === kind ? operand.parts : [operand]));
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? only : { kind, parts };
}

/** `*`, `+`, `?` and some `{m,n}`. */
const TIMES = [
  [0, Infinity],
  [1, Infinity],
  [0, 1],
  [0, 0],
  [1, 1],
  [0, 2],
  [1, 3],
  [2, 2],
  [2, 4],
] as const;

const trees = fc.letrec<{ protocol: Protocol }>((tie) => ({
  protocol: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    {
      arbitrary: fc.constantFrom(...LETTERS).map((name): Protocol => ({ kind: "message", name })),
      weight: 3,
    },
    { arbitrary: fc.constant(END), weight: 1 },
    {
      arbitrary: fc
        .tuple(
          fc.constantFrom("choice", "shuffle", "seq"),
          fc.array(tie("protocol"), { minLength: 2, maxLength: 3 }),
        )
        .map(([kind, parts]) => infix(kind, parts)),
      weight: 12,
    },
    {
      arbitrary: fc
        .tuple(tie("protocol"), fc.constantFrom(...TIMES))
        .map(([body, [min, max]]) => repeat(body, min, max)),
      weight: 4,
    },
  ),
}));

/** Any tree: a few in a hundred have too many states. */
export const anyTree: fc.Arbitrary<Protocol> = trees.protocol;

/** Protocols within the bounds. */
export const anyProtocol: fc.Arbitrary<Protocol> = trees.protocol.filter(
  (protocol) => !isRefusal(compileProtocol(protocol)),
);

export const anyLetter: fc.Arbitrary<string> = fc.constantFrom(...LETTERS);

/** An equivalent protocol, written differently: each number of `choices` decides one rewriting on the way down. */
export function rewrite(protocol: Protocol, choices: () => number): Protocol {
  const again = (part: Protocol) => rewrite(part, choices);
  switch (protocol.kind) {
    case "end":
      return choices() % 4 === 0 ? repeat(END, 0, 2) : END;
    case "message":
      return [
        protocol,
        repeat(protocol, 1, 1),
        infix("seq", [END, protocol]),
        infix("choice", [protocol, protocol]),
      ][choices() % 4] as Protocol;
    case "seq": {
      const [head, ...tail] = protocol.parts.map(again) as [Protocol, ...Protocol[]];
      if (head.kind !== "choice" || choices() % 2 === 0) return infix("seq", [head, ...tail]);
      return infix(
        "choice",
        head.parts.map((part) => infix("seq", [part, ...tail])),
      );
    }
    case "choice": {
      const parts = protocol.parts.map(again);
      return infix("choice", choices() % 2 === 0 ? [...parts, ...protocol.parts] : parts.toReversed());
    }
    case "shuffle": {
      const [head, ...tail] = protocol.parts.map(again) as [Protocol, ...Protocol[]];
      if (head.kind !== "choice" || choices() % 2 === 0) return infix("shuffle", [...tail, END, head]);
      return infix(
        "choice",
        head.parts.map((part) => infix("shuffle", [part, ...tail])),
      );
    }
    case "repeat":
  }
  return rewriteRepeat(again(protocol.body), protocol.min, protocol.max, choices());
}

function rewriteRepeat(body: Protocol, min: number, max: number, choice: number): Protocol {
  if (max === 0) return END;
  if (choice % 3 === 0) {
    // r{m,n} = r;r{m-1,n-1}, and | ε where m = 0
    const once = infix("seq", [body, repeat(body, Math.max(min - 1, 0), max - 1)]);
    return min === 0 ? infix("choice", [END, once]) : once;
  }
  if (choice % 3 === 1 && max !== Infinity) {
    const copies = Array.from({ length: max }, (_, i) => (i < min ? body : repeat(body, 0, 1)));
    return infix("seq", copies);
  }
  if (max === Infinity)
    return infix("seq", [repeat(body, min, min), repeat(repeat(body, 0, 1), 0, Infinity)]);
  return repeat(body, min, max);
}
