/**
 * BIP-340 for keys that come again: a table of multiples makes their next signatures several times cheaper.
 *
 * A key is remembered once a signature of it has verified, and gets its table with the second, so that keys of one call
 * cost no table. The verdict is the same as without, for every input. Bounded in bytes; the key used longest ago goes
 * first, and costs what a new key does when it comes back.
 */
import { schnorr } from "@noble/curves/secp256k1.js";
import { bytesToNumberBE } from "@noble/curves/utils.js";
import { fromHex } from "../bytes.ts";
import {
  KEY_BYTES,
  KEY_TABLE_BITS,
  KEY_TABLE_BLOCKS,
  KEY_TABLE_BYTES,
  KEY_TABLES_BYTES_MAX,
} from "../limits.ts";
import { bip340 } from "./bip340.ts";
import type { SignatureScheme } from "./scheme.ts";
import { combination, Table } from "./secp256k1.ts";

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
    const kept = this.#kept.get(publicKey);
    const isValid =
      kept instanceof Table
        ? verifyWith(kept, publicKey, message, signature)
        : bip340.verify(publicKey, message, signature);
    if (isValid) this.#use(publicKey, kept);
    return isValid;
  }

  #use(publicKey: string, kept: Kept | undefined): void {
    if (kept !== undefined) {
      this.#kept.delete(publicKey);
      this.#bytes -= sizeOf(kept);
    }
    const next = kept === undefined ? "seen" : kept === "seen" ? tableOf(publicKey) : kept;
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

/** @param publicKey of a signature that has verified: it is the x of a point */
function tableOf(publicKey: string): Table {
  const key = schnorr.utils.lift_x(bytesToNumberBE(bytesOf(publicKey)));
  return new Table(key.toAffine(), KEY_TABLE_BITS, KEY_TABLE_BLOCKS);
}

/** BIP-340, Verification; P = lift_x(int(pk)) is in the table. */
function verifyWith(key: Table, publicKey: string, message: Uint8Array, signature: Uint8Array): boolean {
  const { Fp, Fn } = schnorr.Point;
  if (signature.length !== 64) throw new Error("a BIP-340 signature has 64 bytes");
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
  if (bytes === undefined) throw new Error("a key that has verified is hex");
  return bytes;
}
