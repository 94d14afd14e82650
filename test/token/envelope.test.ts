import { crc32 as zlibCrc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBase64url, toBase64url, utf8 } from "../../src/bytes.ts";
import { crc32 } from "../../src/crc32.ts";
import { DISCHARGES_MAX, TOKEN_BYTES_MAX } from "../../src/limits.ts";
import { encodeJson } from "../../src/token/codec-json.ts";
import { encodeV1 } from "../../src/token/codec-v1.ts";
import { encodeV2 } from "../../src/token/codec-v2.ts";
import { decodeToken, decodeTokens, encodeToken } from "../../src/token/envelope.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { anyMacaroon, flipBit, mint, replaceAt } from "./arbitrary.ts";
import { outcome, refused, taken } from "./outcome.ts";

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const unpadded = (text: string) => text.replace(/=+$/, "");

describe("pst_", () => {
  test("what is encoded is decoded as it was", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        const text = encodeToken(macaroon);
        expect(text).toMatch(/^pst_[A-Za-z0-9_-]+$/);
        expect(decodeToken(text)).toEqual(macaroon);
      }),
    );
  });

  test("is the v2 binary and its CRC-32, big-endian", () => {
    const token = mint(["a = 1"]);
    const bytes = fromBase64url(encodeToken(token).slice(4)) ?? new Uint8Array();
    expect(bytes.subarray(0, -4)).toEqual(encodeV2(token));
    expect(Buffer.from(bytes).readUInt32BE(bytes.length - 4)).toBe(zlibCrc32(encodeV2(token)));
  });

  test("wherever it is cut behind its prefix, it is truncated, not invalid", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        const text = encodeToken(macaroon);
        for (let length = "pst_".length; length < text.length; length++)
          expect(outcome(decodeToken(text.slice(0, length)))).toBe("token_truncated");
      }),
      { numRuns: 50 },
    );
  });

  test("one wrong character, and it is truncated", () => {
    const text = encodeToken(mint(["actor = account/alice"]));
    for (let at = "pst_".length; at < text.length; at++) {
      const damaged = replaceAt(text, at, text[at] === "A" ? "B" : "A");
      expect(outcome(decodeToken(damaged))).toBe("token_truncated");
    }
  });

  test("one bit turned over, and it is truncated", () => {
    const bytes = fromBase64url(encodeToken(mint(["actor = account/alice"])).slice(4)) ?? new Uint8Array();
    for (let bit = 0; bit < bytes.length * 8; bit++)
      expect(outcome(decodeToken(`pst_${toBase64url(flipBit(bytes, bit))}`))).toBe("token_truncated");
  });

  test("an intact checksum over no macaroon is malformed", () => {
    const bytes = Uint8Array.of(9, 9, 9, 9);
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(zlibCrc32(bytes));
    expect(outcome(decodeToken(`pst_${toBase64url(Buffer.concat([bytes, crc]))}`))).toBe("token_malformed");
  });

  test("has one spelling: no padding and no base64 of the other alphabet", () => {
    for (const macaroon of fc.sample(anyMacaroon, 40)) {
      const text = encodeToken(macaroon);
      const other = text.slice(4).replaceAll("-", "+").replaceAll("_", "/");
      const wrong = [`${text}=`, `${text}==`, ...(other === text.slice(4) ? [] : [`pst_${other}`])];
      for (const spelling of wrong) expect(outcome(decodeToken(spelling))).toBe("token_truncated");
    }
  });
});

describe("malformed", () => {
  const text = encodeToken(mint());

  test.each(["", " ", "pst", "pst-AAAA", "PST_AAAA", "Macaroon pst_AAAA", "hello", "null", "{}", "===="])(
    "%j",
    (garbage) => {
      expect(outcome(decodeToken(garbage))).toBe("token_malformed");
    },
  );

  test.each([" ", "\n", "%", ".", "é", "\0", "\u{1f511}", '"', "=A"])("with %j in it", (foreign) => {
    for (const at of [0, 4, 20, text.length])
      expect(outcome(decodeToken(text.slice(0, at) + foreign + text.slice(at)))).toBe("token_malformed");
  });

  test("several tokens are told apart from a damaged one", () => {
    for (const several of [`${text},${text}`, `${text},`, `,${text}`])
      expect(refused(decodeToken(several))).toMatchObject({
        code: "token_malformed",
        detail: expect.stringContaining("several tokens") as string,
      });
  });

  test("too long, in whatever format", () => {
    const length = Math.ceil((TOKEN_BYTES_MAX * 4) / 3) + 20;
    for (const prefix of ["pst_", "Ag", "MDAx"])
      expect(outcome(decodeToken(prefix + "A".repeat(length)))).toBe("token_malformed");
  });
});

describe("bare tokens of other libraries", () => {
  test("v2 in base64 and base64url, padded or not", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        const bytes = encodeV2(macaroon);
        const padded = base64(bytes);
        const urlPadded = padded.replaceAll("+", "-").replaceAll("/", "_");
        for (const text of [padded, unpadded(padded), urlPadded, toBase64url(bytes)])
          expect(decodeToken(text)).toEqual(macaroon);
      }),
    );
  });

  test("v1 packets and v2 JSON, in base64 and base64url", () => {
    const macaroon = mint(["actor = account/alice", "message in a,b"]);
    for (const bytes of [taken(encodeV1(macaroon)), utf8(encodeJson(macaroon))])
      for (const text of [base64(bytes), unpadded(base64(bytes)), toBase64url(bytes)])
        expect(decodeToken(text)).toEqual(macaroon);
  });

  test("v2 JSON as it stands", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        expect(decodeToken(encodeJson(macaroon))).toEqual(macaroon);
      }),
    );
  });

  test("cut or changed, they are malformed or another claim, and nothing throws", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9_-]{0,80}$/),
        fc.constantFrom("", "Ag", "MDAx", "eyJp"),
        (text, start) => {
          expect(["taken", "token_malformed"]).toContain(outcome(decodeToken(start + text)));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("several tokens", () => {
  const formats = [
    encodeToken,
    (macaroon: Macaroon) => encodeJson(macaroon),
    (macaroon: Macaroon) => base64(encodeV2(macaroon)),
    (macaroon: Macaroon) => toBase64url(taken(encodeV1(macaroon))),
  ];
  const anyFormat = fc.constantFrom(...formats);

  test("in any format, one beside the other", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyMacaroon, anyFormat), { minLength: 1, maxLength: 6 }), (tokens) => {
        const text = tokens.map(([macaroon, encode]) => encode(macaroon)).join(",");
        expect(decodeTokens(text)).toEqual(tokens.map(([macaroon]) => macaroon));
      }),
    );
  });

  test("which one cannot be read is told", () => {
    const text = encodeToken(mint());
    for (const [several, code, token] of [
      [`${text},`, "token_malformed", 1],
      [`,${text}`, "token_malformed", 0],
      [`${text},,${text}`, "token_malformed", 1],
      [`${text}, ${text}`, "token_malformed", 1],
      [`${text},${text.slice(0, -1)}`, "token_truncated", 1],
      [`${text},{"i":"a`, "token_malformed", 1],
      [`${text},{"i":"a\\`, "token_malformed", 1],
      [`{{,${text}`, "token_malformed", 0],
      [`}},${text}`, "token_malformed", 0],
    ] as const)
      expect(refused(decodeTokens(several))).toMatchObject({ code, facts: { token } });
  });

  test("there is a bound", () => {
    const text = encodeToken(mint());
    const many = (count: number) => Array.from({ length: count }, () => text).join(",");
    expect(outcome(decodeTokens(many(1 + DISCHARGES_MAX)))).toBe("taken");
    expect(outcome(decodeTokens(many(2 + DISCHARGES_MAX)))).toBe("token_malformed");
    expect(outcome(decodeTokens("A".repeat(1_000_000)))).toBe("token_malformed");
    expect(outcome(decodeTokens(",".repeat(1_000_000)))).toBe("token_malformed");
  });
});

test("the checksum is zlib's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(crc32(bytes)).toBe(zlibCrc32(bytes));
    }),
  );
});
