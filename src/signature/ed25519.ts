/**
 * Ed25519 (RFC 8032) by @noble/curves, verified strictly: no encodings of points or numbers but the canonical ones, no
 * key of small order. ZIP 215, which libraries for consensus follow, lets both pass.
 */
import { ed25519 as curve } from "@noble/curves/ed25519.js";
import { fromHex, toHex } from "../bytes.ts";
import type { Secret } from "../secret.ts";
import type { SignatureScheme, Signer } from "./scheme.ts";

export const ed25519: SignatureScheme = {
  alg: "ed25519",
  verify(publicKey, message, signature) {
    const key = fromHex(publicKey);
    if (key?.length !== 32 || signature.length !== 64) return false;
    return curve.verify(signature, message, key, { zip215: false });
  },
};

/** @param key any 32 bytes */
export function ed25519Signer(key: Secret): Signer {
  return {
    publicKey: `ed25519:${toHex(curve.getPublicKey(key.expose()))}`,
    sign: (message) => curve.sign(message, key.expose()),
  };
}
