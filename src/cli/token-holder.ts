/** Whose a token is, as its text says: the key that it is bound to in the end. Offline, so no delegation is verified. */
import { type Caveat, parseCaveat } from "../authorize/caveats.ts";
import { holderProblems } from "../authorize/holders.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal } from "../errors.ts";
import type { Macaroon } from "../token/macaroon.ts";

export interface Holding {
  /** `undefined` where it is bound to none. */
  readonly key: string | undefined;
  /** Its holder caveats exclude each other, so nobody can use it. */
  readonly contradictory: boolean;
}

export function holdingOf({ unsafeCaveats }: Macaroon): Holding {
  const caveats = unsafeCaveats.flatMap(({ cid, vid }, index): Caveat[] => {
    const caveat = vid === undefined ? parseCaveat(fromUtf8(cid) ?? "", index) : undefined;
    return caveat === undefined || isRefusal(caveat) ? [] : [caveat];
  });
  const key = caveats.flatMap(({ holder, delegation }) => delegation?.to ?? holder ?? []).at(-1);
  const placed = caveats.map((caveat) => ({ caveat, tailBefore: undefined }));
  // Never asked: offline the chain's signatures are not known.
  const problems = holderProblems(placed, key ?? "", { verifyDelegation: () => true });
  return { key, contradictory: problems.size > 0 };
}
