/** How often each thing happened, over many seeds: a simulation in which nothing goes wrong proves nothing. */
import { EVENTS, REQUEST_FAULTS } from "./profile.ts";

/** All that is counted. None of it may be rare. */
const COUNTED = [
  ...REQUEST_FAULTS,
  "read failed",
  "forward lost",
  "slot lost",
  ...EVENTS,
  // How processes end by themselves.
  "not started",
  "declared dead",
  "left",
  // Who owns what.
  "opened",
  "not opened",
  "handed over",
  "taken over",
  "buried",
  "closed: not_leader",
  "closed: store_unavailable",
  // What becomes of slots.
  "void",
  "checkpoint",
  "pages doubled",
  "collected",
  // Calls between nodes, and what callers were told.
  "forwarded",
  "redirected",
  "delivered",
  "acknowledged",
  "kept",
  "handler_error",
  "out_of_order",
  "outcome_unknown",
  "deadline",
  "not_leader",
  "store_unavailable",
] as const;
export type Counted = (typeof COUNTED)[number];

export class Tally {
  readonly #times = new Map<string, number>(COUNTED.map((what) => [what, 0]));
  /** The longest that a cluster took to serve everything again after its last fault, in TTLs. */
  recoversTtlMax = 0;

  count(what: Counted): void {
    this.#times.set(what, (this.#times.get(what) ?? 0) + 1);
  }

  get times(): readonly (readonly [what: string, times: number])[] {
    return [...this.#times];
  }
}

export function isCounted(what: string): what is Counted {
  return COUNTED.some((counted) => counted === what);
}
