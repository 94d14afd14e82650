/** Batches as they arrive: what is read, what is refused and how, and that no argument is ever taken for a reference. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import type { Json } from "../../src/json.ts";
import { BATCH_CALLS_MAX, BATCH_REFERENCES_MAX } from "../../src/limits.ts";
import { readBatch } from "../../src/request/batch.ts";
import type { Reference } from "../../src/request/references.ts";
import { type BatchCall, type BatchValue, batchBody, resultOf } from "../../src/sdk/batch.ts";
import { must } from "../support/gate.ts";

const read = (body: unknown) => readBatch(utf8(typeof body === "string" ? body : JSON.stringify(body)));
const go = { message: "go" };
const many = Array.from({ length: BATCH_REFERENCES_MAX / 2 + 1 }, () => ({ $ref: "$0" }));
const referring = (text: unknown) => [go, { message: "go", args: { a: { $ref: text } } }];

/** The arguments with each reference as its text in angle brackets. */
function shown(value: Json, references: ReadonlyMap<Json, Reference>): Json {
  const reference = references.get(value);
  if (reference !== undefined) return `<${reference.text}>`;
  if (Array.isArray(value)) return value.map((element: Json) => shown(element, references));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shown(member, references)]));
}

describe("a batch", () => {
  test("is an array of messages with their arguments, none where they are left out", () => {
    const requests = must(read([{ message: "open", args: { owner: "Ada" } }, { message: "close" }]));
    expect(requests.map(({ message, args }) => [message, args])).toEqual([
      ["open", { owner: "Ada" }],
      ["close", {}],
    ]);
  });

  test.each<[string, unknown, object]>([
    ["no JSON", "[{]", { code: "malformed_request" }],
    ["an object", go, { code: "malformed_request" }],
    ["nothing", [], { code: "malformed_request" }],
    ["something else than calls", [go, "go"], { code: "malformed_request", facts: { call: 1 } }],
    ["a call without a message", [{ args: {} }], { code: "malformed_request", facts: { call: 0 } }],
    ["a message that is no text", [{ message: 1 }], { code: "malformed_request", facts: { call: 0 } }],
    ["a message that is no name", [go, { message: "Go!" }], { code: "no_such_message", facts: { call: 1 } }],
    ["an unknown member", [{ ...go, id: 1 }], { code: "malformed_request", facts: { call: 0 } }],
    ["too many calls", Array.from({ length: BATCH_CALLS_MAX + 1 }, () => go), { code: "too_large" }],
    [
      "too many references",
      [go, { message: "go", args: many }, { message: "go", args: many }],
      { code: "too_large", facts: { call: 2 } },
    ],
  ])("with %s is refused", (_, body, refusal) => {
    expect(read(body)).toMatchObject(refusal);
  });

  test("of as many calls as may be is taken", () => {
    expect(read(Array.from({ length: BATCH_CALLS_MAX }, () => go))).toHaveLength(BATCH_CALLS_MAX);
  });
});

describe("a reference", () => {
  test.each<[string, readonly (string | number)[]]>([
    ["$0", []],
    ["$0.balance", ["balance"]],
    ["$0.a.b_2._c", ["a", "b_2", "_c"]],
    ["$0[0][12].x", [0, 12, "x"]],
    ['$0["a b"]["$0.x"]["]"]', ["a b", "$0.x", "]"]],
    ['$0["\\"\\\\\\u00fc"]', ['"\\ü']],
    ['$0[""]', [""]],
    ["$0.grüße", ["grüße"]],
  ])("%s is a path", (text, path) => {
    const [, second] = must(read(referring(text)));
    expect([...(second?.references.values() ?? [])]).toEqual([{ text, call: 0, path, at: "/a" }]);
  });

  test.each([
    "",
    "$",
    "0.a",
    "$0.",
    "$0..a",
    "$0.1",
    "$0.a-b",
    "$0a",
    "$0 .a",
    "$0.a ",
    "$00",
    "$01.a",
    "$-1",
    "$0[a]",
    "$0[-1]",
    "$0[01]",
    "$0[*]",
    "$0['a']",
    '$0["a]',
    '$0["\\x"]',
    "$0[0",
    "$.a",
    "$0.a\n",
    "$99999999",
    7,
    null,
    { $ref: "$0" },
  ])("%j is none, and is refused with its place", (text) => {
    expect(read(referring(text))).toMatchObject({
      code: "malformed_request",
      facts: { call: 1, path: "/a" },
    });
  });

  test("points back only", () => {
    for (const [index, text] of [
      [0, "$0"],
      [1, "$1.a"],
      [1, "$2"],
    ] as const) {
      const batch = [0, 1, 2].map((i) => ({ message: "go", args: i === index ? [{ $ref: text }] : {} }));
      expect(read(batch)).toMatchObject({ code: "malformed_request", facts: { call: index, path: "/0" } });
    }
  });

  test("has nothing beside it; other names with $ are reserved, and its own are written with one more", () => {
    const inCall = (args: unknown) => read([go, { message: "go", args }]);
    expect(inCall({ "a/b": [{ $ref: "$0", more: 1 }] })).toMatchObject({ facts: { path: "/a~1b/0" } });
    expect(inCall({ a: { $own: 0 } })).toMatchObject({
      code: "malformed_request",
      facts: { path: "/a/$own" },
    });
    const [, second] = must(inCall({ $$ref: "$0", $$$x: 1, a$: 2, b: "$0.balance" }));
    expect(second?.args).toEqual({ $ref: "$0", $$x: 1, a$: 2, b: "$0.balance" });
    expect(second?.references.size).toBe(0);
  });

  test("may stand for all arguments", () => {
    const [, second] = must(read([go, { message: "go", args: { $ref: "$0.next" } }]));
    expect([...(second?.references.values() ?? [])]).toMatchObject([{ path: ["next"], at: "" }]);
  });
});

describe("what the SDK writes", () => {
  const name = fc.oneof(
    fc.constantFrom("$ref", "$$ref", "$", "$x", "a", "$0", "ref"),
    fc.string({ maxLength: 3 }),
  );
  /** Those that no document can have are aside: `__proto__`, and what needs an escape. */
  const named = name.filter((text) => text !== "__proto__" && JSON.stringify(text) === `"${text}"`);
  const { literal } = fc.letrec<{ literal: Json }>((tie) => ({
    literal: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom("$0", "$0.a", "$ref", "", "x"),
      fc.constantFrom(null, true, 0, -1.5),
      fc.array(tie("literal"), { maxLength: 3 }),
      fc.dictionary(named, tie("literal"), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));

  test("is read back as it was given, whatever names and strings are in it", () => {
    fc.assert(
      fc.property(fc.array(literal, { minLength: 1, maxLength: 4 }), (all) => {
        const calls: BatchCall[] = all.map((args) => ({ message: "go", args }));
        const requests = must(readBatch(utf8(batchBody(calls))));
        expect(requests.map(({ args }) => args)).toEqual(all);
        expect(requests.filter(({ references }) => references.size > 0)).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });

  test("has references where they were put, to what was meant", () => {
    const anyPath = fc.array(fc.oneof(fc.nat(20), fc.string({ unit: "binary", maxLength: 4 })), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(fc.nat(2), anyPath, literal, (call, path, beside) => {
        const reference = resultOf(call, ...path);
        const args: BatchValue = { a: [beside, reference], $b: reference };
        const body = batchBody([
          { message: "go" },
          { message: "go" },
          { message: "go" },
          { message: "go", args },
        ]);
        // A lone surrogate is no JSON text, in a name either.
        if (!body.isWellFormed() || path.some((step) => typeof step === "string" && !step.isWellFormed()))
          return;
        const last = must(readBatch(utf8(body)))[3];
        const found = [...(last?.references.values() ?? [])];
        expect(found).toMatchObject([
          { call, path, at: "/a/1" },
          { call, path, at: "/$$b" },
        ]);
        const text = `<${reference.text}>`;
        expect(shown(last?.args ?? null, last?.references ?? new Map())).toEqual({
          a: [beside, text],
          $b: text,
        });
      }),
      { numRuns: 2000 },
    );
  });
});
