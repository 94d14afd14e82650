/** A tenant's token, verified: its chain of HMACs, and that nothing of it was revoked. */
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Tenant } from "./tenants.ts";
import type { Tokens } from "./token/envelope.ts";
import { verifyingKey } from "./token/keyring.ts";
import { parseIdentifier, type VerifiedMacaroon } from "./token/macaroon.ts";
import type { PrefixCache } from "./token/prefix-cache.ts";
import { verify } from "./token/verify.ts";

export interface KnownToken {
  readonly token: VerifiedMacaroon;
  /** Keeps its prefixes for the next time; for who has shown that he may use it. */
  readonly keep: () => void;
}

/** @param signer the key that uses it */
export function verifyToken(
  { prefixes }: { readonly prefixes: PrefixCache },
  tenant: Tenant,
  [macaroon, ...discharges]: Tokens,
  signer: string,
): KnownToken | Refusal {
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined || identifier.tenant !== tenant.name)
    return refuse("token_invalid", `the token was not minted by tenant ${tenant.name}`, { token: 0 });
  const key = verifyingKey(tenant.keyring, identifier.kid);
  if (key === undefined)
    return refuse("token_invalid", `the token's key ${identifier.kid} is not in use`, { token: 0 });
  const chain = prefixes.chainOf(identifier, key.secret, macaroon);
  const token = verify(macaroon, key.secret, discharges, chain.tails);
  if (isRefusal(token)) return token;
  const revoked = tenant.revoked.refuse(token, signer);
  if (revoked === undefined) return { token, keep: () => chain.keep() };
  chain.forget(revoked);
  return revoked;
}
