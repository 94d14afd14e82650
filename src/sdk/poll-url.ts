/**
 * What a discharge service must remember while somebody makes up his mind, sealed into the URL that the client polls.
 *
 * So the service keeps nothing, and any instance of it with the same key can answer. Who knows the URL can have the
 * discharge once it is granted, as can whoever knows the ticket; without the token that it is bound to it is worth nothing.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, fromBase64url, fromUtf8, toBase64url, utf8 } from "../bytes.ts";
import type { Secret } from "../secret.ts";
import { BOX_NONCE_BYTES, openSecretBox, sealSecretBox } from "../token/sealed-box.ts";

export interface Waiting {
  readonly ticket: Uint8Array;
  /** What the application knows the request by. */
  readonly id: string;
  /** ms since the epoch: then it must be asked for anew. */
  readonly until_ms: number;
}

const POLL_KEY = utf8("postern/discharge/poll/v1");
const keyOf = (secret: Secret): Uint8Array => hmac(sha256, secret.expose(), POLL_KEY);

/** The last part of a path: base64url. */
export function sealWaiting(
  { ticket, id, until_ms }: Waiting,
  secret: Secret,
  random: (length: number) => Uint8Array,
): string {
  const nonce = random(BOX_NONCE_BYTES);
  const plain = utf8(JSON.stringify([toBase64url(ticket), id, until_ms]));
  return toBase64url(concat(nonce, sealSecretBox(keyOf(secret), nonce, plain)));
}

/** @returns `undefined` where it was not sealed with this key */
export function openWaiting(text: string, secret: Secret): Waiting | undefined {
  const bytes = fromBase64url(text);
  if (bytes === undefined) return undefined;
  const [nonce, sealed] = [bytes.subarray(0, BOX_NONCE_BYTES), bytes.subarray(BOX_NONCE_BYTES)];
  const plain = openSecretBox(keyOf(secret), nonce, sealed);
  if (plain === undefined) return undefined;
  // Nobody but this service has written it.
  const [ticket, id, until_ms] = JSON.parse(fromUtf8(plain) ?? "") as [string, string, number];
  return { ticket: fromBase64url(ticket) ?? new Uint8Array(), id, until_ms };
}
