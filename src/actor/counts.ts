/**
 * Counts: how many calls a `uses` or `rate` caveat has let take effect on one actor; each call of a batch is one.
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
import { caveatName, type Refusal, refuse } from "../errors.ts";
import { RATE_SLOTS } from "../limits.ts";

export interface CaveatCount {
  readonly id: string;
  readonly count: Count;
  /** Which macaroon of the request has the caveat: 0 is the root. */
  readonly token: number;
  readonly caveat: { readonly index: number; readonly text: string };
  /** From here on no token with the caveat passes; `undefined` where no caveat before it expires. */
  readonly until_ms: number | undefined;
}

/** Of `uses`: `[calls]`. Of `rate`: the end of a slot in ms since the epoch and its calls, oldest first, one by one. */
export type CountState = readonly number[];

/** `[id, state, until]`: until is ms since the epoch, `null` where it counts for ever. */
export type CountRecord = readonly [id: string, state: CountState, until_ms: number | null];

/**
 * So many more calls on every count: one for each message of a word.
 *
 * @param states of what has been counted before
 * @returns what the counts are with them, or the refusal of the first that has no room: `caveat_denied` where no later
 *   try can help, else `quota_exceeded`. Of a batch it names the first call that has none.
 */
export function countAll(
  { counts, word, batch, now_ms }: Counted,
  states: (id: string) => CountState | undefined,
): readonly CountRecord[] | Refusal {
  const records: CountRecord[] = [];
  for (const counted of counts) {
    const { count, id } = counted;
    const more = { counted, before: states(id) ?? [], calls: word.length, now_ms };
    const record = count.period_ms === undefined ? useUp(more) : keepRate(more, count.period_ms);
    if (!(record instanceof NoRoom)) records.push(record);
    else return batch ? record.refusal.with({ call: record.room }) : record.refusal;
  }
  return records;
}

/** The part of a call that counts look at. */
interface Counted {
  readonly counts: readonly CaveatCount[];
  readonly word: { readonly length: number };
  readonly batch: boolean;
  readonly now_ms: number;
}

interface More {
  readonly counted: CaveatCount;
  readonly before: CountState;
  readonly calls: number;
  readonly now_ms: number;
}

class NoRoom {
  readonly refusal: Refusal;
  /** For so many of the calls there is room. */
  readonly room: number;

  constructor(refusal: Refusal, room: number) {
    this.refusal = refusal;
    this.room = room;
  }
}

function useUp({ counted, before: [used = 0], calls }: More): CountRecord | NoRoom {
  const { id, count, until_ms } = counted;
  if (used + calls <= count.most) return [id, [used + calls], until_ms ?? null];
  const left = count.most - used;
  const all = count.most === 1 ? "its one use is used up" : `its ${count.most} uses are used up`;
  return new NoRoom(denied(counted, left <= 0 ? all : `${left} of its ${count.most} uses are left`), left);
}

function keepRate({ counted, before, calls, now_ms }: More, period_ms: number): CountRecord | NoRoom {
  const { id, count, token, caveat, until_ms } = counted;
  const recent = recentSlots(before, now_ms - period_ms);
  const room = count.most - callsIn(recent);
  if (calls <= room) {
    const state = withCalls(recent, calls, now_ms, period_ms);
    // A slot that has left the period counts no more, so nothing is lost with it.
    return [id, state, Math.min(until_ms ?? Infinity, (state.at(-2) ?? now_ms) + period_ms)];
  }
  if (calls > count.most) return new NoRoom(denied(counted, `it allows no ${calls} calls at once`), room);
  const detail = `${caveatName(caveat.index, token)} (${caveat.text}) allows no more calls now`;
  const retry_after_ms = roomAt(recent, calls - room) + period_ms - now_ms;
  return new NoRoom(refuse("quota_exceeded", detail, { token, caveat, retry_after_ms }), room);
}

function denied({ token, caveat }: CaveatCount, reason: string): Refusal {
  const detail = `${caveatName(caveat.index, token)} forbids this call: ${reason}`;
  return refuse("caveat_denied", detail, { token, caveat });
}

/** The end of the slot with which so many calls have left. */
function roomAt(state: CountState, calls: number): number {
  let left = calls;
  for (let at = 0; at < state.length; at += 2) {
    left -= state[at + 1] ?? 0;
    if (left <= 0) return state[at] ?? 0;
  }
  throw new Error("fewer calls were counted than must leave");
}

/** Slots that end after this moment. */
function recentSlots(state: CountState, after_ms: number): CountState {
  let start = 0;
  while (start < state.length && (state[start] ?? 0) <= after_ms) start += 2;
  return state.slice(start);
}

function callsIn(state: CountState): number {
  return state.reduce((calls, value, index) => (index % 2 === 1 ? calls + value : calls), 0);
}

function withCalls(state: CountState, more: number, now_ms: number, period_ms: number): CountState {
  const slot_ms = Math.max(1, Math.floor(period_ms / RATE_SLOTS));
  const end_ms = Math.ceil((now_ms + 1) / slot_ms) * slot_ms;
  const [last_ms = 0, calls = 0] = state.slice(-2);
  return last_ms >= end_ms ? [...state.slice(0, -1), calls + more] : [...state, end_ms, more];
}
