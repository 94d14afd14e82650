/** How many caveats of one kind a token and its discharges may carry together: each costs the gate or the actor something. */
import { type Refusal, refuse } from "../errors.ts";
import {
  COUNT_CAVEATS_MAX,
  DELEGATE_CAVEATS_MAX,
  PROTOCOL_CAVEATS_MAX,
  WHEN_CAVEATS_MAX,
} from "../limits.ts";
import type { Caveat, CaveatName } from "./caveats.ts";

const MOST: Partial<Record<CaveatName, number>> = {
  protocol: PROTOCOL_CAVEATS_MAX,
  when: WHEN_CAVEATS_MAX,
  delegate: DELEGATE_CAVEATS_MAX,
  uses: COUNT_CAVEATS_MAX,
  rate: COUNT_CAVEATS_MAX,
};

/** Of one token and its discharges. */
export class CaveatTally {
  readonly #seen = new Map<CaveatName, number>();

  /** Refusal: `unknown_caveat`, where this one is too many. */
  add({ name, text }: Caveat, index: number, token = 0): Refusal | undefined {
    const count = (this.#seen.get(name) ?? 0) + 1;
    this.#seen.set(name, count);
    const most = MOST[name];
    if (most === undefined || count <= most) return undefined;
    return refuse(
      "unknown_caveat",
      `a token carries at most ${most} ${name} caveats, those of its discharges included`,
      { token, caveat: { index, text } },
    );
  }
}
