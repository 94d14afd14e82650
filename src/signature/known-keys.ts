/**
 * BIP-340, faster than @noble/curves, and several times faster for keys that come again: they have a table of multiples.
 *
 * A key is remembered once a signature of it has verified, and gets its table with the second, so that keys of one call
 * cost none. Bounded in bytes; the key used longest ago goes first, and costs what a new key does when it comes back.
 * The verdict is noble's for every input: the arithmetic is in `secp256k1.ts`, hash and fields are noble's own.
 */
import { schnorr } from "@noble/curves/secp256k1.js";
import { bytesToNumberBE } from "@noble/curves/utils.js";
import { fromHex } from "../bytes.ts";
import { KEY_BYTES, KEY_TABLE_BYTES, KEY_TABLES_BYTES_MAX } from "../limits.ts";
import { bip340 } from "./bip340.ts";
import type { SignatureScheme } from "./scheme.ts";
import { type Affine, combination, ONE_ROW, Table, type TableForm } from "./secp256k1.ts";

/** 7 rows of 16 points: one bit more is a twentieth faster, and twice as large and as long to make. */
const KNOWN: TableForm = { bits: 5, blocks: 4 };

/** What is kept of a key: only that it has signed, or its table. */
type Kept = "seen" | Table;

export class KnownKeys implements SignatureScheme {
  readonly alg = bip340.alg;
  readonly #bytesMax: number;
  /** By public key; a Map iterates in order of insertion, so the first key is the one used longest ago. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(bytesMax = KEY_TABLES_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the key has its table. */
  hasTable(publicKey: string): boolean {
    return this.#kept.get(publicKey) instanceof Table;
  }

  verify(publicKey: string, message: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== 64) throw new Error("a BIP-340 signature has 64 bytes");
    const kept = this.#kept.get(publicKey);
    const key = kept instanceof Table ? kept : tableOf(publicKey, ONE_ROW);
    const isValid = key !== undefined && verifyWith(key, publicKey, message, signature);
    if (isValid) this.#use(publicKey, kept);
    return isValid;
  }

  #use(publicKey: string, kept: Kept | undefined): void {
    if (kept !== undefined) {
      this.#kept.delete(publicKey);
      this.#bytes -= sizeOf(kept);
    }
    const next = kept === "seen" ? tableOf(publicKey, KNOWN) : (kept ?? "seen");
    if (next === undefined) return;
    this.#kept.set(publicKey, next);
    this.#bytes += sizeOf(next);
    for (const [oldest, least] of this.#kept) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#kept.delete(oldest);
      this.#bytes -= sizeOf(least);
    }
  }
}

const sizeOf = (kept: Kept): number => (kept === "seen" ? KEY_BYTES : KEY_BYTES + KEY_TABLE_BYTES);

/** P = lift_x(int(pk)); `undefined` where that fails: the key is not the x of a point. */
function tableOf(publicKey: string, form: TableForm): Table | undefined {
  const point = lift(publicKey);
  return point && new Table(point, form);
}

function lift(publicKey: string): Affine | undefined {
  const bytes = fromHex(publicKey);
  if (bytes?.length !== 32) return undefined;
  try {
    return schnorr.utils.lift_x(bytesToNumberBE(bytes)).toAffine();
  } catch {
    return undefined;
  }
}

/** BIP-340, Verification. @param key multiples of P = lift_x(int(pk)) */
function verifyWith(key: Table, publicKey: string, message: Uint8Array, signature: Uint8Array): boolean {
  const { Fp, Fn } = schnorr.Point;
  // Let r = int(sig[0:32]); fail if r ≥ p. Zero is the x of no point.
  const rBytes = signature.subarray(0, 32);
  const r = bytesToNumberBE(rBytes);
  if (!Fp.isValidNot0(r)) return false;
  // Let s = int(sig[32:64]); fail if s ≥ n. As noble does, zero is refused, too: no honest signer meets it.
  const s = bytesToNumberBE(signature.subarray(32));
  if (!Fn.isValidNot0(s)) return false;
  // Let e = int(hash_BIP0340/challenge(bytes(r) || bytes(P) || m)) mod n.
  const hash = schnorr.utils.taggedHash("BIP0340/challenge", rBytes, bytesOf(publicKey), message);
  const e = Fn.create(bytesToNumberBE(hash));
  // Let R = s⋅G - e⋅P. Fail if is_infinite(R), not has_even_y(R), or x(R) ≠ r.
  const R = combination(s, key, Fn.neg(e));
  return R !== undefined && R.y % 2n === 0n && R.x === r;
}

function bytesOf(publicKey: string): Uint8Array {
  const bytes = fromHex(publicKey);
  if (bytes === undefined) throw new Error("a key that has a table is hex");
  return bytes;
}
