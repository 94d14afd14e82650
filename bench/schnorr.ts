/**
 * Signature rows: BIP-340 verification of a key that has signed before, and of one that never has, against noble's; and
 * against libsecp256k1 in C, where its headers and a C compiler are installed (Debian: libsecp256k1-dev).
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { schnorr } from "@noble/curves/secp256k1.js";
import { toHex } from "../src/bytes.ts";
import { KnownKeys } from "../src/signature/known-keys.ts";
import { ROOT, removeFolder, temporaryFolder } from "./children.ts";
import { compare, type Measure, measureAll, type Row, type Spec, timed, withMore } from "./harness.ts";

interface Signed {
  readonly key: Uint8Array;
  readonly publicKey: string;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

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
    const native = nativeVerifier(folder, one);
    if (typeof native !== "string") return [await compare(spec, known(one), native)];
    const [row] = await measureAll([{ spec, measure: known(one) }], seconds);
    return row === undefined ? [] : [withMore(row, {}, `no other side: ${native}`)];
  } finally {
    removeFolder(folder);
  }
}

const NATIVE_CALLS = 200;

/** @returns why there is none, where there is none */
function nativeVerifier(folder: string, { key, message, signature }: Signed): Measure | string {
  const program = join(folder, "verify");
  try {
    const source = join(ROOT, "bench/schnorr.c");
    execFileSync("cc", ["-O2", "-o", program, source, "-lsecp256k1"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
  } catch {
    return "libsecp256k1-dev and a C compiler are not installed";
  }
  const args = [toHex(key), toHex(message), toHex(signature), String(NATIVE_CALLS)];
  return () => Number(execFileSync(program, args, { encoding: "utf8" }));
}
