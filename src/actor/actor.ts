/**
 * One actor, and what an entry does to it: the only way in which an actor changes, live and at recovery alike.
 */
import { type HeldCapability, heldAfter, sealedFor } from "./capabilities.ts";
import type { CountState } from "./counts.ts";
import { type Delivery, type Entry, isDelivery, replyOf } from "./entry.ts";
import { Outbox, referred } from "./outbox.ts";
import { PerRoot } from "./per-root.ts";
import { Replies } from "./replies.ts";
import { Senders } from "./senders.ts";

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
  /** Those that its state refers to, by id. */
  capabilities: ReadonlyMap<number, HeldCapability>;
  readonly outbox: Outbox;
  /** The actors whose sends it has taken. */
  readonly senders: Senders;
  /** Numbers that were never used: of a capability, of a send. */
  readonly next: { capability: number; send: number };
}

/** One never met has no state and stands at the start of everything. */
export function blank(): Actor {
  return {
    state: undefined,
    behaviour: undefined,
    monitors: new PerRoot(),
    counts: new PerRoot(),
    replies: new Replies(),
    capabilities: new Map(),
    outbox: new Outbox(),
    senders: new Senders(),
    next: { capability: 0, send: 0 },
  };
}

/** @param state the new one; `undefined` where the turn left it as it was */
export function take(actor: Actor, entry: Entry | Delivery, state: string | undefined): void {
  if (isDelivery(entry)) actor.outbox.delete(entry.delivered[0]);
  else takeCall(actor, entry, state);
}

function takeCall(actor: Actor, entry: Entry, state: string | undefined): void {
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
    const reply = replyOf(entry);
    const caps = sealedFor(reply, actor.capabilities, entry.caps ?? []);
    actor.replies.set(key, { digest, reply, caps, until_ms });
  }
  actor.senders.forget(entry.at);
  if (entry.sender !== undefined) actor.senders.set(entry.sender);
  takeCapabilities(actor, entry);
}

/** What came with a call and what it sent; the sends keep what they refer to, whatever becomes of the state. */
function takeCapabilities(actor: Actor, { at, caps = [], holds, sends = [] }: Entry): void {
  for (const record of sends) {
    actor.outbox.add({ record, caps: sealedFor(referred(record), actor.capabilities, caps), at_ms: at });
    actor.next.send = record[0] + 1;
  }
  if (holds !== undefined) actor.capabilities = heldAfter(actor.capabilities, caps, holds);
  for (const [{ id }] of caps) actor.next.capability = id + 1;
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
export function bytesOf(actor: Actor): number {
  const { state, monitors, counts, replies, capabilities, outbox, senders } = actor;
  // A count is an array of up to 34 numbers: two items.
  const counted = monitors.size + 2 * counts.size + replies.size + senders.size;
  let texts = (state?.length ?? 0) + replies.bytes + outbox.length;
  for (const { sealed } of capabilities.values()) texts += sealed.length;
  return ACTOR_BYTES + (counted + capabilities.size + outbox.size) * ITEM_BYTES + texts;
}
