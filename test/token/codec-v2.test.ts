import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, TOKEN_BYTES_MAX } from "../../src/limits.ts";
import { decodeV2, encodeV2 } from "../../src/token/codec-v2.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { anyMacaroon, mint } from "./arbitrary.ts";
import { outcome, refused } from "./outcome.ts";

const byte = (...values: number[]) => Uint8Array.from(values);
/** A field with its length in one byte. */
const field = (type: number, value: Uint8Array) => concat(byte(type, value.length), value);
const EOS = byte(0);
const [IDENTIFIER, CID, VID, LOCATION] = [2, 2, 4, 1].map((type) => field(type, utf8("abc")));
const SIGNATURE = field(6, new Uint8Array(32));
type Part = Uint8Array | undefined;
const read = (...parts: Part[]) => decodeV2(concat(byte(2), ...parts.filter((part) => part !== undefined)));

describe("round trip", () => {
  test("what is encoded is decoded as it was", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        expect(decodeV2(encodeV2(macaroon))).toEqual(macaroon);
      }),
      { numRuns: 1000 },
    );
  });

  test("fields of 128 bytes and more have lengths of two and three bytes", () => {
    for (const length of [0, 127, 128, 300, 16_000]) {
      const macaroon: Macaroon = { ...mint(), identifier: new Uint8Array(length).fill(7) };
      expect(decodeV2(encodeV2(macaroon))).toEqual(macaroon);
    }
  });

  test("the layout is libmacaroons' v2", () => {
    const macaroon: Macaroon = {
      location: "abc",
      identifier: utf8("abc"),
      unsafeCaveats: [{ cid: utf8("abc") }, { location: "abc", cid: utf8("abc"), vid: utf8("abc") }],
      signature: new Uint8Array(32),
    };
    const parts = [LOCATION, IDENTIFIER, EOS, CID, EOS, LOCATION, CID, VID, EOS, EOS, SIGNATURE];
    expect(read(...parts)).toEqual(macaroon);
  });
});

describe("strictness", () => {
  test("every truncation is refused", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        const bytes = encodeV2(macaroon);
        for (let length = 0; length < bytes.length; length++)
          expect(outcome(decodeV2(bytes.subarray(0, length)))).toBe("token_malformed");
      }),
      { numRuns: 30 },
    );
  });

  test("trailing bytes are refused", () => {
    fc.assert(
      fc.property(anyMacaroon, fc.uint8Array({ minLength: 1, maxLength: 5 }), (macaroon, tail) => {
        expect(outcome(decodeV2(concat(encodeV2(macaroon), tail)))).toBe("token_malformed");
      }),
    );
  });

  test("garbage is refused or read as what it encodes, and never throws", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (garbage, isMarked) => {
        const bytes = isMarked ? concat(byte(2), garbage) : garbage;
        const macaroon = decodeV2(bytes);
        expect(isRefusal(macaroon) || encodeV2(macaroon).length <= bytes.length).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["as it should be", [IDENTIFIER, EOS, CID, EOS, EOS, SIGNATURE], "taken"],
    ["a length of two bytes where one will do", [byte(2, 0x83, 0), utf8("abc"), EOS, EOS, SIGNATURE]],
    ["a length of three bytes where one will do", [byte(2, 0x83, 0x80, 0), utf8("abc"), EOS, EOS, SIGNATURE]],
    ["a length of zero in two bytes", [byte(2, 0x80, 0), EOS, EOS, SIGNATURE]],
    ["a length of four bytes", [byte(2, 0x83, 0x80, 0x80, 0), utf8("abc"), EOS, EOS, SIGNATURE]],
    ["a length past the end", [byte(2, 0xff, 0xff, 0x7f), utf8("abc"), EOS, EOS, SIGNATURE]],
    [
      "a signature's length not in its shortest form",
      [IDENTIFIER, EOS, EOS, byte(6, 0xa0, 0), new Uint8Array(32)],
    ],
    ["no identifier", [EOS, EOS, SIGNATURE]],
    ["two identifiers", [IDENTIFIER, IDENTIFIER, EOS, EOS, SIGNATURE]],
    ["a location after the identifier", [IDENTIFIER, LOCATION, EOS, EOS, SIGNATURE]],
    ["two locations", [LOCATION, LOCATION, IDENTIFIER, EOS, EOS, SIGNATURE]],
    ["a vid of the macaroon itself", [IDENTIFIER, VID, EOS, EOS, SIGNATURE]],
    ["a vid before its cid", [IDENTIFIER, EOS, VID, CID, EOS, EOS, SIGNATURE]],
    ["two vids", [IDENTIFIER, EOS, CID, VID, VID, EOS, EOS, SIGNATURE]],
    ["a vid without a cid", [IDENTIFIER, EOS, VID, EOS, EOS, SIGNATURE]],
    ["a field of unknown type", [IDENTIFIER, field(3, utf8("abc")), EOS, EOS, SIGNATURE]],
    ["no end of the header", [IDENTIFIER, SIGNATURE]],
    ["no end of the caveats", [IDENTIFIER, EOS, SIGNATURE]],
    ["no signature", [IDENTIFIER, EOS, EOS]],
    ["a signature of 31 bytes", [IDENTIFIER, EOS, EOS, field(6, new Uint8Array(31))]],
    ["a signature of 33 bytes", [IDENTIFIER, EOS, EOS, field(6, new Uint8Array(33))]],
    ["a location that is not UTF-8", [field(1, byte(0xff)), IDENTIFIER, EOS, EOS, SIGNATURE]],
    [
      "a caveat's location that is not UTF-8",
      [IDENTIFIER, EOS, field(1, byte(0xff)), CID, EOS, EOS, SIGNATURE],
    ],
  ] as [string, Part[], string?][])("%s", (_, parts, expected = "token_malformed") => {
    expect(outcome(read(...parts))).toBe(expected);
  });

  test("only version 2 is read", () => {
    for (const version of [0, 1, 3, 0x82]) {
      const bytes = encodeV2(mint());
      bytes[0] = version;
      expect(outcome(decodeV2(bytes))).toBe("token_malformed");
    }
  });
});

describe("bounds", () => {
  const withCaveats = (count: number, length = 1): Macaroon => ({
    ...mint(),
    unsafeCaveats: Array.from({ length: count }, () => ({ cid: new Uint8Array(length) })),
  });

  test("caveats", () => {
    expect(outcome(decodeV2(encodeV2(withCaveats(CAVEATS_MAX))))).toBe("taken");
    const refusal = refused(decodeV2(encodeV2(withCaveats(CAVEATS_MAX + 1))));
    expect(refusal.detail).toContain(`more than ${CAVEATS_MAX} caveats`);
  });

  test("bytes of one caveat", () => {
    expect(outcome(decodeV2(encodeV2(withCaveats(1, CAVEAT_BYTES_MAX))))).toBe("taken");
    const refusal = refused(decodeV2(encodeV2(withCaveats(1, CAVEAT_BYTES_MAX + 1))));
    expect(refusal.detail).toContain(`more than ${CAVEAT_BYTES_MAX} bytes`);
  });

  test("bytes of the token", () => {
    const frame = encodeV2({ ...mint(), identifier: new Uint8Array(1000) }).length - 1000 + 1; // length in 3 bytes
    const full = { ...mint(), identifier: new Uint8Array(TOKEN_BYTES_MAX - frame) };
    const length = encodeV2(full).length;
    expect(length).toBeLessThanOrEqual(TOKEN_BYTES_MAX);
    expect(outcome(decodeV2(encodeV2(full)))).toBe("taken");
    const over = { ...full, identifier: new Uint8Array(full.identifier.length + 2) };
    expect(outcome(decodeV2(encodeV2(over)))).toBe("token_malformed");
  });
});
