/**
 * What a signature scheme does, so that a faster engine can take the place of another without anyone noticing.
 */
export interface SignatureScheme {
  /** The `alg` of RFC 9421 that names it. */
  readonly alg: string;
  /** @param publicKey 64 hex digits  @param message as `holder.ts` composes it  @param signature 64 bytes */
  readonly verify: (publicKey: string, message: Uint8Array, signature: Uint8Array) => boolean;
}

export interface Signer {
  /** As a holder caveat names it: 64 hex digits, with `ed25519:` before them where it is such a key. */
  readonly publicKey: string;
  /** @param message as `holder.ts` composes it  @returns 64 bytes */
  readonly sign: (message: Uint8Array) => Uint8Array;
}
