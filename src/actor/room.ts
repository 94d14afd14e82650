/** Whether an actor has room for what a call would leave with it: states of caveats, a kept reply. */
import { type Refusal, refuse } from "../errors.ts";
import {
  COUNTS_PER_ACTOR_MAX,
  COUNTS_PER_ROOT_MAX,
  MONITORS_PER_ACTOR_MAX,
  MONITORS_PER_ROOT_MAX,
} from "../limits.ts";
import type { Actor } from "./actor.ts";
import type { CountRecord } from "./counts.ts";
import type { MonitorRecord } from "./entry.ts";
import { crowded } from "./per-root.ts";
import type { Call } from "./shard.ts";

const PROTOCOLS = {
  perRoot: MONITORS_PER_ROOT_MAX,
  perActor: MONITORS_PER_ACTOR_MAX,
  what: "protocols in progress",
};
const COUNTS = {
  perRoot: COUNTS_PER_ROOT_MAX,
  perActor: COUNTS_PER_ACTOR_MAX,
  what: "uses and rates counted",
};

/** For the states that the call would leave for its caveats. */
export function noRoom(
  actor: Actor,
  { token: { root }, now_ms }: Call,
  monitors: readonly MonitorRecord[],
  counts: readonly CountRecord[],
): Refusal | undefined {
  const begun = monitors.filter(([id, state]) => state !== 0 && actor.monitors.get(root, id) === undefined);
  const counted = counts.filter(([id]) => actor.counts.get(root, id) === undefined);
  return (
    crowded(actor.monitors, root, begun.length, PROTOCOLS, now_ms) ??
    crowded(actor.counts, root, counted.length, COUNTS, now_ms)
  );
}

/** For what the call would leave so that it never takes effect twice: a reply, or the number of a send. */
export function fullLedger(actor: Actor, { idempotency, sender, now_ms }: Call): Refusal | undefined {
  if (sender !== undefined && actor.senders.isFull(sender.key, now_ms))
    return refuse("quota_exceeded", "the actor remembers the sends of as many others as it may", {
      retry_after_ms: 60_000,
    });
  if (idempotency === undefined || !actor.replies.isFull(now_ms)) return undefined;
  return refuse("quota_exceeded", "the actor keeps as many replies for retries as it may; some expire soon", {
    retry_after_ms: 60_000,
  });
}
