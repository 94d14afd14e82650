/**
 * Handing a bound token on to another key, offline: only its holder can, and the new holder alone can use what comes out.
 *
 * Restrictions given here stand before the delegation, so the holder's signature covers them: whoever gets hold of the
 * token as it was before cannot put the delegation on it and leave them out. Who kept that token keeps what it was
 * worth; to take it back is a revocation.
 */
import { formatCaveat, parseCaveat } from "../authorize/caveats.ts";
import { holderProblems } from "../authorize/holders.ts";
import { fromUtf8, toHex } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { HOLDER } from "../names.ts";
import { narrow } from "../narrow.ts";
import { delegationMessage } from "../signature/holder.ts";
import type { Signer } from "../signature/scheme.ts";
import type { Addition } from "../token/chain.ts";
import { decodeToken, encodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";

export interface DelegateOptions {
  /** Further caveats, as text or prepared by `postern/third-party`, written before the delegation. */
  readonly caveats?: readonly Addition[];
}

/**
 * @param token in any form that a gate reads
 * @param to the new holder's public key, as `postern keygen` prints it
 * @param holder the present holder's signer
 * @returns the token for the new holder; `malformed_request` where the signer is not the holder, or the key is none
 */
export function delegateToken(
  token: string,
  to: string,
  holder: Signer,
  options: DelegateOptions = {},
): string | Refusal {
  const macaroon = decodeToken(token);
  if (isRefusal(macaroon)) return macaroon;
  const delegated = delegate(macaroon, to, holder, options);
  return isRefusal(delegated) ? delegated : encodeToken(delegated);
}

/** A capability as it stands in a call's arguments, in the place of any value. */
export type Capability = { readonly $cap: string };

/**
 * A token as an argument: handed to an actor, who alone can use it then.
 *
 * @param token bound to the holder's key, or to none
 * @param actorKey the actor's public key, `key` in its `Description`
 * @returns or `malformed_request`, as from `delegateToken`
 */
export function capability(
  token: string,
  actorKey: string,
  holder: Signer,
  options: DelegateOptions = {},
): Capability | Refusal {
  const macaroon = decodeToken(token);
  if (isRefusal(macaroon)) return macaroon;
  const given = give(macaroon, actorKey, holder, options);
  return isRefusal(given) ? given : { $cap: encodeToken(given) };
}

/** Binds a token to another key, whether it was bound before or not. */
export function give(
  macaroon: Macaroon,
  to: string,
  holder: Signer,
  options: DelegateOptions = {},
): Macaroon | Refusal {
  const isBound = macaroon.unsafeCaveats.some(
    ({ cid, vid }) => vid === undefined && fromUtf8(cid)?.startsWith("holder ") === true,
  );
  if (isBound) return delegate(macaroon, to, holder, options);
  if (!HOLDER.test(to)) return noKey(to);
  return narrow(macaroon, [...(options.caveats ?? []), formatCaveat("holder", to)]);
}

function noKey(text: string): Refusal {
  return refuse("malformed_request", `${JSON.stringify(text)} is not a public key as a holder caveat has it`);
}

/** `delegateToken` for what is decoded already. */
export function delegate(
  macaroon: Macaroon,
  to: string,
  holder: Signer,
  { caveats = [] }: DelegateOptions = {},
): Macaroon | Refusal {
  if (!HOLDER.test(to)) return noKey(to);
  const narrowed = narrow(macaroon, caveats);
  if (isRefusal(narrowed)) return narrowed;
  const misfit = refuseOther(narrowed, holder.publicKey);
  if (misfit !== undefined) return misfit;
  const signature = holder.sign(delegationMessage(narrowed.signature, to));
  return narrow(narrowed, [formatCaveat("delegate", `${to} ${toHex(signature)}`)]);
}

/** Refuses to sign for a token that is not this key's: no gate would take what comes out. */
function refuseOther({ unsafeCaveats }: Macaroon, key: string): Refusal | undefined {
  const chain = [];
  for (const [index, { cid, vid }] of unsafeCaveats.entries()) {
    if (vid !== undefined) continue; // A third party says nothing about the holder.
    const caveat = parseCaveat(fromUtf8(cid) ?? "", index);
    if (isRefusal(caveat)) return caveat;
    chain.push({ caveat, tailBefore: undefined });
  }
  if (chain.every(({ caveat }) => caveat.holder === undefined))
    return refuse(
      "malformed_request",
      "the token is bound to no key, so there is nothing to hand on: attenuate it with a holder instead",
    );
  // The chain's own signatures are not known offline; the gate verifies the delegations before this one.
  const [reason] = holderProblems(chain, key, { verifyDelegation: () => true }).values();
  return reason === undefined
    ? undefined
    : refuse("malformed_request", `this key cannot hand the token on: ${reason}`);
}
