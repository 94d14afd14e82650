/**
 * Discharges: macaroons of a third party, whose identifier is the ticket and whose root key was in it.
 *
 * Whoever sends one binds it to his token first: bound, it is worth something beside this very token only, so that who
 * sees a request cannot use its discharges elsewhere.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat } from "../bytes.ts";
import type { Refusal } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { type Addition, attenuate, tailsOf } from "./chain.ts";
import type { Macaroon } from "./macaroon.ts";

const ZERO_KEY = new Uint8Array(32);
const hash = (message: Uint8Array): Uint8Array => hmac(sha256, ZERO_KEY, message);

/** @param rootKey as the ticket has it. @param additions what the discharge is worth: an `expires` first */
export function mintDischarge(
  ticket: Uint8Array,
  rootKey: Secret,
  additions: readonly Addition[],
  location: string,
): Macaroon | Refusal {
  const [signature = ZERO_KEY] = tailsOf(rootKey, ticket, []);
  return attenuate({ location, identifier: ticket, unsafeCaveats: [], signature }, additions);
}

/** The discharge as it is sent with this root token, and with no other. */
export function bindDischarge(discharge: Macaroon, root: Macaroon): Macaroon {
  return { ...discharge, signature: boundSignature(root.signature, discharge.signature) };
}

/** hash2(zero32, root signature, discharge signature) of libmacaroons. */
export function boundSignature(root: Uint8Array, discharge: Uint8Array): Uint8Array {
  return hash(concat(hash(root), hash(discharge)));
}
