import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { bip340, bip340Signer, holderKey, taggedHash } from "../../src/signature/bip340.ts";
import { flipBit } from "../token/arbitrary.ts";

/** The official vectors: https://github.com/bitcoin/bips/blob/master/bip-0340/test-vectors.csv */
const VECTORS = readFileSync(new URL("../vectors/bip340.csv", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => {
    const [
      index = "",
      secretKey = "",
      publicKey = "",
      random = "",
      message = "",
      signature = "",
      result,
      comment,
    ] = line.toLowerCase().split(",");
    return { index, secretKey, publicKey, random, message, signature, isValid: result === "true", comment };
  });

function bytes(hex: string): Uint8Array {
  const decoded = fromHex(hex);
  if (decoded === undefined) throw new Error(`no hex: ${hex}`);
  return decoded;
}

describe("the official vectors", () => {
  test("are all there", () => {
    expect(VECTORS.map(({ index }) => Number(index))).toEqual(
      Array.from({ length: 19 }, (_, index) => index),
    );
  });

  // 15 to 18 have messages of other lengths than 32 bytes, which Postern never signs; BIP-340 says what holds.
  test.each(VECTORS)("$index verifies: $isValid ($comment)", ({ publicKey, message, signature, isValid }) => {
    expect(bip340.verify(publicKey, bytes(message), bytes(signature))).toBe(isValid);
  });

  test.each(VECTORS.filter(({ secretKey }) => secretKey !== ""))(
    "$index is signed the same",
    ({ secretKey, publicKey, random, message, signature }) => {
      const signer = bip340Signer(new Secret(bytes(secretKey)), () => bytes(random));
      expect(signer.publicKey).toBe(publicKey);
      expect(toHex(signer.sign(bytes(message)))).toBe(signature);
    },
  );
});

const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((key) => holderKey(key) !== undefined);
const anyMessage = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("a signature", () => {
  test("verifies for its key and message, and for nothing one bit away", () => {
    fc.assert(
      fc.property(anyKey, anyMessage, fc.nat(), (key, message, bit) => {
        const { publicKey, sign } = bip340Signer(new Secret(key), () => new Uint8Array(32));
        const signature = sign(message);
        expect(bip340.verify(publicKey, message, signature)).toBe(true);
        expect(bip340.verify(publicKey, message, flipBit(signature, bit))).toBe(false);
        expect(bip340.verify(publicKey, flipBit(message, bit), signature)).toBe(false);
        expect(bip340.verify(toHex(flipBit(bytes(publicKey), bit)), message, signature)).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("no bit of one signature can be turned over", () => {
    const { publicKey, sign } = bip340Signer(
      new Secret(new Uint8Array(32).fill(1)),
      () => new Uint8Array(32),
    );
    const message = new Uint8Array(32).fill(2);
    const signature = sign(message);
    for (let bit = 0; bit < 512; bit += 3)
      expect(bip340.verify(publicKey, message, flipBit(signature, bit))).toBe(false);
  });

  test("takes fresh randomness each time it is made", () => {
    let calls = 0;
    const signer = bip340Signer(new Secret(new Uint8Array(32).fill(1)), () =>
      new Uint8Array(32).fill(++calls),
    );
    const message = new Uint8Array(32);
    expect(signer.sign(message)).not.toEqual(signer.sign(message));
    expect(calls).toBe(2);
  });
});

test("a key that is no lower-case hex verifies nothing", () => {
  const { publicKey, sign } = bip340Signer(new Secret(new Uint8Array(32).fill(1)), () => new Uint8Array(32));
  const message = new Uint8Array(32);
  expect(bip340.verify(publicKey.toUpperCase(), message, sign(message))).toBe(false);
});

describe("a holder's key", () => {
  const ORDER = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

  test.each([
    ["1", "1".padStart(64, "0"), true],
    ["the order less one", ORDER.replace(/1$/, "0"), true],
    ["0", "0".repeat(64), false],
    ["the order", ORDER, false],
    ["past the order", "f".repeat(64), false],
    ["31 bytes", "01".repeat(31), false],
    ["33 bytes", "01".repeat(33), false],
    ["no bytes", "", false],
  ])("%s", (_, hex, isKey) => {
    expect(holderKey(bytes(hex))?.expose()).toEqual(isKey ? bytes(hex) : undefined);
  });
});

test("a tagged hash is SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ text)", () => {
  fc.assert(
    fc.property(fc.string(), fc.string({ unit: "binary" }), (tag, text) => {
      const tagHash = createHash("sha256").update(utf8(tag)).digest();
      const expected = createHash("sha256").update(tagHash).update(tagHash).update(utf8(text)).digest("hex");
      expect(toHex(taggedHash(tag, utf8(text)))).toBe(expected);
    }),
  );
});
