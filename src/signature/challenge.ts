/**
 * Challenges for callers whose clock is wrong, after RFC 9449 section 8: the gate says its time, under a MAC, and who signs
 * with that in the nonce has signed after it, whatever his own clock says.
 *
 * A nonce with a challenge is `<challenge>.<nonce>`, and a plain one has no dot, so none is ever taken for the other: a
 * challenged request is judged by its challenge's time alone and never by its own, or one made by a clock that is ahead
 * would pass again when its time comes. No gate keeps what it gave out. The key comes from the store's master key, so
 * each node takes the others' challenges, and each is for one key's requests. Anybody is given one: it tells a time that
 * every answer's `Date` tells, and costs an HMAC.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, equalConstantTime, fromBase64url, toBase64url, utf8 } from "../bytes.ts";
import { SIGNATURE_LIFETIME_S_MAX } from "../limits.ts";
import { Secret } from "../secret.ts";
import type { Lifetime } from "./freshness.ts";

const KEY_LABEL = utf8("postern/challenge/v1");
/** A challenge, by its shape. */
export const CHALLENGE = /^[A-Za-z0-9_-]{28}$/;
const TIME_BYTES = 5;
const MAC_BYTES = 16;

export class Challenges {
  readonly #key: Secret;

  constructor(master: Secret) {
    this.#key = new Secret(hmac(sha256, master.expose(), KEY_LABEL));
  }

  /** 28 characters. @param now_s since the epoch */
  issue(keyid: string, now_s: number): string {
    const time = timeBytes(Math.floor(now_s));
    return toBase64url(concat(time, this.#mac(time, keyid)));
  }

  /**
   * When a request may be taken whose nonce this is.
   *
   * @returns `undefined` where the nonce is a plain one, or its challenge is not one of this store's for that key
   */
  lifetimeOf(nonce: string, keyid: string): Lifetime | undefined {
    if (!isChallenged(nonce)) return undefined;
    const bytes = fromBase64url(nonce.slice(0, nonce.indexOf(".")));
    const time = bytes?.subarray(0, TIME_BYTES);
    const mac = bytes?.subarray(TIME_BYTES);
    if (time === undefined || mac === undefined) return undefined;
    if (!equalConstantTime(mac, this.#mac(time, keyid))) return undefined;
    const created = time.reduce((seconds, byte) => seconds * 256 + byte, 0);
    return { created, expires: created + SIGNATURE_LIFETIME_S_MAX };
  }

  #mac(time: Uint8Array, keyid: string): Uint8Array {
    return hmac(sha256, this.#key.expose(), concat(time, utf8(keyid))).subarray(0, MAC_BYTES);
  }
}

export const isChallenged = (nonce: string): boolean => nonce.includes(".");

/** For the signer. @param nonce a plain one */
export const challengedNonce = (challenge: string, nonce: string): string => `${challenge}.${nonce}`;

/** Big-endian. */
function timeBytes(seconds: number): Uint8Array {
  return Uint8Array.from({ length: TIME_BYTES }, (_, i) => Math.floor(seconds / 256 ** (TIME_BYTES - 1 - i)));
}
