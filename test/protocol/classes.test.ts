import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { type Automaton, compileProtocol } from "../../src/protocol/automaton.ts";
import { messageClass, type OrderClass, orderClass } from "../../src/protocol/classes.ts";
import { anyLetter, anyProtocol, infix, repeat } from "./arbitrary.ts";
import { LETTERS } from "./oracle.ts";

function compile(protocol: Parameters<typeof compileProtocol>[0]): Automaton {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

const ORDER: readonly OrderClass[] = ["free", "stays", "steps", "never"];

test.each<[string, Record<string, OrderClass>]>([
  ["(ping | echo)*", { ping: "free", echo: "free", open: "never" }],
  [
    "open ; (deposit | balance)* ; close",
    { open: "steps", deposit: "stays", balance: "stays", close: "steps" },
  ],
  ["ping* & (open ; close)", { ping: "free", open: "steps", close: "steps" }],
  ["a+", { a: "steps" }],
  ["a* ; b*", { a: "stays", b: "steps" }],
])("%s: %j", (protocol, classes) => {
  for (const [message, order] of Object.entries(classes))
    expect(orderClass([compile(protocol)], message)).toBe(order);
});

test("several monitors ask for the most that one of them does", () => {
  const of = (...protocols: string[]): OrderClass => orderClass(protocols.map(compile), "a");
  expect(of()).toBe("free");
  expect(of("a*", "a*")).toBe("free");
  expect(of("a*", "b;a*")).toBe("stays");
  expect(of("a;b", "b;a*", "a*")).toBe("steps");
  expect(of("a*", "b")).toBe("never");
});

test("a behaviour that may be replaced asks for what any of them does", () => {
  const of = (behaviour: string, ...become: string[]): OrderClass =>
    orderClass([behaviour, "(a|b)*"].map(compile), "a", become.map(compile));
  expect(of("(a|b)*", "a*")).toBe("free");
  expect(of("(a|b)*", "b*")).toBe("stays");
  expect(of("(a|b)*", "a;b")).toBe("steps");
  expect(of("b*", "a*")).toBe("stays");
  expect(of("b*", "b")).toBe("never");
});

describe("laws", () => {
  /** Often with a message that is admitted always. */
  const anyLoose = fc
    .tuple(anyProtocol, fc.option(anyLetter))
    .map(([protocol, name]) =>
      name === null ? protocol : infix("shuffle", [protocol, repeat({ kind: "message", name }, 0, Infinity)]),
    )
    .filter((protocol) => !isRefusal(compileProtocol(protocol)));

  const anyProtocols = fc.array(anyProtocol, { minLength: 1, maxLength: 3 });

  test("a free message is admitted after every word, and then the same words follow as without it", () => {
    let free = 0;
    fc.assert(
      fc.property(anyLoose, fc.array(anyLetter, { maxLength: 6 }), anyLetter, (protocol, word, message) => {
        const automaton = compile(protocol);
        const order = orderClass([automaton], message);
        const state = word.reduce<number | undefined>(
          (from, letter) => (from === undefined ? undefined : automaton.next(from, letter)),
          0,
        );
        if (state === undefined) return;
        const to = automaton.next(state, message);
        if (order === "free") {
          free++;
          expect(to).toBe(state);
        }
        if (order === "stays") expect([undefined, state]).toContain(to);
        if (order === "never") expect(to).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
    expect(free).toBeGreaterThan(30);
  });

  test("one more monitor never asks for less", () => {
    fc.assert(
      fc.property(anyProtocols, anyProtocol, anyLetter, (protocols, added, message) => {
        const automata = protocols.map(compile);
        const wide = ORDER.indexOf(orderClass(automata, message));
        expect(ORDER.indexOf(orderClass([...automata, compile(added)], message))).toBeGreaterThanOrEqual(
          wide,
        );
      }),
    );
  });

  test("what steps, steps from some state that can be reached", () => {
    fc.assert(
      fc.property(anyProtocol, (protocol) => {
        const automaton = compile(protocol);
        for (const letter of LETTERS) {
          const moved = Array.from({ length: automaton.stateCount }, (_, state) => {
            const to = automaton.next(state, letter);
            return to !== undefined && to !== state;
          });
          expect(orderClass([automaton], letter) === "steps").toBe(moved.includes(true));
        }
      }),
    );
  });
});

test.each([
  ["(a|b)*", { reads: true, stateless: true }, { order: "free", owner: false, writes: false }],
  ["(a|b)*", { reads: true, stateless: false }, { order: "free", owner: true, writes: false }],
  ["(a|b)*", { reads: false, stateless: false }, { order: "free", owner: true, writes: true }],
  ["b;a*", { reads: true, stateless: true }, { order: "stays", owner: true, writes: false }],
  ["a;b", { reads: true, stateless: true }, { order: "steps", owner: true, writes: true }],
  ["b", { reads: false, stateless: false }, { order: "never", owner: false, writes: false }],
] as const)("a under %s with %j: %j", (protocol, facts, expected) => {
  expect(messageClass([compile(protocol)], "a", facts)).toEqual(expected);
});
