/**
 * Who must sign, as all the `holder` and `delegate` caveats of a chain have it together.
 *
 * At each place of the chain a token is bound to one key or to none. The first `holder` binds it; a later one must name
 * the same key, for a request has one signer: bound to two keys a token is nobody's. `delegate` binds it to another
 * key, and stands only where the key before has signed just that: this chain up to here, for this key. So only a holder
 * can hand a token on, everything that stood before still holds, and who kept the token as it was before has no less
 * and no more than he had.
 */
import type { Caveat } from "./caveats.ts";

export interface Delegations {
  /** Has `holder` signed that the chain whose signature so far is `tail` goes to `to`? */
  verifyDelegation(holder: string, tail: Uint8Array, to: string, signature: Uint8Array): boolean;
}

/** A caveat in its place. */
export interface Placed {
  readonly caveat: Caveat;
  /** The chain signature before it; `undefined` where it is not known, as offline. Then no signature is checked. */
  readonly tailBefore: Uint8Array | undefined;
}

/**
 * @param chain all caveats, in order
 * @returns by index, why a caveat of these two kinds prohibits that this key signs; nothing where none does
 */
export function holderProblems(
  chain: readonly Placed[],
  signer: string,
  delegations: Delegations,
): ReadonlyMap<number, string> {
  const problems = new Map<number, string>();
  const handovers: { index: number; from: string; placed: Placed }[] = [];
  let current: string | undefined;
  let boundBy = -1;
  for (const [index, placed] of chain.entries()) {
    const { holder, delegation } = placed.caveat;
    if (holder !== undefined) {
      if (current !== undefined && current !== holder)
        problems.set(index, "the token is bound to another key already, so nobody can use it");
      if (current === undefined) [current, boundBy] = [holder, index];
    }
    if (delegation === undefined) continue;
    if (current === undefined)
      problems.set(index, "there is no holder before it who could hand the token on");
    else handovers.push({ index, from: current, placed });
    [current, boundBy] = [delegation.to, index];
  }
  if (current !== undefined && current !== signer)
    problems.set(boundBy, "the request is signed by another key than the holder's");
  // Signatures cost a millisecond each: only for who has the right key, on a chain that hangs together.
  if (problems.size > 0) return problems;
  for (const { index, from, placed } of handovers) {
    const { caveat, tailBefore } = placed;
    if (caveat.delegation === undefined || tailBefore === undefined) continue;
    const { to, signature } = caveat.delegation;
    if (!delegations.verifyDelegation(from, tailBefore, to, signature))
      problems.set(index, "it is not signed by the holder before it, for this token as it stood then");
  }
  return problems;
}
