/**
 * Revoking: what an order to revoke means for one token, and how it reaches the feed and the nodes.
 *
 * The entry is durable before nodes are told, and it is told even where it was there already: whoever wrote it may
 * have died before saying so. So whoever is not sure revokes again.
 */
import { parseCaveat } from "./authorize/caveats.ts";
import { equalConstantTime, fromUtf8, toHex } from "./bytes.ts";
import { noteChange } from "./changes.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Store } from "./store/contract.ts";
import { tailsOf } from "./token/chain.ts";
import { type Keyring, verifyingKey } from "./token/keyring.ts";
import { type Macaroon, parseIdentifier, type UnsafeCaveat } from "./token/macaroon.ts";
import { type Revocation, subtreeDigest } from "./token/revocation.ts";
import { appendRevocation } from "./token/revocation-feed.ts";

export type Revoked = Pick<Revocation, "kind" | "value" | "until_ms">;

/**
 * What revokes this token as minted, or only as attenuated. The chain is checked, for a cut token would revoke
 * nothing; third parties are not asked. Refusal: `token_invalid`.
 */
export function revocationOf(
  macaroon: Macaroon,
  ring: Keyring,
  reach: "token" | "subtree",
): Revoked | Refusal {
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined) return refuse("token_invalid", "the token's identifier is not Postern's");
  const key = verifyingKey(ring, identifier.kid);
  if (key === undefined)
    return refuse(
      "token_invalid",
      `the token's key ${identifier.kid} is not in use: no gate takes it anyway`,
    );
  const tail = tailsOf(key.secret, macaroon.identifier, macaroon.unsafeCaveats).at(-1);
  if (tail === undefined || !equalConstantTime(tail, macaroon.signature))
    return refuse("token_invalid", "the token's signature chain does not verify");
  // Without a caveat nothing is above it: the subtree is the whole tree.
  if (reach === "token" || macaroon.unsafeCaveats.length === 0)
    // For ever: whoever holds an ancestor of this token may hold one that expires later.
    return { kind: "token", value: identifier.nonce };
  const until_ms = expiryOf(macaroon.unsafeCaveats);
  return { kind: "subtree", value: subtreeDigest(tail), ...(until_ms !== undefined && { until_ms }) };
}

/** When the token expires, and with it all that descend from it. */
function expiryOf(caveats: readonly UnsafeCaveat[]): number | undefined {
  const ends_ms = caveats.flatMap(({ cid, vid }, index) => {
    const caveat = vid === undefined ? parseCaveat(fromUtf8(cid) ?? "", index) : undefined;
    return caveat === undefined || isRefusal(caveat) ? [] : (caveat.expires_ms ?? []);
  });
  return ends_ms.length === 0 ? undefined : Math.min(...ends_ms);
}

/** @returns whether it is new. Refusals: `store_unavailable`, `quota_exceeded`. */
export async function revoke(
  store: Store,
  tenant: string,
  entry: Revocation,
  { now_ms, random }: { readonly now_ms: number; readonly random: (length: number) => Uint8Array },
): Promise<boolean | Refusal> {
  const added = await appendRevocation(store, tenant, entry, { now_ms, nonce: () => toHex(random(16)) });
  if (isRefusal(added)) return added;
  return (await noteChange(store, tenant, random)) ?? added;
}
