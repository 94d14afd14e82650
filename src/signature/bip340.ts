/**
 * BIP-340 Schnorr signatures on secp256k1, by @noble/curves.
 *
 * Messages are 32-byte tagged hashes (BIP-340, "Design": tagged hashes keep a signature for one purpose from
 * being one for another).
 */
import { schnorr } from "@noble/curves/secp256k1.js";
import { fromHex, toHex } from "../bytes.ts";
import { Secret } from "../secret.ts";
import type { SignatureScheme, Signer } from "./scheme.ts";

/** hash_tag(x) = SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ x); 32 bytes. */
export function taggedHash(tag: string, message: Uint8Array): Uint8Array {
  return schnorr.utils.taggedHash(tag, message);
}

export const bip340: SignatureScheme = {
  alg: "bip340-secp256k1-sha256",
  verify(publicKey, message, signature) {
    const key = fromHex(publicKey);
    // noble answers false for everything that BIP-340 fails: a point off the curve, r or s out of range.
    return key !== undefined && schnorr.verify(signature, message, key);
  },
};

/** @param random 32 fresh random bytes at each call: BIP-340's auxiliary randomness. */
export function bip340Signer(key: Secret, random: () => Uint8Array): Signer {
  return {
    publicKey: toHex(schnorr.getPublicKey(key.expose())),
    sign: (message) => schnorr.sign(message, key.expose(), random()),
  };
}

/** @returns `undefined` where the bytes are no secret key: not 32 bytes, zero, or not below the curve's order. */
export function holderKey(bytes: Uint8Array): Secret | undefined {
  try {
    schnorr.getPublicKey(bytes);
    return new Secret(bytes);
  } catch {
    return undefined;
  }
}
