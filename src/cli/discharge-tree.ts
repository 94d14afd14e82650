/** Which discharge belongs to which caveat, as the tickets say it. Offline, so none of them is verified. */
import { sameBytes } from "../bytes.ts";
import type { Macaroon } from "../token/macaroon.ts";

export interface DischargeTree {
  /** The index in the request of a third-party caveat's discharge; `undefined` where it is missing. */
  answerTo(token: number, caveat: number): number | undefined;
  /** Indices of those that no caveat asks for. */
  readonly unused: readonly number[];
}

export function dischargeTree(root: Macaroon, discharges: readonly Macaroon[]): DischargeTree {
  const answers = new Map<string, number>();
  const reached = [0];
  // The gate goes the same way: level by level, the first that is not used yet.
  for (const token of reached) {
    const { unsafeCaveats } = discharges[token - 1] ?? root;
    for (const [index, { cid, vid }] of unsafeCaveats.entries()) {
      if (vid === undefined) continue;
      const at = discharges.findIndex(
        ({ identifier }, place) => !reached.includes(place + 1) && sameBytes(identifier, cid),
      );
      if (at < 0) continue;
      answers.set(`${token}/${index}`, at + 1);
      reached.push(at + 1);
    }
  }
  return {
    answerTo: (token, caveat) => answers.get(`${token}/${caveat}`),
    unused: [...discharges.keys()].map((at) => at + 1).filter((token) => !reached.includes(token)),
  };
}
