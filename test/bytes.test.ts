import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  concat,
  equalConstantTime,
  fromAnyBase64,
  fromBase64url,
  fromHex,
  fromUtf8,
  toBase64url,
  toHex,
  utf8,
} from "../src/bytes.ts";

const anyBytes = fc.uint8Array({ maxLength: 70 });

describe.each([
  { name: "hex", encode: toHex, decode: fromHex, node: "hex" },
  { name: "base64url", encode: toBase64url, decode: fromBase64url, node: "base64url" },
] as const)("$name", ({ encode, decode, node }) => {
  test("is what Node writes, and is read back", () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        expect(encode(bytes)).toBe(Buffer.from(bytes).toString(node));
        expect(decode(encode(bytes))).toEqual(bytes);
      }),
    );
  });

  test("has one text for each byte string: whatever else is read, is read from no other text", () => {
    const anyNearText = fc.string({ unit: fc.constantFrom(..."aAfFgwz09-_+/= \n"), maxLength: 9 });
    fc.assert(
      fc.property(anyNearText, (text) => {
        const bytes = decode(text);
        expect([undefined, text]).toContain(bytes && encode(bytes));
      }),
      { numRuns: 5000 },
    );
  });

  test("characters beyond ASCII are refused, also those whose low byte would do", () => {
    for (const text of ["aé", "aＡ", "a\u0161", "\u0141\u0141", "\u{10061}", "ab\0\0"])
      expect(decode(text)).toBeUndefined();
  });
});

describe("hex", () => {
  test.each(["0", "abc", "AB", "0x", " 0", "0 ", "g0", "0g", "-1", "+1"])("%j is refused", (text) => {
    expect(fromHex(text)).toBeUndefined();
  });
});

describe("base64url", () => {
  test.each(["A", "AAAAA", "AA==", "AA=", "A+AA", "A/AA", "AA\n", " AAA", "AAA.", "AB", "AAB", "A-_"])(
    "%j is refused",
    (text) => {
      expect(fromBase64url(text)).toBeUndefined();
    },
  );
});

describe("base64 of either alphabet", () => {
  test("is read padded or not", () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const padded = Buffer.from(bytes).toString("base64");
        const urlPadded = padded.replaceAll("+", "-").replaceAll("/", "_");
        for (const text of [padded, padded.replace(/=+$/, ""), urlPadded, toBase64url(bytes)])
          expect(fromAnyBase64(text)).toEqual(bytes);
      }),
    );
  });

  test.each([
    "A",
    "=",
    "==",
    "====",
    "A===",
    "AA=",
    "AAA==",
    "AAAA=",
    "AAAA====",
    "AA=A",
    "AB==",
    "A+_A",
    "A-/A",
    "AA\n",
  ])("%j is refused", (text) => {
    expect(fromAnyBase64(text)).toBeUndefined();
  });
});

describe("UTF-8", () => {
  test("is what the platform writes, and is read back as it was, its byte order mark too", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(utf8(text)).toEqual(new Uint8Array(Buffer.from(text)));
        expect(fromUtf8(utf8(text))).toBe(text);
      }),
    );
    expect(fromUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe("\ufeffa");
  });

  test.each([
    ["a lone continuation", [0x80]],
    ["a cut sequence", [0xe2, 0x82]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["a surrogate pair in six bytes", [0xed, 0xa0, 0xbd, 0xed, 0xb4, 0x91]],
    ["past U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["0xff", [0xff]],
  ])("%s is refused, and the next text is read as ever", (_, bytes) => {
    expect(fromUtf8(Uint8Array.from(bytes))).toBeUndefined();
    expect(fromUtf8(utf8("é"))).toBe("é");
  });
});

test("parts are joined in order", () => {
  fc.assert(
    fc.property(fc.array(anyBytes, { maxLength: 5 }), (parts) => {
      expect(concat(...parts)).toEqual(new Uint8Array(Buffer.concat(parts)));
    }),
  );
});

test("equal means the same bytes", () => {
  fc.assert(
    fc.property(anyBytes, anyBytes, fc.nat(), (a, b, at) => {
      expect(equalConstantTime(a, b)).toBe(toHex(a) === toHex(b));
      expect(equalConstantTime(a, a.slice())).toBe(true);
      if (a.length === 0) return;
      const near = a.with(at % a.length, ((a[at % a.length] ?? 0) + 1) % 256);
      expect(equalConstantTime(a, near)).toBe(false);
      expect(equalConstantTime(a, a.subarray(1))).toBe(false);
    }),
  );
});
