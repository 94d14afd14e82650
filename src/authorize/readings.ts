/**
 * What was read of caveats, kept for as long as the prefix cache keeps their places: a warm call reads none again, and
 * verifies no delegation again.
 *
 * A reading hangs on the tail of its caveat, by identity, so it goes where the tail goes and no other chain can meet
 * it. Tails that nothing keeps are garbage after their call, and their readings with them.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import type { VerifiedCaveat } from "../token/macaroon.ts";
import { type Caveat, parseCaveat } from "./caveats.ts";
import type { Delegations } from "./holders.ts";

export class Readings {
  readonly #byTail = new WeakMap<Uint8Array, Caveat>();
  /** Signatures of delegations that were verified. */
  readonly #held = new WeakSet<Uint8Array>();

  /** Refusal: `unknown_caveat`. */
  read({ text, index, tail }: VerifiedCaveat, token: number): Caveat | Refusal {
    const known = this.#byTail.get(tail);
    if (known !== undefined) return known;
    const caveat = parseCaveat(text, index, token);
    if (!isRefusal(caveat)) this.#byTail.set(tail, caveat);
    return caveat;
  }

  /**
   * The same judge, who is not asked again about a delegation that held. The signature of a reading is an object of one
   * place in one chain, so who signed there, what and for whom is always the same.
   */
  remembering(delegations: Delegations): Delegations {
    return {
      verifyDelegation: (holder, tail, to, signature) => {
        if (this.#held.has(signature)) return true;
        const holds = delegations.verifyDelegation(holder, tail, to, signature);
        if (holds) this.#held.add(signature);
        return holds;
      },
    };
  }
}

/** Bytes for each character, at most as measured: a syntax tree with its plan, ranges of addresses, anything else. */
const CONDITION_BYTES = 400;
const RANGE_BYTES = 64;
const OTHER_BYTES = 8;
const READING_BYTES = 512;

/** What a reading of this text takes, about and rather too much. */
export function readingBytes(text: string): number {
  if (text.startsWith("when ")) return READING_BYTES + CONDITION_BYTES * text.length;
  return READING_BYTES + (text.startsWith("client_ip ") ? RANGE_BYTES : OTHER_BYTES) * text.length;
}
