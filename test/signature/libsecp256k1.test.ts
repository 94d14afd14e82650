/** What verifies here verifies in Bitcoin's own library, and nothing else does. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { bip340Signer } from "../../src/signature/bip340.ts";
import { KnownKeys } from "../../src/signature/known-keys.ts";
import { flipBit } from "../token/arbitrary.ts";
import { type Case, compileLibsecp256k1, LIBSECP256K1_PACKAGES } from "./libsecp256k1.ts";

const folder = mkdtempSync(join(tmpdir(), "postern-libsecp256k1-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const native = compileLibsecp256k1(folder);
if (native === undefined)
  process.stderr.write(
    `LEFT OUT: libsecp256k1 is not installed. \`apt-get install --no-install-recommends ${LIBSECP256K1_PACKAGES.join(" ")}\` brings it\n`,
  );

const any32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const anySecret = fc.oneof(
  any32.map((bytes) => bytes.with(0, 1)),
  fc.integer({ min: 1, max: 9 }).map((last) => new Uint8Array(32).with(31, last)),
);

type Where = "none" | keyof Case;

function damaged(genuine: Case, where: Where, bit: number): Case {
  return where === "none" ? genuine : { ...genuine, [where]: flipBit(genuine[where], bit) };
}

/** Genuine signatures, and ones with a bit turned over in the signature, the message or the key. */
const anyCase = fc
  .tuple(anySecret, any32, any32, fc.constantFrom<Where>("none", "signature", "message", "key"), fc.nat(511))
  .map(([secret, aux, message, where, bit]) => {
    const { publicKey, sign } = bip340Signer(new Secret(secret), () => aux);
    return damaged({ key: fromHex(publicKey) ?? aux, message, signature: sign(message) }, where, bit);
  });

describe.skipIf(native === undefined)("libsecp256k1", () => {
  test("has the same verdict, on keys that are new and on keys that are known", () => {
    const cases = fc.sample(anyCase, { numRuns: 150, seed: 340 });
    const verdicts = native?.(cases).map(({ isValid }) => isValid);
    const known = new KnownKeys();
    for (let round = 0; round < 3; round++) {
      const ours = cases.map(({ key, message, signature }) => known.verify(toHex(key), message, signature));
      expect(ours).toEqual(verdicts);
    }
    expect(verdicts).toContain(true);
    expect(verdicts).toContain(false);
  });
});
