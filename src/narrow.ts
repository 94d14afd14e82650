/**
 * Adds caveats to a token offline, as far as gates take them: what is one too many is refused here, where it can still be
 * left out. Once it is on the chain, nobody can take it away.
 */
import { parseCaveat } from "./authorize/caveats.ts";
import { CaveatTally } from "./authorize/most.ts";
import { fromUtf8 } from "./bytes.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { type Addition, attenuate } from "./token/chain.ts";
import type { Macaroon } from "./token/macaroon.ts";

/** @returns the narrower token; `unknown_caveat` where a gate would count too many of a kind; refusals of `attenuate` */
export function narrow(macaroon: Macaroon, additions: readonly Addition[]): Macaroon | Refusal {
  const narrowed = attenuate(macaroon, additions);
  if (isRefusal(narrowed)) return narrowed;
  const tally = new CaveatTally();
  for (const [index, { cid, vid }] of narrowed.unsafeCaveats.entries()) {
    if (vid !== undefined) continue; // A third party's.
    const caveat = parseCaveat(fromUtf8(cid) ?? "", index);
    // What is not understood was so before, and is counted nowhere.
    const tooMany = isRefusal(caveat) ? undefined : tally.add(caveat, index);
    if (tooMany !== undefined) return tooMany;
  }
  return narrowed;
}
