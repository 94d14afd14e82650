/**
 * What a holder signs, and with which scheme: the key's name says it.
 *
 * `<64 hex>` is a BIP-340 key, `ed25519:<64 hex>` an Ed25519 one. Each purpose has its own message, so that a signature
 * for one is none for another: a request is signed as RFC 9421 has it (over the signature base; BIP-340 over a tagged
 * hash of it), a delegation over a tagged hash of 32 bytes, which is no signature base.
 */
import { concat, fromHex, toHex, utf8 } from "../bytes.ts";
import { ED25519_PREFIX } from "../names.ts";
import { Secret } from "../secret.ts";
import { bip340Signer, holderKey, taggedHash } from "./bip340.ts";
import { ed25519Signer } from "./ed25519.ts";
import type { SignatureScheme, Signer } from "./scheme.ts";

export const HTTP_SIGNATURE_TAG = "postern/http-signature/v1";
const DELEGATION_TAG = "postern/delegate/v1";

/** What is signed of a request. @param base the signature base of RFC 9421 section 2.5 */
export function requestMessage(holder: string, base: string): Uint8Array {
  return isEd25519(holder) ? utf8(base) : taggedHash(HTTP_SIGNATURE_TAG, utf8(base));
}

/**
 * What a holder signs who hands a token on: the tagged hash of tail ‖ key, where the name of the scheme stands before
 * an Ed25519 key, so that the same 32 bytes mean one key only.
 *
 * @param tail the chain signature before the `delegate` caveat
 */
export function delegationMessage(tail: Uint8Array, to: string): Uint8Array {
  const scheme = utf8(isEd25519(to) ? ED25519_PREFIX : "");
  return taggedHash(DELEGATION_TAG, concat(tail, scheme, fromHex(hexOf(to)) ?? new Uint8Array()));
}

/** Verifies what holders sign, each key with its scheme. */
export class HolderSignatures {
  readonly #bip340: SignatureScheme;
  readonly #ed25519: SignatureScheme;

  constructor(bip340: SignatureScheme, ed25519: SignatureScheme) {
    this.#bip340 = bip340;
    this.#ed25519 = ed25519;
  }

  verifyRequest(holder: string, base: string, signature: Uint8Array): boolean {
    return this.#verify(holder, requestMessage(holder, base), signature);
  }

  verifyDelegation(holder: string, tail: Uint8Array, to: string, signature: Uint8Array): boolean {
    return this.#verify(holder, delegationMessage(tail, to), signature);
  }

  #verify(holder: string, message: Uint8Array, signature: Uint8Array): boolean {
    const scheme = isEd25519(holder) ? this.#ed25519 : this.#bip340;
    return scheme.verify(hexOf(holder), message, signature);
  }
}

/**
 * A signer from the text of a secret key: 64 hex digits, with `ed25519:` before them where it is such a key.
 * @returns `undefined` where it is no secret key
 */
export function holderSigner(text: string, random: (length: number) => Uint8Array): Signer | undefined {
  const bytes = fromHex(hexOf(text));
  if (bytes?.length !== 32) return undefined;
  if (isEd25519(text)) return ed25519Signer(new Secret(bytes));
  const key = holderKey(bytes);
  return key && bip340Signer(key, () => random(32));
}

/** The text of a fresh secret key, and its public key. */
export function newHolder(
  scheme: "bip340" | "ed25519",
  random: (length: number) => Uint8Array,
): { readonly secret: string; readonly publicKey: string } {
  const prefix = scheme === "ed25519" ? ED25519_PREFIX : "";
  // A random string is no BIP-340 key with probability 2^-128; asking again costs nothing.
  for (;;) {
    const secret = prefix + toHex(random(32));
    const signer = holderSigner(secret, random);
    if (signer !== undefined) return { secret, publicKey: signer.publicKey };
  }
}

const isEd25519 = (key: string): boolean => key.startsWith(ED25519_PREFIX);
const hexOf = (key: string): string => (isEd25519(key) ? key.slice(ED25519_PREFIX.length) : key);
