import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConditionFacts, readCondition } from "../../src/authorize/when.ts";
import type { Json } from "../../src/json.ts";
import { WHEN_DEPTH_MAX, WHEN_LENGTH_MAX, WHEN_WORK_MAX } from "../../src/limits.ts";

const NOW_MS = Date.parse("2030-06-03T12:30:00Z"); // a Monday

function unmet(text: string, given: Partial<ConditionFacts> = {}): string | undefined {
  const condition = readCondition(text);
  if ("reason" in condition) throw new Error(condition.reason);
  return condition.unmet({
    args: {},
    actor: { type: "account", id: "alice" },
    message: "deposit",
    now_ms: NOW_MS,
    client: { key: "a1".repeat(32), ip: "192.0.2.7" },
    ...given,
  });
}

const reasonOf = (text: string): string | undefined => {
  const condition = readCondition(text);
  return "reason" in condition ? condition.reason : undefined;
};
const holds = (text: string, args: Json = {}): boolean => unmet(text, { args }) === undefined;
const NO = "its condition does not hold";

describe("what a condition looks at", () => {
  test.each<[string, Json]>([
    ["args.amount <= 100", { amount: 100 }],
    ["args.amount <= 100.5", { amount: 100 }],
    ["args.amount > 0.25 && args.amount < 1", { amount: 0.5 }],
    ["args.amount == 100.0", { amount: 100 }],
    ["args.amount % 10 == 0", { amount: 50 }],
    ["args.amount * 2 + 1 == 101", { amount: 50 }],
    ["args.amount == 9007199254740991", { amount: Number.MAX_SAFE_INTEGER }],
    ["args.amount == 1e300", { amount: 1e300 }],
    ["args.to.startsWith('DE') && size(args.to) == 4", { to: "DE12" }],
    ["args.note.contains('ünï')", { note: "x ünï y" }],
    ["args['odd name'] == null", { "odd name": null }],
    ["has(args.note) ? args.note == 'x' : true", {}],
    ["!has(args.constructor) && !has(args.__proto__)", {}],
    ["args.tags.all(t, t in ['a', 'b'])", { tags: ["a", "b", "a"] }],
    [
      "args.items.exists(i, i.price > 5) && args.items.map(i, i.price)[0] == 1",
      { items: [{ price: 1 }, { price: 9 }] },
    ],
    ["args.items.filter(i, i.ok).size() == 1", { items: [{ ok: true }, { ok: false }] }],
    ["args.limits.all(k, args.limits[k] < 5)", { limits: { a: 1, b: 4 } }],
    ["args[1] == 'second'", ["first", "second"]],
    ["args == 'text'", "text"],
    ["args == {'a': [1, 2.5]}", { a: [1, 2.5] }],
    ["actor.type == 'account' && actor.id in ['alice', 'bob']", {}],
    ["message == 'deposit' || args.amount < 5", {}],
    ["client.ip == '192.0.2.7' && client.key.startsWith('a1')", {}],
    ["now >= timestamp('2030-06-03T12:30:00Z') && now < timestamp('2030-06-03T12:30:01Z')", {}],
    ["now.getDayOfWeek() == 1 && now.getHours() >= 9 && now.getHours() < 17", {}],
    ["now.getHours('Europe/Berlin') == 14", {}],
    ["now - duration('30m') == timestamp('2030-06-03T12:00:00Z')", {}],
    ["int(args.n) == 5 && string(5) == '5' && type(args.n) == string", { n: "5" }],
  ])("%s", (text, args) => {
    expect(unmet(text, { args })).toBeUndefined();
  });

  test("only what it names is told to be needed", () => {
    const variablesOf = (text: string) => {
      const condition = readCondition(text);
      return "reason" in condition ? condition.reason : [...condition.variables].toSorted();
    };
    expect(variablesOf("true")).toEqual([]);
    expect(variablesOf("args.a.exists(x, x == message)")).toEqual(["args", "message"]);
    expect(variablesOf("now < timestamp('2030-01-01T00:00:00Z') || actor.id == client.ip")).toEqual([
      "actor",
      "client",
      "now",
    ]);
  });
});

describe("fails closed", () => {
  test.each<[string, Json]>([
    ["args.amount <= 100", { amount: 101 }],
    ["args.amount <= 100", { amount: 100.001 }],
    ["args.tags.all(t, t in ['a', 'b'])", { tags: ["a", "c"] }],
    ["false", {}],
  ])("%s does not hold for %j", (text, args) => {
    expect(unmet(text, { args })).toBe(NO);
  });

  test.each<[string, Json]>([
    ["args.amount <= 100", {}],
    ["args.amount <= 100", { amount: "5" }],
    ["args.amount <= 100", { amount: null }],
    ["!(args.amount > 100)", { amount: [1] }],
    ["args.amount <= 100", []],
    ["args.amount <= 100", null],
    ["args.amount + 1 == 2", { amount: 1.5 }],
    ["args.a / args.b == 0", { a: 1, b: 0 }],
    ["args.a + 9223372036854775807 > 0", { a: 1 }],
    ["-args.a == 9223372036854775807", { a: "x" }],
    ["args.items[5] == 1", { items: [1] }],
    ["args.items.map(i, i.price) == []", { items: [{}] }],
    ["int(args.n) == 5", { n: "five" }],
    ["timestamp(args.t) < now", { t: "yesterday" }],
    ["now.getHours(args.zone) == 1", { zone: "Nowhere/Land" }],
    ["args.a || args.b", { a: "x", b: "y" }],
    ["args.a ? true : true", { a: 1 }],
  ])("%s cannot be decided for %j", (text, args) => {
    expect(unmet(text, { args })).toMatch(/^its condition cannot be decided: \S/);
  });

  test.each(["1", "'true'", "null", "[true]", "args", "now", "{}", "type(true)"])(
    "%s is no answer",
    (text) => {
      expect(unmet(text)).toBe("its condition is neither true nor false");
    },
  );

  test("an address that is not known is not there", () => {
    const client = { key: "a1".repeat(32) };
    expect(unmet("client.ip != '192.0.2.8'", { client })).toMatch(/cannot be decided/);
    expect(unmet("!has(client.ip)", { client })).toBeUndefined();
  });

  test("CEL's or admits where one side does, whatever the other is; that is what its author wrote", () => {
    expect(holds("args.missing == 1 || true")).toBe(true);
    expect(holds("args.missing == 1 && false")).toBe(false);
    expect(holds("args.missing == 1 || false")).toBe(false);
  });
});

describe("what is no condition says why", () => {
  test.each([
    ["", /^its condition is not CEL: /],
    ["args.amount <=", /^its condition is not CEL: column \d+: /],
    ["args.amount <= 100 or true", /^its condition is not CEL: column 20: /],
    ["args.a = 1", /^its condition is not CEL: column 8: /],
    ["arg.amount <= 1", /^its condition names arg; it may name args, actor, message, now, client$/],
    ["request.auth == 1", /^its condition names request/],
    ["args.items.all(i, j > 1)", /^its condition names j/],
    ["i > 1 && args.items.all(i, true)", /^its condition names i/],
    ["args.name.matches('(a+)+$')", /^its condition calls matches, which a condition may not$/],
    ["matches(args.name, 'a')", /calls matches/],
    ["cel.bind(x, args.s + args.s, x == '')", /calls bind/],
    ["args.s.format([1])", /calls format/],
    ["args.items.map(args, args)", /gives another meaning to args/],
    ["google.protobuf.Duration{seconds: 1} == null", /makes a google.protobuf.Duration/],
    ["@result == 1", /is not CEL/],
    ["args.all(k, v, v > 1)", /^its condition /],
  ])("%s", (text, reason) => {
    expect(reasonOf(text)).toMatch(reason);
  });

  test("whatever the text is, it is read or told, and nothing throws", () => {
    const fragments = fc.constantFrom(
      "args",
      ".x",
      "[",
      "]",
      "(",
      ")",
      "{",
      "}",
      "1",
      "'a'",
      " + ",
      "&&",
      "!",
      "?",
      ":",
      ",",
      ".all(x, ",
      "x",
      "\\",
      "\n",
      "\0",
      "é",
      "🔑",
      "in",
      "//",
      "'''",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.array(fragments).map((parts) => parts.join("")),
        ),
        (text) => {
          const condition = readCondition(text);
          expect(["string", "undefined"]).toContain(typeof ("reason" in condition ? "" : unmet(text)));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("bounds", () => {
  test("of its text", () => {
    const long = (length: number) => `'${"a".repeat(length - 8)}' != ''`.slice(0, length);
    expect(reasonOf(long(WHEN_LENGTH_MAX))).toBeUndefined();
    expect(reasonOf(`${long(WHEN_LENGTH_MAX)} `)).toContain("longer than");
  });

  test("of its nesting, brackets in texts included", () => {
    const nested = (depth: number) => `${"(".repeat(depth)}true${")".repeat(depth)}`;
    expect(reasonOf(nested(WHEN_DEPTH_MAX))).toBeUndefined();
    expect(reasonOf(nested(WHEN_DEPTH_MAX + 1))).toContain("nested deeper");
    expect(reasonOf("[".repeat(WHEN_LENGTH_MAX))).toContain("nested deeper");
    expect(reasonOf(`'${"(".repeat(WHEN_DEPTH_MAX + 1)}' == ''`)).toContain("nested deeper");
  });

  test("of its work on these arguments; what it names may be large where it only looks at a part", () => {
    const list = (length: number): Json => ({ n: 1, items: Array.from({ length }, (_, i) => i) });
    expect(holds("args.items.all(i, i >= 0)", list(100))).toBe(true);
    expect(unmet("args.items.all(i, i >= 0)", { args: list(WHEN_WORK_MAX * 5) })).toMatch(
      /may take \d+ steps/,
    );
    expect(holds("args.n == 1 && args.items[7] == 7", list(50_000))).toBe(true);
    expect(holds("args.items.all(i, args.items.exists(j, i == j))", list(10))).toBe(true);
    expect(unmet("args.items.all(i, args.items.exists(j, i == j))", { args: list(100) })).toContain("steps");
    expect(unmet("(args.items + args.items + args.items).map(i, i) == []", { args: list(100) })).toContain(
      "steps",
    );
    expect(unmet("args.items == args.items", { args: list(1000) })).toContain("steps");
  });

  test("of texts: looking for one long text in another takes their product", () => {
    const text = (length: number) => "a".repeat(length);
    expect(holds("args.s.contains('needle') || true", { s: text(100_000) })).toBe(true);
    const args = { s: text(100_000), t: `b${text(50_000)}` };
    expect(unmet("args.s.contains(args.t)", { args })).toContain("steps");
    expect(unmet("args.s.contains(args.t.contains('x') ? 'x' : args.t)", { args })).toContain("steps");
  });

  test("a step is at least an element that is looked at, whatever the nesting", () => {
    fc.assert(
      fc.property(fc.nat({ max: 60 }), fc.nat({ max: 60 }), (a, b) => {
        const args = { a: Array.from({ length: a }, () => 0), b: Array.from({ length: b }, () => 0) };
        const text = "args.a.all(x, args.b.all(y, x == y))";
        const refused = unmet(text, { args })?.includes("steps") === true;
        // Each pair is a comparison and three names, which are half a step.
        const [must, may] = [a * b > 2 * WHEN_WORK_MAX, a * b + a + b > WHEN_WORK_MAX / 8];
        expect([must, may]).toContain(refused);
      }),
    );
  });
});

test("law 2: a condition only ever prohibits, and is a function of what it is asked about", () => {
  const anyArgs = fc.jsonValue({ maxDepth: 3 }).map((value) => value as Json);
  const texts = fc.constantFrom(
    "args.a == 1",
    "args.size() > 1",
    "args.exists(x, x == 1)",
    "type(args) == int",
  );
  fc.assert(
    fc.property(texts, anyArgs, (text, args) => {
      expect(unmet(text, { args })).toEqual(unmet(text, { args }));
    }),
  );
});
