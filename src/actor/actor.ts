/**
 * One actor, and what an entry does to it: the only way in which an actor changes, live and at recovery alike.
 */
import { CLOCK_SKEW_S_MAX, COUNTS_PER_ACTOR_MAX, MONITORS_PER_ACTOR_MAX } from "../limits.ts";
import type { CountState } from "./counts.ts";
import type { Entry } from "./entry.ts";
import { Replies } from "./replies.ts";

export interface Actor {
  /** JSON text; `undefined` until a turn has set it. */
  state: string | undefined;
  /**
   * The expression that the actor began under, and where its monitor stands. `undefined` until it has begun, which is
   * when its behaviour leaves the start or a state is set: before that there is nothing to hold it to.
   */
  behaviour: readonly [expression: string, state: number] | undefined;
  /** Monitors of protocol caveats that have left their start. */
  readonly monitors: Map<string, { readonly state: number; readonly until_ms: number | null }>;
  /** Of `uses` and `rate` caveats: calls that took effect. */
  readonly counts: Map<string, { readonly state: CountState; readonly until_ms: number | null }>;
  readonly replies: Replies;
}

/** One never met has no state and stands at the start of everything. */
export function blank(): Actor {
  return {
    state: undefined,
    behaviour: undefined,
    monitors: new Map(),
    counts: new Map(),
    replies: new Replies(),
  };
}

/** @param state the new one; `undefined` where the turn left it as it was */
export function take(actor: Actor, entry: Entry, state: string | undefined): void {
  if (state !== undefined) actor.state = state;
  const begun = actor.state !== undefined || entry.behaviour[1] !== 0;
  actor.behaviour = begun ? entry.behaviour : undefined;
  const { monitors, counts = [] } = entry;
  if (actor.monitors.size + monitors.length > MONITORS_PER_ACTOR_MAX) forget(actor.monitors, entry.at);
  for (const [id, at, until_ms] of monitors) actor.monitors.set(id, { state: at, until_ms });
  if (actor.counts.size + counts.length > COUNTS_PER_ACTOR_MAX) forget(actor.counts, entry.at);
  for (const [id, counted, until_ms] of counts) actor.counts.set(id, { state: counted, until_ms });
  actor.replies.forget(entry.at);
  if (entry.kept !== undefined) {
    const [key, digest, until_ms] = entry.kept;
    actor.replies.set(key, { digest, reply: entry.reply, until_ms });
  }
}

/** What can be forgotten when it is over. */
type Passing = Map<string, { readonly until_ms: number | null }>;

function forget(passing: Passing, now_ms: number): void {
  for (const [id, { until_ms }] of passing) {
    if (isOver(until_ms, now_ms)) passing.delete(id);
  }
}

/**
 * Is there no room for these? Anyone may attenuate new ones into being, so their number is bounded, those that are over
 * not counted.
 */
export function isCrowded(
  passing: Passing,
  records: readonly (readonly [id: string, ...rest: readonly unknown[]])[],
  most: number,
  now_ms: number,
): boolean {
  const added = records.filter(([id]) => !passing.has(id)).length;
  if (added === 0 || passing.size + added <= most) return false;
  const left = [...passing.values()].filter(({ until_ms }) => !isOver(until_ms, now_ms)).length;
  return left + added > most;
}

/** No token passes the caveat any more, also on a node whose clock is behind. */
export function isOver(until_ms: number | null, now_ms: number): boolean {
  return until_ms !== null && until_ms + CLOCK_SKEW_S_MAX * 1000 <= now_ms;
}

/** An actor without anything, and what a monitor or a kept reply takes beside its text: measured on V8, rounded up. */
const ACTOR_BYTES = 1024;
const ITEM_BYTES = 256;

/** About what the actor takes in memory. */
export function bytesOf({ state, monitors, counts, replies }: Actor): number {
  // A count is an array of up to 34 numbers: two items.
  const items = monitors.size + 2 * counts.size + replies.size;
  return ACTOR_BYTES + items * ITEM_BYTES + (state?.length ?? 0) + replies.bytes;
}
