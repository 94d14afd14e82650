/**
 * Adding a third party's caveat, offline: from then on the token is worth something only beside that party's discharge.
 *
 * Nobody is asked: the party's public key is enough. What comes after the caveat narrows the token as ever; who kept the
 * token as it was before needs no discharge.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { attenuate } from "../token/chain.ts";
import { decodeToken, encodeToken } from "../token/envelope.ts";
import { type ThirdPartyCaveat, thirdPartyCaveat } from "../token/third-party.ts";
import { readServicePublicKey } from "./service-key.ts";

export type { ThirdPartyCaveat } from "../token/third-party.ts";
export { newServiceKey } from "./service-key.ts";

export interface ThirdPartyInput {
  /** Where clients find the service, as in `https://approvals.example`: they ask at `/discharge` below it. */
  readonly location: string;
  /** `x25519:…`, the service's. */
  readonly publicKey: string;
  /** What it is asked to vouch for, in words that it understands; nobody else can read them. */
  readonly condition: string;
}

/**
 * @param token in any form that a gate reads
 * @param random fresh random bytes
 * @returns the narrower token; `malformed_request` where location, key or condition are none
 */
export function addThirdParty(
  token: string,
  party: ThirdPartyInput,
  random: (length: number) => Uint8Array,
): string | Refusal {
  const macaroon = decodeToken(token);
  if (isRefusal(macaroon)) return macaroon;
  const caveat = prepareThirdParty(party, random);
  if (isRefusal(caveat)) return caveat;
  const narrowed = attenuate(macaroon, [caveat]);
  return isRefusal(narrowed) ? narrowed : encodeToken(narrowed);
}

/** The caveat by itself: where caveats are taken as texts, it can stand among them, in a delegation say. */
export function prepareThirdParty(
  { location, publicKey, condition }: ThirdPartyInput,
  random: (length: number) => Uint8Array,
): ThirdPartyCaveat | Refusal {
  const key = readServicePublicKey(publicKey);
  if (key === undefined)
    return refuse("malformed_request", `a service's public key is x25519: and 64 hex digits`);
  return thirdPartyCaveat({ location, publicKey: key, condition }, random);
}
