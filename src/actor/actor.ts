/**
 * One actor, and what an entry does to it: the only way in which an actor changes, live and at recovery alike.
 */
import type { CountState } from "./counts.ts";
import { type Entry, replyOf } from "./entry.ts";
import { PerRoot } from "./per-root.ts";
import { Replies } from "./replies.ts";

/** Where the monitor of the actor's behaviour stands. */
export interface Behaviour {
  /** What the actor began under, or has become since. */
  readonly expression: string;
  readonly state: number;
  /** Digest of the token that moved it last; `undefined` where none has. */
  readonly by: string | undefined;
  /** Of what it has become; `undefined` for what it began under. */
  readonly name: string | undefined;
}

export interface MonitorState {
  readonly state: number;
  /** ms since the epoch; `null` where no caveat before it expires. */
  readonly until_ms: number | null;
  /** Digest of the token that moved it last. */
  readonly by: string;
}

export interface Actor {
  /** JSON text; `undefined` until a turn has set it. */
  state: string | undefined;
  /**
   * `undefined` until the actor has begun, which is when its behaviour leaves the start, a state is set or it becomes
   * something: before that there is nothing to hold it to.
   */
  behaviour: Behaviour | undefined;
  /** Monitors of protocol caveats that have left their start. */
  readonly monitors: PerRoot<MonitorState>;
  /** Of `uses` and `rate` caveats: calls that took effect. */
  readonly counts: PerRoot<{ readonly state: CountState; readonly until_ms: number | null }>;
  readonly replies: Replies;
}

/** One never met has no state and stands at the start of everything. */
export function blank(): Actor {
  return {
    state: undefined,
    behaviour: undefined,
    monitors: new PerRoot(),
    counts: new PerRoot(),
    replies: new Replies(),
  };
}

/** @param state the new one; `undefined` where the turn left it as it was */
export function take(actor: Actor, entry: Entry, state: string | undefined): void {
  if (state !== undefined) actor.state = state;
  const behaviour = moved(actor.behaviour, entry);
  const begun = actor.state !== undefined || behaviour.state !== 0 || behaviour.name !== undefined;
  actor.behaviour = begun ? behaviour : undefined;
  const [root, by] = entry.token;
  actor.monitors.forget(entry.at);
  // One that has come back to its start is like one never seen.
  for (const [id, at, until_ms] of entry.monitors)
    actor.monitors.set(root, id, at === 0 ? undefined : { state: at, until_ms, by });
  actor.counts.forget(entry.at);
  for (const [id, counted, until_ms] of entry.counts ?? [])
    actor.counts.set(root, id, { state: counted, until_ms });
  actor.replies.forget(entry.at);
  if (entry.kept !== undefined) {
    const [key, digest, until_ms] = entry.kept;
    actor.replies.set(key, { digest, reply: replyOf(entry), until_ms });
  }
}

function moved(before: Behaviour | undefined, { behaviour, token }: Entry): Behaviour {
  const [expression, state, name] = behaviour;
  const stays =
    before === undefined
      ? state === 0 && name === undefined
      : state === before.state && expression === before.expression;
  return { expression, state, by: stays ? before?.by : token[1], name };
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
