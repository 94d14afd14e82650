import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, toHex, utf8 } from "../../src/bytes.ts";
import { bip340 } from "../../src/signature/bip340.ts";
import { ed25519 } from "../../src/signature/ed25519.ts";
import {
  delegationMessage,
  HolderSignatures,
  holderSigner,
  newHolder,
  requestMessage,
} from "../../src/signature/holder.ts";
import type { Signer } from "../../src/signature/scheme.ts";

const random = (length: number) => new Uint8Array(length).fill(7);
const signatures = new HolderSignatures(bip340, ed25519);

function signer(text: string): Signer {
  const made = holderSigner(text, random);
  if (made === undefined) throw new Error("no key");
  return made;
}

const BOTH = [signer("01".repeat(32)), signer(`ed25519:${"01".repeat(32)}`)] as const;
const TAIL = new Uint8Array(32).fill(9);

function taggedHash(tag: string, message: Uint8Array): string {
  const tagHash = createHash("sha256").update(tag).digest();
  return createHash("sha256").update(tagHash).update(tagHash).update(message).digest("hex");
}

describe("what is signed", () => {
  test("of a request: the base itself with Ed25519, its tagged hash with BIP-340", () => {
    expect(requestMessage(`ed25519:${"01".repeat(32)}`, "base")).toEqual(utf8("base"));
    const hash = taggedHash("postern/http-signature/v1", utf8("base"));
    expect(toHex(requestMessage("01".repeat(32), "base"))).toBe(hash);
  });

  test("of a delegation: the tagged hash of the chain's signature and the key, as DESIGN has it", () => {
    const key = "ab".repeat(32);
    const bytes = fromHex(key) ?? new Uint8Array();
    expect(toHex(delegationMessage(TAIL, key))).toBe(taggedHash("postern/delegate/v1", concat(TAIL, bytes)));
    const named = concat(TAIL, utf8("ed25519:"), bytes);
    expect(toHex(delegationMessage(TAIL, `ed25519:${key}`))).toBe(taggedHash("postern/delegate/v1", named));
  });
});

describe("each key with its scheme", () => {
  test("verifies what it signed, and no other key does", () => {
    for (const [index, one] of BOTH.entries()) {
      const request = one.sign(requestMessage(one.publicKey, "base"));
      const delegation = one.sign(delegationMessage(TAIL, "ab".repeat(32)));
      for (const [other, { publicKey }] of BOTH.entries()) {
        expect(signatures.verifyRequest(publicKey, "base", request)).toBe(index === other);
        expect(signatures.verifyDelegation(publicKey, TAIL, "ab".repeat(32), delegation)).toBe(
          index === other,
        );
      }
    }
  });

  test("a signature for one purpose is none for the other", () => {
    for (const { publicKey, sign } of BOTH) {
      const delegation = sign(delegationMessage(TAIL, "ab".repeat(32)));
      expect(signatures.verifyRequest(publicKey, "base", delegation)).toBe(false);
      const request = sign(requestMessage(publicKey, "base"));
      expect(signatures.verifyDelegation(publicKey, TAIL, "ab".repeat(32), request)).toBe(false);
    }
  });

  test("for one key and chain is none for another", () => {
    for (const { publicKey, sign } of BOTH) {
      const delegation = sign(delegationMessage(TAIL, "ab".repeat(32)));
      for (const [tail, to] of [
        [TAIL.with(0, 8), "ab".repeat(32)],
        [TAIL, `${"ab".repeat(31)}ac`],
        [TAIL, `ed25519:${"ab".repeat(32)}`],
      ] as const)
        expect(signatures.verifyDelegation(publicKey, tail, to, delegation)).toBe(false);
    }
  });
});

describe("secret keys", () => {
  test("that are made are read again, by their scheme", () => {
    const bytes = fc.infiniteStream(fc.uint8Array({ minLength: 32, maxLength: 32 }));
    fc.assert(
      fc.property(fc.constantFrom("bip340" as const, "ed25519" as const), bytes, (scheme, stream) => {
        const { secret, publicKey } = newHolder(scheme, () => stream.next().value);
        expect(holderSigner(secret, random)?.publicKey).toBe(publicKey);
        expect([secret, publicKey].every((text) => text.startsWith("ed25519:"))).toBe(scheme === "ed25519");
      }),
      { numRuns: 20 },
    );
  });

  test("what is no BIP-340 key is drawn again", () => {
    const draws = [new Uint8Array(32).fill(0xff), new Uint8Array(32), new Uint8Array(32).fill(1)];
    expect(newHolder("bip340", () => draws.shift() ?? new Uint8Array()).secret).toBe("01".repeat(32));
  });

  test.each([
    "",
    "00",
    "00".repeat(32),
    "ff".repeat(32),
    "ed25519:",
    `ed25519:${"01".repeat(31)}`,
    `Ed25519:${"01".repeat(32)}`,
    "0G".repeat(32),
  ])("%j is none", (text) => {
    expect(holderSigner(text, random)).toBeUndefined();
  });
});
