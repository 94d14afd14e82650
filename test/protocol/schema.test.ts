/** Compiled schemas: what is refused and where, bounds of a check, and agreement with Ajv on random schemas. */
import { Ajv2020 } from "ajv/dist/2020.js";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { Json } from "../../src/json.ts";
import { JSON_DEPTH_MAX, SCHEMA_CHAIN_MAX, SCHEMA_VALUES_MAX } from "../../src/limits.ts";
import { compileSchema, type Violation } from "../../src/protocol/schema.ts";

function check(schema: Json, value: Json): Violation | undefined {
  const compiled = compileSchema(schema);
  if (typeof compiled === "string") throw new Error(compiled);
  return compiled(value);
}

/** Written out, an object with a member `then` would be taken for a mistake. */
function conditional(...schemas: readonly [Json, Json, Json]): Record<string, Json> {
  return Object.fromEntries(["if", "then", "else"].map((name, i) => [name, schemas[i] ?? true]));
}

/** `depth` times `wrap`, from the inside out. */
function nested(depth: number, inner: Json, wrap: (inner: Json) => Json): Json {
  let value = inner;
  for (let i = 0; i < depth; i++) value = wrap(value);
  return value;
}

describe("what is refused", () => {
  test.each<[string, Json, RegExp | string]>([
    ["an unknown keyword", { properties: { a: { typ: "x" } } }, 'at /properties/a: unknown keyword "typ"'],
    ["a pattern", { items: { pattern: "a+" } }, /^at \/items: pattern is not supported: a backtracking/],
    ["a pattern of names", { patternProperties: {} }, /^patternProperties is not supported/],
    ["a format", { format: "date" }, /^format is not supported: it only describes/],
    ["an encoding", { contentEncoding: "base64" }, /^contentEncoding is not supported/],
    ["what is left over", { unevaluatedProperties: false }, /^unevaluatedProperties .*additionalProperties/],
    ["a dynamic reference", { $dynamicRef: "#a" }, /^\$dynamicRef is not supported/],
    ["a keyword of an older draft", { definitions: {} }, 'unknown keyword "definitions"'],
    ["an older draft", { $schema: "http://json-schema.org/draft-07/schema#" }, /^\$schema must be https/],
    ["items as a list", { items: [{}] }, "at /items: a schema must be a mapping, true or false"],
    ["a document inside", { $defs: { a: { $id: "x" } } }, /^at \/\$defs\/a: \$id may only stand at the/],
    ["a type twice", { type: ["string", "string"] }, /^type must be one or a list of null, boolean/],
    ["no type", { type: [] }, /^type must be one/],
    ["no alternative", { anyOf: [] }, "anyOf must be a list of schemas that is not empty"],
    ["no value", { enum: [] }, "enum must be a list of values that is not empty"],
    ["a name twice", { required: ["a", "a"] }, "required must be a list of different names"],
    ["half a length", { maxLength: 1.5 }, "maxLength must be a whole number from 0"],
    ["a length below 0", { minItems: -1 }, "minItems must be a whole number from 0"],
    ["a multiple of 0", { multipleOf: 0 }, "multipleOf must be a number above 0"],
    ["a bound that is text", { minimum: "1" }, "minimum must be a number"],
    ["then without if", JSON.parse('{"then":{}}') as Json, "then means nothing without if"],
    ["a schema that is none", { properties: { a: 1 } }, /^at \/properties\/a: a schema must be/],
    ["a name with a slash", { properties: { "a/b~": { typ: 1 } } }, /^at \/properties\/a~1b~0: /],
    ["a reference outside", { $ref: "other.json" }, /^\$ref must begin with #/],
    ["a reference to nothing", { $ref: "#/$defs/a" }, /"#\/\$defs\/a" leads to no schema of this document/],
    ["a reference to no schema", { const: { a: {} }, $ref: "#/const/a" }, /leads to no schema/],
    ["a broken reference", { $ref: "#%zz" }, /leads to no schema/],
    ["an anchor twice", { $defs: { a: { $anchor: "x" }, b: { $anchor: "x" } } }, /two anchors x/],
    ["a number that JSON has not", { const: [Number.NaN] }, "it holds a number that JSON has not"],
    ["what is no JSON", { const: undefined } as unknown as Json, /no JSON value/],
  ])("%s", (_, schema, expected) => {
    expect(compileSchema(schema)).toMatch(expected);
  });

  test.each<[string, Json]>([
    ["at once", { $ref: "#" }],
    ["through another", { $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }],
    ["through anyOf", { anyOf: [{ type: "null" }, { not: { $ref: "#" } }] }],
    ["through a condition", conditional(true, { $ref: "#" }, true)],
    ["through a dependency", { dependentSchemas: { a: { $ref: "#" } } }],
  ])("a schema that refers to itself without end, %s", (_, schema) => {
    expect(compileSchema(schema)).toMatch(/refers to itself without end/);
  });

  test("more of anything than a check could bear", () => {
    const chain = (length: number): Json => nested(length - 1, {}, (inner) => ({ allOf: [inner] }));
    expect(compileSchema(chain(SCHEMA_CHAIN_MAX))).toBeTypeOf("function");
    expect(compileSchema(chain(SCHEMA_CHAIN_MAX + 1))).toMatch(/more than \d+ schemas inside each other/);
    const deep = (depth: number): Json => nested(depth, {}, (inner) => ({ items: inner }));
    expect(compileSchema(deep(JSON_DEPTH_MAX))).toBeTypeOf("function");
    expect(compileSchema(deep(JSON_DEPTH_MAX + 1))).toMatch(/nested deeper/);
    const wide = (count: number): Json => ({ enum: Array.from({ length: count }, (_, i) => i) });
    expect(compileSchema(wide(SCHEMA_VALUES_MAX - 2))).toBeTypeOf("function");
    expect(compileSchema(wide(SCHEMA_VALUES_MAX - 1))).toMatch(/more than \d+ values/);
    expect(compileSchema({ const: "x".repeat(32 * SCHEMA_VALUES_MAX) })).toMatch(/more than \d+ values/);
  });

  test("a chain of references is followed no deeper than it may be", () => {
    const names = Array.from({ length: 2500 }, (_, i) => `d${i}`);
    const $defs = Object.fromEntries(names.map((name, i) => [name, { $ref: `#/$defs/d${(i + 1) % 2500}` }]));
    expect(compileSchema({ $defs })).toEqual(expect.any(String));
  });
});

describe("a violation", () => {
  const tree: Json = {
    type: "object",
    properties: { name: { type: "string" }, children: { type: "array", items: { $ref: "#" } } },
    required: ["name"],
    additionalProperties: false,
  };

  test.each<[string, Json, Json, Violation | undefined]>([
    ["in a recursive value", tree, { name: "a", children: [{ name: "b" }, {}] }, at("/children/1", "name")],
    [
      "under a name that a pointer escapes",
      { additionalProperties: { type: "null" } },
      { "a/~": 1 },
      at("/a~1~0", "null"),
    ],
    [
      "in the alternative that came furthest",
      { anyOf: [{ type: "null" }, tree] },
      { name: 1 },
      at("/name", "string"),
    ],
    [
      "in the one that came furthest",
      { oneOf: [tree, { type: "null" }] },
      { name: 1 },
      at("/name", "string"),
    ],
    ["of two that both match", { oneOf: [true, {}] }, 1, at("", "matches several")],
    ["in a tuple", { prefixItems: [true, { type: "null" }] }, [1, 2], at("/1", "null")],
    ["past a tuple", { prefixItems: [true], items: false }, [1, 2], at("/1", "false")],
    [
      "of a name",
      { propertyNames: { maxLength: 2 } },
      { abc: 1 },
      at("", '"abc": it must NOT have more than 2'),
    ],
    ["of a pair", { uniqueItems: true }, [{ a: 1, b: 2 }, 0, { b: 2, a: 1 }], at("", "as 0 and 2 are")],
    ["of a dependency", { dependentRequired: { a: ["b"] } }, { a: 1 }, at("", "'b' when property 'a'")],
    ["of several types", { type: ["null", "string"] }, 1, at("", "must be null or string")],
    [
      "of a caller's long name is cut",
      { additionalProperties: false },
      { ["x".repeat(99)]: 1 },
      at("", /: "x{64}…"$/),
    ],
  ])("%s", (_, schema, value, expected) => {
    expect(check(schema, value)).toEqual(expected);
  });

  function at(path: string, reason: string | RegExp): Violation {
    return {
      path,
      reason: expect.stringMatching(typeof reason === "string" ? escape(reason) : reason) as string,
    };
  }

  function escape(text: string): RegExp {
    return new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  }
});

describe("values", () => {
  test.each([
    [19.99, 0.01, true],
    [19.995, 0.01, false],
    [0.3, 0.1, true],
    [1e21, 1e20, true],
    [1e300, 3, false],
    [5e-324, 5e-324, true],
    [-7.5, 2.5, true],
    [7, 2, false],
  ])("%d as a multiple of %d: %s, as the decimals are", (value, multipleOf, expected) => {
    expect(check({ multipleOf }, value) === undefined).toBe(expected);
  });

  test("a length counts code points", () => {
    expect(check({ minLength: 2, maxLength: 2 }, "😀😀")).toBeUndefined();
    expect(check({ minLength: 3 }, "😀😀")).toBeDefined();
    expect(check({ maxLength: 1 }, "😀😀")).toBeDefined();
  });

  test("names of Object.prototype are names like others, with and without other members", () => {
    for (const additionalProperties of [true, false]) {
      const schema = { properties: { toString: { type: "string" } }, additionalProperties } as const;
      expect(check(schema, {})).toBeUndefined();
      expect(check(schema, { toString: 5 })).toEqual({ path: "/toString", reason: "must be string" });
    }
    expect(check({ additionalProperties: false }, { constructor: 1 })).toBeDefined();
    expect(check({ additionalProperties: { type: "null" } }, { constructor: 1 })).toBeDefined();
    expect(check({ dependentRequired: { constructor: ["a"] } }, {})).toBeUndefined();
  });

  test("a reference into a schema that is still being compiled is the whole of it", () => {
    const inner = { properties: { d: { $ref: "#/$defs/S" } }, type: "object" };
    const schema = {
      properties: { a: { $ref: "#/$defs/S/properties/c" } },
      $defs: { S: { properties: { c: inner } } },
    };
    expect(check(schema, { a: { d: { c: 5 } } })).toEqual({ path: "/a/d/c", reason: "must be object" });
  });
});

describe("the work of one check", () => {
  const BUSY = { path: "", reason: "takes too many steps to check" };
  const doubling = (count: number, leaf: Json): Json => ({
    $ref: `#/$defs/d${count}`,
    $defs: {
      d0: leaf,
      ...Object.fromEntries(
        Array.from({ length: count }, (_, i) => {
          const inner = { items: { $ref: `#/$defs/d${i}` } };
          return [`d${i + 1}`, { anyOf: [inner, { ...inner, minItems: 0 }] }];
        }),
      ),
    },
  });

  test("doubling at each level of the value", () => {
    const value = (depth: number): Json => nested(depth, 5, (inner) => [inner]);
    expect(check(doubling(10, { type: "null" }), value(10))?.reason).toBe("must be null");
    expect(check(doubling(40, { type: "null" }), value(40))).toEqual(BUSY);
  });

  test("many ways through references, all at one value", () => {
    const ways = (i: number): Json => ({
      anyOf: Array.from({ length: 12 }, () => ({ $ref: `#/$defs/d${i}` })),
    });
    const levels = Array.from({ length: 7 }, (_, i) => [`d${i}`, i < 6 ? ways(i + 1) : { type: "null" }]);
    const schema = { $defs: Object.fromEntries(levels) as Json, $ref: "#/$defs/d0" };
    expect(check(schema, 5)).toEqual(BUSY);
    expect(check(schema, null)).toBeUndefined();
  });

  test("doubling under `not`, which would turn failure into success", () => {
    const value = nested(40, 5, (inner) => [inner]);
    const { $defs, $ref } = doubling(40, { type: "null" }) as { $defs: Json; $ref: Json };
    expect(check({ $defs, not: { $ref } }, value)).toEqual(BUSY);
    expect(check({ $defs, if: { $ref }, else: true }, value)).toEqual(BUSY);
  });

  const many = Array.from({ length: 50_000 }, (_, i) => i);
  const wide = Object.fromEntries(many.map((i) => [`n${i}`, i]));
  const times = (count: number, schema: Json): Json => ({
    anyOf: Array.from({ length: count }, () => ({ allOf: [schema, false] })),
  });
  test.each<[string, Json, Json]>([
    ["items", { items: { minimum: -1 } }, many],
    ["contained items", { contains: { const: -1 } }, many],
    ["equal items", { uniqueItems: true }, many],
    ["other members", { additionalProperties: { minimum: -1 } }, wide],
    ["names", { propertyNames: { minLength: 1 } }, wide],
    ["counts", { maxProperties: 1 }, wide],
    ["no others", { additionalProperties: false }, wide],
    ["equality", { const: {} }, wide],
    ["text", { minLength: 700_000 }, "x".repeat(699_999).padEnd(1_000_000, "😀")],
    ["division", { items: { multipleOf: 5e-324 } }, many.map((i) => i + 0.5)],
  ])("repeating %s", (_, schema, value) => {
    expect(check(times(1000, schema), value)).toEqual(BUSY);
  });

  test("is enough for the largest document and an ordinary schema", () => {
    const row = {
      type: "object",
      properties: { a: { type: "integer" }, b: { maxLength: 9 } },
      required: ["a"],
    };
    const rows = Array.from({ length: 33_000 }, (_, a) => ({ a, b: "text" }));
    expect(check({ type: "array", items: row }, rows)).toBeUndefined();
  });

  test("nests no deeper than the stack, at the bounds of value and schema", () => {
    // The root, or the schema of the items, is one link of the chain, and what stands under `not` is the last.
    const length = SCHEMA_CHAIN_MAX - 2;
    const links = Array.from({ length }, (_, i) => [
      `d${i + 1}`,
      i + 1 < length
        ? { type: ["array", "null"], minItems: 0, not: false, $ref: `#/$defs/d${i + 2}` }
        : { type: ["array", "null"], minItems: 0, not: false, items: { $ref: "#/$defs/d1" } },
    ]);
    const schema = { $defs: Object.fromEntries(links) as Json, $ref: "#/$defs/d1" };
    expect(
      check(
        schema,
        nested(JSON_DEPTH_MAX - 1, [null], (inner) => [inner]),
      ),
    ).toBeUndefined();
    expect(
      check(
        schema,
        nested(JSON_DEPTH_MAX - 1, [5], (inner) => [inner]),
      )?.path,
    ).toHaveLength(2 * JSON_DEPTH_MAX);
  });

  test("one check's work is not another's", () => {
    const compiled = compileSchema({
      allOf: Array.from({ length: 1000 }, () => ({ items: { minimum: -1 } })),
    });
    if (typeof compiled === "string") throw new Error(compiled);
    expect(compiled(many)).toEqual(BUSY);
    expect(compiled([-1])).toBeUndefined();
  });
});

describe("agreement with Ajv", () => {
  const leaf = fc.oneof(
    fc.constantFrom<Json>(null, true, false, 0, 1, 2, -1, 1.5, "", "a", "ab", "😀"),
    fc.constantFrom<Json>([], {}, [1], [1, 1], { a: 1 }, { a: "a", b: 2 }),
  );
  const names = fc.constantFrom("a", "b", "c", "toLocaleString");
  const { value } = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(names, tie("value"), { noNullPrototype: true }),
    ),
  }));
  const count = fc.integer({ min: 0, max: 3 });
  const bound = fc.constantFrom(-1, 0, 1, 1.5, 2);
  const nameList = fc.uniqueArray(names, { maxLength: 2 });
  const { schema } = fc.letrec<{ schema: Json; object: Json }>((tie) => {
    const list = fc.array(tie("schema"), { minLength: 1, maxLength: 3 });
    const named = fc.dictionary(names, tie("schema"), { maxKeys: 3, noNullPrototype: true });
    const types = fc.constantFrom("null", "boolean", "number", "integer", "string", "array", "object");
    const keywords = {
      type: fc.oneof(types, fc.uniqueArray(types, { minLength: 1, maxLength: 3 })),
      const: leaf,
      enum: fc.array(leaf, { minLength: 1, maxLength: 3 }),
      minimum: bound,
      maximum: bound,
      exclusiveMinimum: bound,
      exclusiveMaximum: bound,
      multipleOf: fc.constantFrom(1, 2, 0.5),
      minLength: count,
      maxLength: count,
      minItems: count,
      maxItems: count,
      uniqueItems: fc.boolean(),
      items: tie("schema"),
      prefixItems: list,
      contains: tie("schema"),
      minProperties: count,
      maxProperties: count,
      required: nameList,
      properties: named,
      additionalProperties: tie("schema"),
      propertyNames: tie("schema"),
      dependentRequired: fc.dictionary(names, nameList, { maxKeys: 2, noNullPrototype: true }),
      dependentSchemas: named,
      allOf: list,
      anyOf: list,
      oneOf: list,
      not: tie("schema"),
      if: tie("schema"),
      // Into a part of the value, so that it ends.
      $ref: fc.constant("#/$defs/member"),
    };
    const object = fc.oneof(
      fc.record(keywords, { requiredKeys: [] }).map((all) => {
        // All keywords at once admit nothing: a few of them say more.
        const kept = Object.entries(all).filter(
          ([name], i) => (name.length * 7 + i * 13 + Object.keys(all).length) % 4 === 0,
        );
        const few = Object.fromEntries(kept);
        // Beside `prefixItems`, Ajv 8.20 finds what `contains` asks for in an empty array.
        if ("contains" in few) delete few["prefixItems"];
        return few;
      }),
      fc
        .tuple(tie("schema"), tie("schema"), tie("schema"), tie("schema"), count, count)
        .map(
          ([a, b, c, contains, min, max]): Json =>
            Object.assign(conditional(a, b, c), { contains, minContains: min, maxContains: max }),
        ),
    );
    return { object, schema: fc.oneof({ maxDepth: 3 }, fc.boolean(), object) };
  });

  const RUNS = 4_000;
  it(`on ${RUNS} random schemas and values`, () => {
    const ajv = new Ajv2020({ strict: false, ownProperties: true, validateSchema: false, logger: false });
    let admitted = 0;
    let refused = 0;
    fc.assert(
      fc.property(schema, schema, fc.array(value, { minLength: 4, maxLength: 4 }), (root, member, values) => {
        const whole: Json = {
          allOf: [root],
          $defs: { member: { properties: { a: member }, items: { type: ["integer", "array"] } } },
        };
        const ours = compileSchema(whole);
        const theirs = compiledBy(ajv, whole);
        if (theirs === undefined) return;
        if (typeof ours === "string") return expect(ours).toMatch(/without end|inside each other/);
        for (const each of values) {
          const ok = ours(each) === undefined;
          const verdict = theirs(each);
          if (verdict === undefined) continue;
          expect([each, ok]).toEqual([each, verdict]);
          if (ok) admitted++;
          else refused++;
        }
      }),
      { numRuns: RUNS / 4 },
    );
    expect(Math.min(admitted, refused)).toBeGreaterThan(RUNS / 10);
  });

  /** Where Ajv's generated code does not compile, or throws, it says nothing about ours. */
  function compiledBy(ajv: Ajv2020, whole: Json): ((value: Json) => boolean | undefined) | undefined {
    const attempt = <T>(work: () => T): T | undefined => {
      try {
        return work();
      } catch {
        return undefined;
      }
    };
    const validate = attempt(() => ajv.compile<Json>(whole as object));
    return validate && ((each) => attempt(() => validate(each)));
  }
});
