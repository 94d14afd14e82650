/** The key of a third party as text: `x25519:` and 64 hex digits, secret and public half alike. */
import { fromHex, toHex } from "../bytes.ts";
import { Secret } from "../secret.ts";
import { BOX_KEY_BYTES, boxPublicKey } from "../token/sealed-box.ts";

/** Keeps it apart from holder keys, which look alike and are no use here. */
const PREFIX = "x25519:";

export interface ServiceKey {
  readonly secret: Secret;
  /** `x25519:…`: what whoever adds a caveat for the service must know. */
  readonly publicKey: string;
}

/** @returns the text of a fresh secret key, and its public half */
export function newServiceKey(random: (length: number) => Uint8Array): {
  readonly secret: string;
  readonly publicKey: string;
} {
  const secret = new Secret(random(BOX_KEY_BYTES));
  return { secret: textOf(secret.expose()), publicKey: textOf(boxPublicKey(secret)) };
}

/** @param text as `postern keygen --alg x25519` writes it. @returns `undefined` where it is none */
export function readServiceKey(text: string): ServiceKey | undefined {
  const bytes = bytesOf(text.trim());
  if (bytes === undefined) return undefined;
  const secret = new Secret(bytes);
  return { secret, publicKey: textOf(boxPublicKey(secret)) };
}

/** 32 bytes; `undefined` where the text is no public key. */
export function readServicePublicKey(text: string): Uint8Array | undefined {
  return bytesOf(text);
}

const textOf = (bytes: Uint8Array): string => PREFIX + toHex(bytes);

function bytesOf(text: string): Uint8Array | undefined {
  const bytes = text.startsWith(PREFIX) ? fromHex(text.slice(PREFIX.length)) : undefined;
  return bytes?.length === BOX_KEY_BYTES ? bytes : undefined;
}
