/** Known keys are verified by another way of computing the same: the verdict is noble's, whatever the input is. */
import { readFileSync } from "node:fs";
import { schnorr } from "@noble/curves/secp256k1.js";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, toHex } from "../../src/bytes.ts";
import { KEY_BYTES, KEY_TABLE_BYTES } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { bip340, bip340Signer } from "../../src/signature/bip340.ts";
import { KnownKeys } from "../../src/signature/known-keys.ts";
import { combination, ONE_ROW, Table } from "../../src/signature/secp256k1.ts";
import { flipBit } from "../token/arbitrary.ts";

const { Point } = schnorr;
const ORDER = Point.Fn.ORDER;
const PRIME = Point.Fp.ORDER;

const to32 = (value: bigint): Uint8Array => fromHex(value.toString(16).padStart(64, "0")) ?? new Uint8Array();
const from32 = (bytes: Uint8Array): bigint => BigInt(`0x${toHex(bytes)}`);

const signerOf = (secret: bigint) => bip340Signer(new Secret(to32(secret)), () => new Uint8Array(32));
const MESSAGE = new Uint8Array(32).fill(5);

/** Scalars of every size, and those next to where sums of points meet or vanish. */
const anyScalar = fc.oneof(
  fc.bigInt({ min: 1n, max: ORDER - 1n }),
  fc.bigInt({ min: 1n, max: 40n }),
  fc.bigInt({ min: 1n, max: 40n }).map((less) => ORDER - less),
  fc.integer({ min: 0, max: 255 }).map((bit) => 2n ** BigInt(bit)),
);

/** A verifier that knows the key of this secret by its table. */
function knowing(secret: bigint): KnownKeys {
  const known = new KnownKeys();
  const { publicKey, sign } = signerOf(secret);
  for (let time = 0; time < 2; time++) expect(known.verify(publicKey, MESSAGE, sign(MESSAGE))).toBe(true);
  expect(known.hasTable(publicKey)).toBe(true);
  return known;
}

describe("sums of multiples", () => {
  test("are noble's, for any point and scalars, with tables of any form", () => {
    const anyForm = fc.constantFrom([5, 4], [4, 1], [5, 1], [6, 3], [8, 2], [2, 7]) as fc.Arbitrary<
      [number, number]
    >;
    const zeroToo = fc.oneof({ weight: 9, arbitrary: anyScalar }, fc.constant(0n));
    fc.assert(
      fc.property(anyScalar, zeroToo, zeroToo, anyForm, (secret, g, k, [bits, blocks]) => {
        const point = Point.BASE.multiplyUnsafe(secret);
        const expected = Point.BASE.multiplyUnsafe(g).add(point.multiplyUnsafe(k));
        const sum = combination(g, new Table(point.toAffine(), { bits, blocks }), k);
        expect(sum).toEqual(expected.is0() ? undefined : expected.toAffine());
      }),
      { numRuns: 60 },
    );
  });

  test("that vanish are at infinity", () => {
    fc.assert(
      fc.property(anyScalar, anyScalar, (secret, k) => {
        const table = new Table(Point.BASE.multiplyUnsafe(secret).toAffine(), ONE_ROW);
        expect(combination(Point.Fn.neg(Point.Fn.mul(secret, k)), table, k)).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });
});

describe("the verdict", () => {
  const [heading, ...rows] = readFileSync(new URL("../vectors/bip340.csv", import.meta.url), "utf8")
    .trim()
    .split("\n");
  const vectors = rows.map((row) => row.toLowerCase().split(","));

  test("is that of the official vectors", () => {
    expect(heading?.split(",").slice(4, 7)).toEqual(["message", "signature", "verification result"]);
    const known = new KnownKeys();
    // Twice over all, so that every key that has a valid one among them has its table in the third round.
    for (let round = 0; round < 3; round++) {
      for (const [, , publicKey = "", , message = "", signature = "", result] of vectors) {
        const verdict = known.verify(publicKey, fromHex(message) ?? MESSAGE, fromHex(signature) ?? MESSAGE);
        expect(verdict).toBe(result === "true");
      }
    }
    const withTable = vectors.filter(([, , publicKey = ""]) => known.hasTable(publicKey));
    expect(withTable.filter(([, , , , , , result]) => result === "false").length).toBeGreaterThanOrEqual(8);
  });

  /** Signatures, and what an adversary makes of them. */
  const CHANGES: Readonly<Record<string, (signature: Uint8Array, at: number) => Uint8Array>> = {
    none: (signature) => signature,
    bit: flipBit,
    negatedS: (signature) => concat(signature.subarray(0, 32), to32(ORDER - from32(signature.subarray(32)))),
    largeS: (signature, at) => concat(signature.subarray(0, 32), to32(ORDER + BigInt(at % 99))),
    smallS: (signature, at) => concat(signature.subarray(0, 32), to32(BigInt(at % 3))),
    largeR: (signature, at) => concat(to32(PRIME + BigInt(at % 99)), signature.subarray(32)),
    smallR: (signature, at) => concat(to32(BigInt(at % 5)), signature.subarray(32)),
    swapped: (signature) => concat(signature.subarray(32), signature.subarray(0, 32)),
    ones: () => new Uint8Array(64).fill(0xff),
  };

  test("is noble's, for any signature", () => {
    const anyChange = fc.constantFrom(...Object.keys(CHANGES));
    const anyCase = fc.tuple(fc.uint8Array({ maxLength: 48 }), anyChange, fc.nat(511), fc.boolean());
    fc.assert(
      fc.property(anyScalar, fc.array(anyCase, { minLength: 4, maxLength: 12 }), (secret, cases) => {
        const known = knowing(secret);
        const { publicKey, sign } = signerOf(secret);
        for (const [message, change, at, sameMessage] of cases) {
          const signature = CHANGES[change]?.(sign(message), at) ?? MESSAGE;
          const judged = sameMessage ? message : concat(message, MESSAGE);
          expect(known.verify(publicKey, judged, signature)).toBe(
            bip340.verify(publicKey, judged, signature),
          );
        }
      }),
      { numRuns: 15 },
    );
  });

  test("where R is at infinity or has an odd y: refused, as noble does", () => {
    for (const secret of [1n, 2n, 12345n, ORDER - 1n]) {
      const known = knowing(secret);
      const { publicKey } = signerOf(secret);
      const even = Point.BASE.multiply(secret).toAffine().y % 2n === 0n;
      const d = even ? secret : ORDER - secret;
      const challenge = (r: Uint8Array) =>
        Point.Fn.create(
          from32(schnorr.utils.taggedHash("BIP0340/challenge", r, fromHex(publicKey) ?? MESSAGE, MESSAGE)),
        );
      const verdicts = (signature: Uint8Array) => [
        known.verify(publicKey, MESSAGE, signature),
        bip340.verify(publicKey, MESSAGE, signature),
      ];
      for (let k = 1n; k < 9n; k++) {
        const R = Point.BASE.multiply(k).toAffine();
        const r = to32(R.x);
        const ed = Point.Fn.mul(challenge(r), d);
        expect(verdicts(concat(r, to32(ed)))).toEqual([false, false]);
        // s = k + e·d gives R itself; an honest signer takes −k where its y is odd.
        const fits = R.y % 2n === 0n;
        expect(verdicts(concat(r, to32(Point.Fn.add(ed, k))))).toEqual([fits, fits]);
        expect(verdicts(concat(r, to32(Point.Fn.sub(ed, k))))).toEqual([!fits, !fits]);
      }
    }
  });

  test("a signature of another length is a bug of the caller, as with noble", () => {
    const known = knowing(7n);
    for (const length of [0, 63, 65]) {
      expect(() => known.verify(signerOf(7n).publicKey, MESSAGE, new Uint8Array(length))).toThrow();
      expect(() => bip340.verify(signerOf(7n).publicKey, MESSAGE, new Uint8Array(length))).toThrow();
    }
  });

  test("is noble's for keys that may be none: on no curve, past the prime, any bytes", () => {
    const { sign } = signerOf(7n);
    const anyKey = fc.oneof(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.nat(20).map((x) => to32(BigInt(x))),
      fc.nat(20).map((x) => to32(PRIME + BigInt(x) - 10n)),
      fc.constant(new Uint8Array(32).fill(0xff)),
    );
    fc.assert(
      fc.property(anyKey, (key) => {
        const publicKey = toHex(key);
        const signature = sign(MESSAGE);
        const verdict = bip340.verify(publicKey, MESSAGE, signature);
        expect(new KnownKeys().verify(publicKey, MESSAGE, signature)).toBe(verdict);
      }),
      { numRuns: 60 },
    );
  });

  test("no other spelling of a key meets its table", () => {
    const known = knowing(7n);
    const { publicKey, sign } = signerOf(7n);
    for (const other of [publicKey.toUpperCase(), `${publicKey}00`, publicKey.slice(2), ""])
      expect(known.verify(other, MESSAGE, sign(MESSAGE))).toBe(false);
  });
});

describe("what is remembered", () => {
  test("a key that has signed, with a table from the second time on; never for a signature that does not verify", () => {
    const known = new KnownKeys();
    const { publicKey, sign } = signerOf(3n);
    const wrong = sign(MESSAGE).with(40, 1).with(41, 1);
    expect(known.verify(publicKey, MESSAGE, wrong)).toBe(false);
    expect(known.bytes).toBe(0);
    expect(known.verify(publicKey, MESSAGE, sign(MESSAGE))).toBe(true);
    for (let time = 0; time < 3; time++) expect(known.verify(publicKey, MESSAGE, wrong)).toBe(false);
    expect([known.bytes, known.hasTable(publicKey)]).toEqual([KEY_BYTES, false]);
    expect(known.verify(publicKey, MESSAGE, sign(MESSAGE))).toBe(true);
    expect([known.bytes, known.hasTable(publicKey)]).toEqual([KEY_BYTES + KEY_TABLE_BYTES, true]);
  });

  test("is bounded: the key used longest ago goes first", () => {
    const known = new KnownKeys(3 * (KEY_BYTES + KEY_TABLE_BYTES));
    const signers = [1n, 2n, 3n, 4n].map(signerOf);
    const use = (...numbers: readonly number[]): void => {
      for (const number of numbers) {
        const signer = signers[number - 1];
        expect(signer && known.verify(signer.publicKey, MESSAGE, signer.sign(MESSAGE))).toBe(true);
      }
    };
    use(1, 1, 2, 2, 3, 3, 1, 4, 4);
    expect(signers.map(({ publicKey }) => known.hasTable(publicKey))).toEqual([true, false, true, true]);
    expect(known.bytes).toBe(3 * (KEY_BYTES + KEY_TABLE_BYTES));
    use(2, 2, 2);
    expect(known.hasTable(signers[1]?.publicKey ?? "")).toBe(true);
  });
});
