/**
 * Counts: how many calls a `uses` or `rate` caveat has let take effect on one actor.
 *
 * A count has the id of its caveat's place in the chain, as a monitor has, so all descendants share it; it changes in
 * the entry of the call that it counts, so a call without an effect does not count, and none counts twice.
 *
 * A rate keeps how many calls there were by slots of a sixteenth of its period, each call in the slot that ends after
 * it. So no stretch of time as long as the period ever has more calls than it allows, on 17 pairs of numbers whatever
 * the rate is; a call may have to wait a sixteenth longer than it must. Where a clock is set back, slots in the future
 * count until it has caught up.
 */
import type { Count } from "../authorize/values.ts";
import { type Refusal, refuse } from "../errors.ts";
import { RATE_SLOTS } from "../limits.ts";

export interface CaveatCount {
  readonly id: string;
  readonly count: Count;
  readonly caveat: { readonly index: number; readonly text: string };
  /** From here on no token with the caveat passes; `undefined` where no caveat before it expires. */
  readonly until_ms: number | undefined;
}

/** Of `uses`: `[calls]`. Of `rate`: the end of a slot in ms since the epoch and its calls, oldest first, one by one. */
export type CountState = readonly number[];

/** `[id, state, until]`: until is ms since the epoch, `null` where it counts for ever. */
export type CountRecord = readonly [id: string, state: CountState, until_ms: number | null];

/**
 * One more call on every count.
 *
 * @param states of what has been counted before
 * @returns what the counts are with it, or `caveat_denied` or `quota_exceeded` for the first that has no room
 */
export function countAll(
  counts: readonly CaveatCount[],
  states: (id: string) => CountState | undefined,
  now_ms: number,
): readonly CountRecord[] | Refusal {
  const records: CountRecord[] = [];
  for (const counted of counts) {
    const { id, count, caveat, until_ms } = counted;
    const before = states(id) ?? [];
    const { period_ms } = count;
    if (period_ms === undefined) {
      const [used = 0] = before;
      if (used >= count.most)
        return refuse("caveat_denied", `caveat ${caveat.index} forbids this call: ${usedUp(count)}`, {
          token: 0,
          caveat,
        });
      records.push([id, [used + 1], until_ms ?? null]);
      continue;
    }
    const recent = recentSlots(before, now_ms - period_ms);
    const [oldest_ms] = recent;
    if (oldest_ms !== undefined && callsIn(recent) >= count.most)
      return refuse("quota_exceeded", `caveat ${caveat.index} (${caveat.text}) allows no more calls now`, {
        token: 0,
        caveat,
        retry_after_ms: oldest_ms + period_ms - now_ms,
      });
    const state = withCall(recent, now_ms, period_ms);
    const last_ms = state.at(-2) ?? now_ms;
    // A slot that has left the period counts no more, so nothing is lost with it.
    records.push([id, state, Math.min(until_ms ?? Infinity, last_ms + period_ms)]);
  }
  return records;
}

const usedUp = ({ most }: Count): string =>
  most === 1 ? "its one use is used up" : `its ${most} uses are used up`;

/** Slots that end after this moment. */
function recentSlots(state: CountState, after_ms: number): CountState {
  let start = 0;
  while (start < state.length && (state[start] ?? 0) <= after_ms) start += 2;
  return state.slice(start);
}

function callsIn(state: CountState): number {
  return state.reduce((calls, value, index) => (index % 2 === 1 ? calls + value : calls), 0);
}

function withCall(state: CountState, now_ms: number, period_ms: number): CountState {
  const slot_ms = Math.max(1, Math.floor(period_ms / RATE_SLOTS));
  const end_ms = Math.ceil((now_ms + 1) / slot_ms) * slot_ms;
  const [last_ms = 0, calls = 0] = state.slice(-2);
  return last_ms >= end_ms ? [...state.slice(0, -1), calls + 1] : [...state, end_ms, 1];
}
