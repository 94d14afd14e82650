/**
 * The HMAC chain of a macaroon: mint, attenuate, and every tail.
 *
 * Law 2 lives here: a caveat is one more HMAC keyed by the signature before it, so whoever holds a token can add
 * caveats offline, and nobody can take one away.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, utf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, DISCHARGES_MAX, TOKEN_BYTES_MAX } from "../limits.ts";
import type { Secret } from "../secret.ts";
import { encodeV2 } from "./codec-v2.ts";
import type { Macaroon, UnsafeCaveat } from "./macaroon.ts";
import { sealVid, type ThirdPartyCaveat } from "./third-party.ts";

const KEY_GENERATOR = utf8("macaroons-key-generator");

const mac = (key: Uint8Array, message: Uint8Array): Uint8Array => hmac(sha256, key, message);

/** root key = HMAC(key "macaroons-key-generator", secret): what libmacaroons and its descendants derive. */
export function deriveRootKey(secret: Secret): Uint8Array {
  return mac(KEY_GENERATOR, secret.expose());
}

/** sig' = HMAC(sig, cid), or for a third party HMAC(sig, HMAC(sig, vid) ‖ HMAC(sig, cid)). */
function nextTail(tail: Uint8Array, caveat: UnsafeCaveat): Uint8Array {
  if (caveat.vid === undefined) return mac(tail, caveat.cid);
  return mac(tail, concat(mac(tail, caveat.vid), mac(tail, caveat.cid)));
}

/**
 * The chain signature after the identifier and after each caveat: `caveats.length + 1` tails of 32 bytes.
 *
 * @param known the first of them, where they are known: they cost nothing then
 */
export function tailsOf(
  secret: Secret,
  identifier: Uint8Array,
  caveats: readonly UnsafeCaveat[],
  known: readonly Uint8Array[] = [],
): readonly Uint8Array[] {
  return continued(known.length > 0 ? known : [mac(deriveRootKey(secret), identifier)], caveats);
}

/** The same under a root key that is derived already, as the vid of a third-party caveat holds it. */
export function tailsUnder(
  rootKey: Uint8Array,
  identifier: Uint8Array,
  caveats: readonly UnsafeCaveat[],
): readonly Uint8Array[] {
  return continued([mac(rootKey, identifier)], caveats);
}

/** @param known the first tails, one at least */
function continued(known: readonly Uint8Array[], caveats: readonly UnsafeCaveat[]): readonly Uint8Array[] {
  const tails = [...known];
  let tail = tails.at(-1) ?? new Uint8Array();
  for (const caveat of caveats.slice(tails.length - 1)) {
    tail = nextTail(tail, caveat);
    tails.push(tail);
  }
  return tails;
}

/** A fresh macaroon without caveats. */
export function mintMacaroon(secret: Secret, identifier: string, location = "postern"): Macaroon {
  const bytes = utf8(identifier);
  return {
    location,
    identifier: bytes,
    unsafeCaveats: [],
    signature: mac(deriveRootKey(secret), bytes),
  };
}

/** What can be added to a token: the text of a first-party caveat, or a third party's. */
export type Addition = string | ThirdPartyCaveat;

/** Adds caveats offline. Refuses what no gate would accept, so that no dead token is made. */
export function attenuate(macaroon: Macaroon, additions: readonly Addition[]): Macaroon | Refusal {
  const caveats = [...macaroon.unsafeCaveats];
  if (caveats.length + additions.length > CAVEATS_MAX)
    return refuse("token_malformed", `a token carries at most ${CAVEATS_MAX} caveats`);
  let tail = macaroon.signature;
  for (const addition of additions) {
    const caveat = linkOf(addition, tail);
    if (caveat.cid.length > CAVEAT_BYTES_MAX)
      return refuse("token_malformed", `a caveat has at most ${CAVEAT_BYTES_MAX} bytes`);
    caveats.push(caveat);
    tail = nextTail(tail, caveat);
  }
  if (caveats.filter(({ vid }) => vid !== undefined).length > DISCHARGES_MAX)
    return refuse("token_malformed", `a token carries at most ${DISCHARGES_MAX} caveats of third parties`);
  const attenuated = { ...macaroon, unsafeCaveats: caveats, signature: tail };
  return encodeV2(attenuated).length <= TOKEN_BYTES_MAX
    ? attenuated
    : refuse("token_malformed", `a token has at most ${TOKEN_BYTES_MAX} bytes`);
}

function linkOf(addition: Addition, tail: Uint8Array): UnsafeCaveat {
  if (typeof addition === "string") return { cid: utf8(addition) };
  const { location, ticket, nonce, rootKey } = addition;
  return { cid: ticket, vid: sealVid(tail, nonce, deriveRootKey(rootKey)), location };
}
