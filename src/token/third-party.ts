/**
 * Third-party caveats: made offline, by whoever holds a token and knows the third party's public key.
 *
 * The third party's ticket (the caveat's `cid`) is a sealed box of
 *
 *     version 1 (one byte) ‖ caveat root key (32 bytes) ‖ condition (UTF-8)
 *
 * and the gate's part (the `vid`) is a nonce and a secret box of the derived root key under the chain signature before
 * the caveat, as libmacaroons has it. So the two never need to speak to each other.
 */
import { concat, fromUtf8, utf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import { CONDITION_BYTES_MAX } from "../limits.ts";
import { Secret } from "../secret.ts";
import {
  BOX_KEY_BYTES,
  BOX_NONCE_BYTES,
  openBox,
  openSecretBox,
  sealBox,
  sealSecretBox,
} from "./sealed-box.ts";

const TICKET_VERSION = 1;
const ROOT_KEY_BYTES = 32;

export interface ThirdParty {
  /** Where clients find it: an http or https URL, to which `/discharge` is added. */
  readonly location: string;
  /** 32 bytes, X25519. */
  readonly publicKey: Uint8Array;
  /** What it is asked to vouch for, in words that it understands. */
  readonly condition: string;
}

/** A third-party caveat that is not yet in a chain. */
export interface ThirdPartyCaveat {
  readonly location: string;
  /** The cid. */
  readonly ticket: Uint8Array;
  /** The caveat root key, before it is derived. */
  readonly rootKey: Secret;
  /** Of the vid. In chains that are equal so far the same caveat is the same bytes; in others the key differs. */
  readonly nonce: Uint8Array;
}

/** What a third party reads in a ticket. */
export interface OpenTicket {
  readonly rootKey: Secret;
  readonly condition: string;
}

/**
 * @param random fresh random bytes
 * @returns `malformed_request` where no client could find the third party, or it could not read its ticket
 */
export function thirdPartyCaveat(
  { location, publicKey, condition }: ThirdParty,
  random: (length: number) => Uint8Array,
): ThirdPartyCaveat | Refusal {
  if (!isLocation(location))
    return refuse("malformed_request", `${JSON.stringify(location)} is no http or https URL without query`);
  const text = utf8(condition);
  if (text.length > CONDITION_BYTES_MAX)
    return refuse("malformed_request", `a third party's condition has at most ${CONDITION_BYTES_MAX} bytes`);
  const rootKey = random(ROOT_KEY_BYTES);
  const plain = concat(Uint8Array.of(TICKET_VERSION), rootKey, text);
  const ticket =
    publicKey.length === BOX_KEY_BYTES
      ? sealBox(plain, publicKey, new Secret(random(BOX_KEY_BYTES)))
      : undefined;
  if (ticket === undefined)
    return refuse("malformed_request", "the third party's public key is none of X25519");
  return { location, ticket, rootKey: new Secret(rootKey), nonce: random(BOX_NONCE_BYTES) };
}

/** An origin, with a path perhaps: something that `/discharge` can be added to. */
export function isLocation(location: string): boolean {
  const url = URL.parse(location);
  return url !== null && /^https?:$/.test(url.protocol) && !/[?#@\s]/.test(location);
}

/** Where the third party at this location takes tickets. */
export function dischargeUrl(location: string): string {
  return `${location.replace(/\/+$/, "")}/discharge`;
}

/** @returns `undefined` where the ticket is not for this key, or of another version */
export function openTicket(ticket: Uint8Array, secret: Secret): OpenTicket | undefined {
  const plain = openBox(ticket, secret);
  if (plain === undefined || plain[0] !== TICKET_VERSION || plain.length < 1 + ROOT_KEY_BYTES)
    return undefined;
  const condition = fromUtf8(plain.subarray(1 + ROOT_KEY_BYTES));
  return condition === undefined
    ? undefined
    : { rootKey: new Secret(plain.subarray(1, 1 + ROOT_KEY_BYTES)), condition };
}

/** @param tail the chain signature before the caveat. @param derived the caveat root key, derived */
export function sealVid(tail: Uint8Array, nonce: Uint8Array, derived: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(nonce, sealSecretBox(tail, nonce, derived));
}

/** @returns the derived root key of the caveat's discharges; `undefined` where the vid holds none */
export function openVid(tail: Uint8Array, vid: Uint8Array): Uint8Array | undefined {
  const derived = openSecretBox(tail, vid.subarray(0, BOX_NONCE_BYTES), vid.subarray(BOX_NONCE_BYTES));
  return derived?.length === ROOT_KEY_BYTES ? derived : undefined;
}
