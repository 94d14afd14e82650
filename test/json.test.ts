import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../src/bytes.ts";
import { isRefusal } from "../src/errors.ts";
import { isJsonObject, type Json, parseJson } from "../src/json.ts";
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from "../src/limits.ts";
import { outcome, refused, taken } from "./token/outcome.ts";

const parse = (text: string) => parseJson(utf8(text));
const valueOf = (text: string): Json => taken(parse(text)).value;
const reason = (text: string): string => {
  const refusal = refused(parse(text));
  expect(refusal.code).toBe("malformed_request");
  return refusal.detail;
};

/** Documents of the kind that calls carry: no integers past 2^53 - 1, no member `__proto__`. */
const anyNumber = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ noDefaultInfinity: true, noNaN: true, min: -1e15, max: 1e15 }),
  fc.double({ noDefaultInfinity: true, noNaN: true, min: 1e21 }),
);
const anyText = fc.string({ unit: "binary", maxLength: 10 });
/** One that needs no escape. */
const anyName = anyText.filter((name) => name !== "__proto__" && JSON.stringify(name) === `"${name}"`);
const anyJson: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false),
    anyText,
    anyNumber,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(anyName, tie("value"), { maxKeys: 5 }),
  ),
})).value;

describe("a document is read as JSON.parse reads it", () => {
  test("for every value and every way to lay it out", () => {
    fc.assert(
      fc.property(anyJson, fc.constantFrom(0, 1, "\t", "\r\n "), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(valueOf(text)).toEqual(JSON.parse(text));
      }),
      { numRuns: 1000 },
    );
  });

  test("or refused where JSON.parse refuses", () => {
    const anyScrap = fc.string({ unit: fc.constantFrom(...'{}[]":,\\u01.e-+ntf \n'), maxLength: 12 });
    fc.assert(
      fc.property(anyScrap, (text) => {
        fc.pre(!/\\.*:/.test(text)); // A name with an escape may be refused.
        let expected: unknown;
        try {
          expected = { value: JSON.parse(text) as unknown };
        } catch {
          expected = undefined;
        }
        const parsed = parse(text);
        if (expected === undefined) expect(outcome(parsed)).toBe("malformed_request");
        else expect([true, expected]).toContainEqual(isRefusal(parsed) || parsed);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    "",
    " ",
    "{",
    "]",
    "[1,]",
    "{,}",
    '{"a"}',
    "'a'",
    "NaN",
    "Infinity",
    "undefined",
    "01",
    "+1",
    ".5",
    "1.",
    "-",
    "1-2",
    "0x10",
    "1_000",
    "[1]]",
    '"a',
    '"\\x41"',
    '"a\nb"',
    "//a\n1",
    "1 2",
    "\ufeff1",
    "\u00a01",
    "nul",
    "]".repeat(100) + "[".repeat(100),
  ])("%j is no document", (text) => {
    expect(outcome(parse(text))).toBe("malformed_request");
  });
});

describe("what was accepted once is accepted again", () => {
  test("as the same value, after JSON.stringify", () => {
    const anyLiteral = fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/);
    fc.assert(
      fc.property(anyLiteral, (literal) => {
        const parsed = parse(literal);
        if (isRefusal(parsed)) return;
        expect(valueOf(JSON.stringify(parsed.value))).toBe(Number(literal) + 0);
      }),
      { numRuns: 5000 },
    );
  });
});

describe("no name stands for two values", () => {
  test.each([
    '{"a":1,"a":1}',
    '{"a":1,"a":2}',
    '{"a":1,"b":2,"a":3}',
    '{"a":1,"\\u0061":2}',
    '{"\\u0061":1,"a":2}',
    '{"":1,"":2}',
    '{"1":1,"1":2}',
    '{"/":1,"\\/":2}',
    '[{"x":{"a":1,"a":2}}]',
    '{"a":{"b":1},"a":{"b":1}}',
    '{"a":1,"a":1,"c":":"}',
  ])("%s is refused", (text) => {
    expect(reason(text)).toContain("two members of one name");
  });

  test.each(['{"a":{"a":1},"b":{"a":1}}', '{"a":"a:a","b":":"}', '{"é":1,"e\u0301":2}'])(
    "%s is not: the names differ, or the objects do",
    (text) => {
      expect(valueOf(text)).toEqual(JSON.parse(text));
    },
  );

  test("one name twice is found in any object", () => {
    fc.assert(
      fc.property(fc.dictionary(anyName, anyJson, { minKeys: 1, maxKeys: 5 }), anyJson, (object, value) => {
        const [name] = Object.keys(object);
        const text = JSON.stringify(object).replace(
          /\}$/,
          `,${JSON.stringify(name)}:${JSON.stringify(value)}}`,
        );
        expect(outcome(parse(text))).toBe("malformed_request");
      }),
    );
  });
});

describe("a name is what it says, whatever was parsed before", () => {
  const PRIMER = '{"only here":1,"a\\\\":1}';
  const ESCAPED = '{"only here":1,"a\\u0062":1}';

  test("also where V8 takes it for another", () => {
    // An engine that does not, once, needs none of this.
    for (let i = 0; i < 5; i++) JSON.parse(PRIMER);
    expect(Object.keys(JSON.parse(ESCAPED))).toContain("a\\");
    expect(valueOf(ESCAPED)).toEqual({ "only here": 1, ab: 1 });
    expect(valueOf('{"\\/" \t:"\\\\","b":"\\""}')).toEqual({ "/": "\\", b: '"' });
  });

  test.each([
    '{"a\\"":1}',
    '{"\\\\":1}',
    '{"a\\n":1}',
    '{"\\u001f":1}',
    '[{"x":[{"\\"" : 1}]}]',
    '{"a\\q":1}',
  ])("%s is refused", (text) => {
    expect(reason(text)).toContain("a name with a quote, a backslash");
  });
});

describe("no name reaches a prototype", () => {
  test.each([
    '{"__proto__":1}',
    '{"__proto__":null}',
    '{"\\u005f_proto__":{"isAdmin":true}}',
    '[[{"a":{"__proto__":{}}}]]',
  ])("%s is refused", (text) => {
    expect(reason(text)).toContain("__proto__");
  });

  test("names of Object.prototype are names like others", () => {
    const text = '{"constructor":1,"toString":{"hasOwnProperty":2},"prototype":3}';
    const value = valueOf(text);
    expect(JSON.stringify(value)).toBe(text);
    expect(isJsonObject(value) && Object.hasOwn(value, "valueOf")).toBe(false);
  });
});

describe("no number is changed silently", () => {
  test.each([
    ["0", 0],
    ["-0", -0],
    ["-0.0", -0],
    ["0e999999999999", 0],
    ["9007199254740991", 9007199254740991],
    ["-9007199254740991", -9007199254740991],
    ["9007199254740991.0", 9007199254740991],
    ["9007199254740991000e-3", 9007199254740991],
    ["1E3", 1000],
    ["1.10", 1.1],
    ["100e-2", 1],
    ["0.1", 0.1],
    ["19.99", 19.99],
    ["0.30000000000000004", 0.30000000000000004],
    ["3.141592653589793", Math.PI],
    ["6.02214076e23", 6.02214076e23],
    ["5e-324", 5e-324],
    ["1.7976931348623157E+308", Number.MAX_VALUE],
    [`0.${"0".repeat(300)}1`, 1e-301],
    [`1.${"0".repeat(300)}`, 1],
  ])("%s is kept", (literal, value) => {
    expect(valueOf(literal)).toBe(value);
    expect(valueOf(`{"a":[${literal}]}`)).toEqual({ a: [value] });
  });

  test.each([
    ["an integer past 2^53 - 1", "9007199254740992"],
    ["and below -(2^53 - 1)", "-9007199254740992"],
    ["one that a double would round", "9007199254740993"],
    ["the same with a point", "9007199254740993.0"],
    ["the same with an exponent", "9007199254740993e0"],
    ["the same, shifted", "900719925474099300e-2"],
    ["a round one, written out", "100000000000000000"],
    ["the same number with an exponent", "1e17"],
    ["one that JSON.stringify would not write out", "1000000000000000000000"],
    ["a long one", "1".repeat(400)],
    ["an amount with cents past a double", "12345678901234567.89"],
    ["more digits than a double keeps", "0.1234567890123456789"],
    ["a number next to 1", "1.00000000000000001"],
    ["a number past the range", "1e999"],
    ["the same in capitals", "-1E400"],
    ["the first past the range", "1.7976931348623159e308"],
    ["a number that would become 0", "1e-400"],
    ["one that would become the smallest", "4.9e-324"],
    ["an exponent beyond all", "1e99999999999999999999"],
    ["and below all", "1e-99999999999999999999"],
  ])("%s is refused: %s", (_, literal) => {
    for (const text of [literal, `[${literal}]`, `{"amount":${literal}}`])
      expect(reason(text)).toContain("number");
  });

  test("digits in a text are no number", () => {
    expect(valueOf('{"9007199254740993":"1e999"}')).toEqual({ "9007199254740993": "1e999" });
  });

  test("a number of a million digits is judged without much ado", () => {
    for (const literal of [
      "0".repeat(1e6) + "1",
      `0.${"0".repeat(1e6)}1`,
      `1.${"0".repeat(1e6)}1`,
      "9".repeat(1e6),
    ])
      expect(outcome(parse(literal))).toBe("malformed_request");
  });
});

describe("only Unicode text", () => {
  test.each([
    ["a lone continuation", [0x80]],
    ["a cut sequence", [0xc3]],
    ["an overlong quote", [0xc0, 0xa2]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["0xff", [0xff]],
  ])("%s is refused", (_, bytes) => {
    const quote = utf8('"');
    expect(refused(parseJson(concat(quote, Uint8Array.from(bytes), quote))).detail).toContain("UTF-8");
  });

  test.each(['"\\ud800"', '"\\udc00\\ud800"', '["a\\uDFFFb"]', '{"\\ud800":1}', '{"a":{"b":"\\udead"}}'])(
    "the lone surrogate in %s is refused",
    (text) => {
      expect(reason(text)).toContain("lone surrogate");
    },
  );

  test("a pair of surrogates is a character", () => {
    expect(valueOf('"\\ud83d\\ude00"')).toBe("😀");
  });

  test("UTF-16 and a byte order mark are refused", () => {
    for (const bytes of [
      [0xfe, 0xff, 0, 0x31],
      [0x31, 0],
      [0xef, 0xbb, 0xbf, 0x31],
    ])
      expect(outcome(parseJson(Uint8Array.from(bytes)))).toBe("malformed_request");
  });
});

describe("bounds", () => {
  const nested = (depth: number, open: string, close: string) =>
    open.repeat(depth) + "1" + close.repeat(depth);

  test("depth", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
      ['[{"a":', "}]"],
    ] as const) {
      const levels = open.length > 5 ? 2 : 1;
      expect(outcome(parse(nested(JSON_DEPTH_MAX / levels, open, close)))).toBe("taken");
      expect(reason(nested(JSON_DEPTH_MAX / levels + 1, open, close))).toContain("nested deeper");
    }
    expect(reason("[".repeat(1_000_000))).toContain("nested deeper");
  });

  test("brackets in a text nest nothing", () => {
    const text = JSON.stringify("[{".repeat(1000) + '"\\"[');
    expect(valueOf(text)).toBe(JSON.parse(text));
  });

  test("values", () => {
    const list = (count: number) => `[${Array.from({ length: count }, () => "1").join()}]`;
    expect(outcome(parse(list(JSON_VALUES_MAX)))).toBe("taken");
    expect(reason(list(JSON_VALUES_MAX + 1))).toContain("values");
    expect(reason(`[${"[],".repeat(JSON_VALUES_MAX)}1]`)).toContain("values");
  });
});
