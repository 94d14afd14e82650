/** The checker is judged before it judges: by known histories, by an oracle, and by corrupting good ones. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { type AccountInput, accountModel, MESSAGES } from "./account-model.ts";
import { type AccountOperation, corrupted, inverted, linearizableHistory } from "./histories.ts";
import { checkLinearizable, type Output } from "./linearizability.ts";
import { isLinearizable } from "./oracle.ts";

const verdictOf = (history: readonly AccountOperation[]): string =>
  checkLinearizable(accountModel, history).verdict;

/** `[invoked, returned, message, amount, output]`; no output: it was never answered. */
type Row = readonly [number, number, AccountInput["message"], number, Output?];
const historyOf = (...rows: readonly Row[]): AccountOperation[] =>
  rows.map(([invoked_at, at, message, amount, output]) => ({
    input: { message, amount },
    invoked_at,
    returned: output === undefined ? undefined : { at, output },
  }));

const OPEN = [0, 1, "open", 0, 0] as const satisfies Row;
const FIVE = [2, 3, "deposit", 5, 5] as const satisfies Row;

describe("passes", () => {
  it.each<[string, Row[]]>([
    ["an empty history", []],
    ["one after the other", [OPEN, FIVE, [4, 5, "withdraw", 2, 3], [6, 7, "balance", 0, 3]]],
    ["a read beside a write that saw it", [OPEN, [2, 9, "deposit", 5, 5], [3, 4, "balance", 0, 5]]],
    ["a read beside a write that did not", [OPEN, [2, 9, "deposit", 5, 5], [3, 4, "balance", 0, 0]]],
    ["two writes in the order of their answers", [OPEN, [2, 9, "deposit", 5, 12], [3, 8, "deposit", 7, 7]]],
    ["what touches in time, in either order", [OPEN, [2, 4, "deposit", 5, 12], [4, 6, "deposit", 7, 7]]],
    [
      "an unanswered write that took effect late",
      [OPEN, [2, 2, "deposit", 5], FIVE, [9, 10, "balance", 0, 10]],
    ],
    ["an unanswered write that never did", [OPEN, [2, 2, "deposit", 5], [9, 10, "balance", 0, 0]]],
    [
      "an unanswered close, and what it explains",
      [OPEN, [2, 2, "close", 0], [3, 4, "balance", 0, "out_of_order"]],
    ],
    ["too large a withdrawal, refused", [OPEN, FIVE, [4, 5, "withdraw", 6, "handler_error"]]],
    [
      "a message before its time, refused",
      [
        [0, 1, "deposit", 5, "out_of_order"],
        [2, 3, "open", 0, 0],
      ],
    ],
    ["a second open, refused", [OPEN, [2, 3, "open", 0, "out_of_order"]]],
    [
      "a close with what is left, and nothing after it",
      [OPEN, FIVE, [4, 5, "close", 0, 5], [6, 7, "close", 0, "out_of_order"]],
    ],
  ])("%s", (_name, rows) => expect(verdictOf(historyOf(...rows))).toBe("linearizable"));
});

describe("finds", () => {
  it.each<[string, Row[]]>([
    ["a stale read", [OPEN, FIVE, [4, 5, "balance", 0, 0]]],
    ["a read of what comes only later", [OPEN, [2, 3, "balance", 0, 5], [4, 5, "deposit", 5, 5]]],
    ["a lost update", [OPEN, [2, 9, "deposit", 5, 5], [3, 8, "deposit", 7, 7]]],
    ["an acknowledged write that is gone", [OPEN, FIVE, [4, 5, "deposit", 7, 7]]],
    ["an effect twice", [OPEN, FIVE, [4, 5, "balance", 0, 10]]],
    ["an unanswered write that took effect twice", [OPEN, [2, 2, "deposit", 5], [3, 4, "balance", 0, 10]]],
    [
      "an unanswered write that was there and is gone",
      [OPEN, [2, 2, "deposit", 5], [3, 4, "balance", 0, 5], [5, 6, "balance", 0, 0]],
    ],
    ["an effect before its invocation", [OPEN, [2, 3, "balance", 0, 5], [4, 4, "deposit", 5]]],
    [
      "an effect after a refusal",
      [OPEN, FIVE, [4, 5, "withdraw", 6, "handler_error"], [6, 7, "balance", 0, -1]],
    ],
    ["a refusal without a reason", [OPEN, FIVE, [4, 5, "withdraw", 5, "handler_error"]]],
    ["an order violated: opened twice", [OPEN, FIVE, [4, 5, "open", 0, 0]]],
    ["an order violated: used after the close", [OPEN, FIVE, [4, 5, "close", 0, 5], [6, 7, "balance", 0, 5]]],
    [
      "an order violated: used before the open",
      [
        [0, 1, "deposit", 5, 5],
        [2, 3, "open", 0, 0],
      ],
    ],
    ["an inversion of real time", [OPEN, [2, 3, "deposit", 5, 12], [4, 5, "deposit", 7, 7]]],
    [
      "two readers who saw two orders",
      [OPEN, [2, 9, "deposit", 5], [2, 9, "deposit", 7], [3, 4, "balance", 0, 5], [5, 6, "balance", 0, 7]],
    ],
  ])("%s", (_name, rows) => expect(verdictOf(historyOf(...rows))).toBe("violated"));

  it("and says which operation nothing explains", () => {
    const history = historyOf(OPEN, FIVE, [4, 5, "balance", 0, 0], [6, 7, "balance", 0, 5]);
    expect(checkLinearizable(accountModel, history)).toMatchObject({
      verdict: "violated",
      stuck: history[2],
      state: 5,
      linearized: 2,
    });
  });
});

it("agrees with the definition on small histories of every kind", () => {
  const output = fc.constantFrom<Output>(0, 1, 2, 3, 4, "out_of_order", "handler_error");
  const operation = fc
    .tuple(
      fc.nat(8),
      fc.nat(5),
      fc.constantFrom(...MESSAGES),
      fc.integer({ min: 1, max: 2 }),
      fc.option(output),
    )
    .map(([invoked_at, length, message, amount, answer]) => ({
      input: { message, amount },
      invoked_at,
      returned: answer === null ? undefined : { at: invoked_at + length, output: answer },
    }));
  let linearizable = 0;
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 4 }), fc.boolean(), (operations, opened) => {
      const history = opened ? [...historyOf([-2, -1, "open", 0, 0]), ...operations] : operations;
      const expected = isLinearizable(accountModel, history);
      if (expected) linearizable++;
      expect(verdictOf(history)).toBe(expected ? "linearizable" : "violated");
    }),
    { numRuns: 10_000, seed: 1 },
  );
  expect(linearizable).toBeGreaterThan(1000);
});

it("agrees with the definition on good small histories, and on corrupted ones", () => {
  let violated = 0;
  for (let seed = 0; seed < 3000; seed++) {
    const random = new Seeded(seed);
    const shape = { clients: 3, operations: 5, unanswered: 0.3, closes: true };
    const good = linearizableHistory(random, shape);
    expect(isLinearizable(accountModel, good)).toBe(true);
    expect(verdictOf(good), `seed ${seed}`).toBe("linearizable");
    if (new Set(good.flatMap(({ returned }) => returned?.output ?? [])).size < 2) continue;
    const bad = corrupted(random, good);
    const expected = isLinearizable(accountModel, bad) ? "linearizable" : "violated";
    if (expected === "violated") violated++;
    expect(verdictOf(bad), `seed ${seed}`).toBe(expected);
  }
  expect(violated).toBeGreaterThan(1500);
});

describe("long histories", () => {
  const SHAPES = [
    { clients: 1, operations: 5000, unanswered: 0, closes: false },
    { clients: 4, operations: 5000, unanswered: 0.001, closes: false },
    { clients: 12, operations: 5000, unanswered: 0.0004, closes: false },
    { clients: 4, operations: 2000, unanswered: 0.01, closes: true },
  ];

  it.each(SHAPES)("of $clients clients, $unanswered unanswered, pass in few steps", (shape) => {
    for (let seed = 0; seed < 10; seed++) {
      const history = linearizableHistory(new Seeded(seed), shape);
      const { verdict, steps } = checkLinearizable(accountModel, history);
      expect(verdict, `seed ${seed}`).toBe("linearizable");
      expect(steps, `seed ${seed}`).toBeLessThan(100 * shape.operations);
    }
  });

  it.each(SHAPES.slice(0, 3))("of $clients clients show a single corrupted output", (shape) => {
    let found = 0;
    for (let seed = 0; seed < 20; seed++) {
      const random = new Seeded(seed);
      const history = corrupted(random, linearizableHistory(random, { ...shape, operations: 1000 }));
      if (verdictOf(history) === "violated") found++;
    }
    // The other output may have been possible, too, as for a read beside a write.
    expect(found).toBeGreaterThan(17);
  });

  it("show two operations that changed places", () => {
    let found = 0;
    for (let seed = 0; seed < 20; seed++) {
      const random = new Seeded(seed);
      const shape = { clients: 4, operations: 1000, unanswered: 0.002, closes: false };
      const history = inverted(random, linearizableHistory(random, shape));
      if (verdictOf(history) === "violated") found++;
    }
    // Two refusals, or two reads of one balance, may change places and nobody can tell.
    expect(found).toBeGreaterThan(15);
  });

  it("that would take too long are not decided, and say so", () => {
    const history = linearizableHistory(new Seeded(1), {
      clients: 4,
      operations: 100,
      unanswered: 0,
      closes: false,
    });
    expect(checkLinearizable(accountModel, history, 50)).toEqual({ verdict: "undecided", steps: 51 });
  });
});
