/**
 * Signature rows: BIP-340 verification of a key that has signed before, and of one that never has, against noble's; and
 * against libsecp256k1 in C, where its headers and a C compiler are installed (Debian: libsecp256k1-dev).
 */
import { randomBytes } from "node:crypto";
import { schnorr } from "@noble/curves/secp256k1.js";
import { toHex } from "../src/bytes.ts";
import { KnownKeys } from "../src/signature/known-keys.ts";
import { type Case, compileLibsecp256k1, LIBSECP256K1_PACKAGES } from "../test/signature/libsecp256k1.ts";
import { removeFolder, temporaryFolder } from "./children.ts";
import { compare, type Measure, measureAll, type Row, type Spec, timed, withMore } from "./harness.ts";

interface Signed extends Case {
  readonly publicKey: string;
}

/** In one round of the native side: long against the clock's grain. */
const NATIVE_CALLS = 400;

function signed(): Signed {
  const secret = schnorr.utils.randomSecretKey();
  const message = new Uint8Array(randomBytes(32));
  const key = schnorr.getPublicKey(secret);
  return { key, publicKey: toHex(key), message, signature: schnorr.sign(message, secret) };
}

function mustBe(isValid: boolean): void {
  if (!isValid) throw new Error("a valid signature does not verify");
}

function known({ publicKey, message, signature }: Signed): Measure {
  const keys = new KnownKeys();
  return timed(() => mustBe(keys.verify(publicKey, message, signature)));
}

/** Each key is met for the first time. */
function fresh(many: readonly Signed[]): Measure {
  let keys = new KnownKeys();
  let next = 0;
  return timed(() => {
    const one = many[next++ % many.length];
    if (one === undefined) throw new Error("there are no signatures");
    if (next % many.length === 0) keys = new KnownKeys();
    mustBe(keys.verify(one.publicKey, one.message, one.signature));
  });
}

function noble({ key, message, signature }: Signed): Measure {
  return timed(() => mustBe(schnorr.verify(signature, message, key)));
}

const specOf = (id: string, what: string, seconds: number): Spec => ({
  id,
  unit: "µs",
  better: "lower",
  what,
  seconds,
});

export async function knownVersusNoble(seconds: number): Promise<readonly Row[]> {
  const what = "BIP-340 verification of a key that has its table, against schnorr.verify of @noble/curves";
  const one = signed();
  return [await compare(specOf("schnorr.known_vs_noble", what, seconds), known(one), noble(one))];
}

export async function newVersusNoble(seconds: number): Promise<readonly Row[]> {
  const what = "BIP-340 verification of keys that were never seen, against schnorr.verify of @noble/curves";
  const many = Array.from({ length: 256 }, signed);
  const [one = signed()] = many;
  return [await compare(specOf("schnorr.new_vs_noble", what, seconds), fresh(many), noble(one))];
}

export async function knownVersusNative(seconds: number): Promise<readonly Row[]> {
  const what = "BIP-340 verification of a key that has its table, against libsecp256k1 in C";
  const spec = specOf("schnorr.known_vs_native", what, seconds);
  const one = signed();
  const folder = temporaryFolder();
  try {
    const native = compileLibsecp256k1(folder);
    if (native !== undefined)
      return [await compare(spec, known(one), () => native([one], NATIVE_CALLS)[0]?.us ?? Number.NaN)];
    const [row] = await measureAll([{ spec, measure: known(one) }], seconds);
    const why = `no other side: install ${LIBSECP256K1_PACKAGES.join(" ")}`;
    return row === undefined ? [] : [withMore(row, {}, why)];
  } finally {
    removeFolder(folder);
  }
}
