/** Where the monitors of a call stand with its actor, who has moved them last, and what of them is written. */
import type { MonitorStates, MovedByAnother, Step } from "../protocol/monitor.ts";
import type { Actor } from "./actor.ts";
import { BEHAVIOUR } from "./course.ts";
import type { MonitorRecord } from "./entry.ts";
import type { Call, CaveatMonitor } from "./shard.ts";

export function statesOf({ behaviour, monitors }: Actor, root: string): MonitorStates {
  return (id) => (id === BEHAVIOUR ? (behaviour?.state ?? 0) : (monitors.get(root, id)?.state ?? 0));
}

/** Copies of a token are the same token: nothing tells them apart. */
export function othersOf({ behaviour, monitors }: Actor, { token: { root, digest } }: Call): MovedByAnother {
  return (id) => {
    const by = id === BEHAVIOUR ? behaviour?.by : monitors.get(root, id)?.by;
    return by === undefined ? undefined : by !== digest;
  };
}

/** The caveat monitors that moved: one that stays where it is needs no record. */
export function monitorRecords(
  steps: readonly Step[],
  monitors: readonly CaveatMonitor[],
): readonly MonitorRecord[] {
  const until = new Map(monitors.map(({ id, until_ms }) => [id, until_ms ?? null]));
  return steps
    .filter(({ id, from, to }) => id !== BEHAVIOUR && from !== to)
    .map(({ id, to }) => [id, to, until.get(id) ?? null]);
}
