/**
 * libsodium's `crypto_secretbox` and `crypto_box_seal`, byte for byte, so that a third party may use any NaCl library.
 *
 * A secret box is XSalsa20-Poly1305. A sealed box is an ephemeral X25519 key's public half, then a secret box under
 * HSalsa20 of the shared point, with the nonce BLAKE2b-24(ephemeral key ‖ recipient's key). Nobody learns who sealed it.
 */
import { hsalsa, xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { u32 } from "@noble/ciphers/utils.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { blake2b } from "@noble/hashes/blake2.js";
import { concat, utf8 } from "../bytes.ts";
import type { Secret } from "../secret.ts";

/** Of every key here, public or secret. */
export const BOX_KEY_BYTES = 32;
export const BOX_NONCE_BYTES = 24;
const TAG_BYTES = 16;
/** How much longer a sealed box is than what is in it. */
export const SEALED_BOX_OVERHEAD = BOX_KEY_BYTES + TAG_BYTES;

const SIGMA = words(utf8("expand 32-byte k"));

/** tag ‖ ciphertext, as NaCl has it without its padding. */
export function sealSecretBox(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Uint8Array {
  return xsalsa20poly1305(key, nonce).encrypt(plain);
}

/** @returns `undefined` where the key, the nonce or a byte is not the one that it was sealed with */
export function openSecretBox(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  try {
    return xsalsa20poly1305(key, nonce).decrypt(sealed);
  } catch {
    return undefined;
  }
}

export function boxPublicKey(secret: Secret): Uint8Array {
  return x25519.getPublicKey(secret.expose());
}

/**
 * @param publicKey 32 bytes, the recipient's
 * @param ephemeral 32 fresh random bytes, used for nothing else
 * @returns `undefined` where the key is none: with one of low order everybody could open the box
 */
export function sealBox(
  plain: Uint8Array,
  publicKey: Uint8Array,
  ephemeral: Secret,
): Uint8Array<ArrayBuffer> | undefined {
  const key = boxKey(ephemeral, publicKey);
  if (key === undefined) return undefined;
  const ephemeralKey = boxPublicKey(ephemeral);
  return concat(ephemeralKey, sealSecretBox(key, nonceOf(ephemeralKey, publicKey), plain));
}

/** @returns `undefined` where it was not sealed for this key, or a byte was changed */
export function openBox(sealed: Uint8Array, secret: Secret): Uint8Array | undefined {
  if (sealed.length < SEALED_BOX_OVERHEAD) return undefined;
  const ephemeralKey = sealed.subarray(0, BOX_KEY_BYTES);
  const key = boxKey(secret, ephemeralKey);
  if (key === undefined) return undefined;
  return openSecretBox(key, nonceOf(ephemeralKey, boxPublicKey(secret)), sealed.subarray(BOX_KEY_BYTES));
}

function nonceOf(ephemeralKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return blake2b(concat(ephemeralKey, publicKey), { dkLen: BOX_NONCE_BYTES });
}

/** `crypto_box_beforenm`: HSalsa20 of the shared point, which must not be zero (RFC 7748, section 6.1). */
function boxKey(secret: Secret, publicKey: Uint8Array): Uint8Array | undefined {
  let shared: Uint8Array;
  try {
    shared = x25519.getSharedSecret(secret.expose(), publicKey);
  } catch {
    return undefined;
  }
  const key = new Uint32Array(BOX_KEY_BYTES / 4);
  hsalsa(SIGMA, words(shared), new Uint32Array(4), key);
  return new Uint8Array(key.buffer);
}

/** A copy, as the cipher takes it: it minds the order of bytes by itself. */
function words(bytes: Uint8Array): Uint32Array {
  return u32(new Uint8Array(bytes));
}
