/**
 * From a claim to a fact: the only place where a `VerifiedMacaroon` is made.
 *
 * Verified means: the chain was recomputed from the tenant's key over the received bytes and ends in the
 * presented signature, and every caveat is one that a gate can be asked about. It does not mean allowed:
 * `authorize` asks each caveat.
 */
import { equalConstantTime, fromUtf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { tailsOf } from "./chain.ts";
import { type Macaroon, parseIdentifier, type VerifiedCaveat, type VerifiedMacaroon } from "./macaroon.ts";

/**
 * Refusals: `token_invalid`, `discharge_missing`, `unknown_caveat`.
 *
 * @param tails of this macaroon's chain under this secret, where they are known
 */
export function verify(
  macaroon: Macaroon,
  secret: Secret,
  discharges: readonly Macaroon[] = [],
  tails = tailsOf(secret, macaroon.identifier, macaroon.unsafeCaveats),
): VerifiedMacaroon | Refusal {
  const last = tails.at(-1);
  if (last === undefined || !equalConstantTime(last, macaroon.signature))
    return refuse(
      "token_invalid",
      "the token's signature chain does not verify: it was changed or not minted here",
    );
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined) return refuse("token_invalid", "the token's identifier is not Postern's");

  const caveats: VerifiedCaveat[] = [];
  for (const [index, caveat] of macaroon.unsafeCaveats.entries()) {
    const text = fromUtf8(caveat.cid);
    if (caveat.vid !== undefined) return missingDischarge(index, caveat.location);
    const [tailBefore, tail] = [tails[index], tails[index + 1]];
    if (text === undefined || tail === undefined || tailBefore === undefined)
      return refuse("unknown_caveat", `caveat ${index} is refused because it is not UTF-8 text`, {
        token: 0,
        caveat: { index, text: "(not UTF-8)" },
      });
    caveats.push({ index, text, tail, tailBefore });
  }
  if (discharges.length > 0)
    return refuse("token_invalid", "the request carries a discharge that no caveat asks for", { token: 1 });
  // The one cast of this type: what stands above is what it claims.
  return { identifier, caveats } as unknown as VerifiedMacaroon;
}

function missingDischarge(index: number, location: string | undefined): Refusal {
  const place = location ?? "(no location)";
  return refuse("discharge_missing", `caveat ${index} needs a discharge from ${JSON.stringify(place)}`, {
    token: 0,
    caveat: { index, text: `third party ${place}` },
  });
}
