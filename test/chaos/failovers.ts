/**
 * How long callers waited for a successor: from the moment in which a leader fell silent to the first answer of an actor
 * that it had led and that somebody asked for.
 *
 * Neighbours on one machine see at once that a killed process is gone; of one that is only silent, as of a machine that
 * has vanished, they must wait out the lease. So the two are told apart.
 */
import { shardOf } from "../../src/cluster/pages.ts";
import type { History, Intent } from "./history.ts";

export interface Silence {
  readonly how: "kill" | "vanish" | "pause";
  /** ms, by the harness's clock. */
  readonly at: number;
  /** When it could answer again. */
  readonly until: number;
  /** The shards that it led. */
  readonly shards: readonly number[];
}

/** Callers of an actor that is still in use come again this soon. */
const ASKED_AGAIN_MS = 1000;

/** @returns ms, for each silence and each actor that it met; in no order */
export function failoversOf(
  silences: readonly Silence[],
  history: History,
  shardCount: number,
): ReadonlyMap<Silence["how"], readonly number[]> {
  const found = new Map<Silence["how"], number[]>();
  for (const [actor, intents] of history.byActor()) {
    const shard = shardOf(`demo/${actor}`, shardCount);
    for (const { how, at, until, shards } of silences) {
      const answered_at = shards.includes(shard) ? firstAnswer(intents, at) : undefined;
      if (answered_at === undefined || answered_at > until) continue;
      const waits = found.get(how) ?? [];
      waits.push(answered_at - at);
      found.set(how, waits);
    }
  }
  return found;
}

/** When a call that was sent after this moment was first answered; `undefined` where nobody kept asking until then. */
function firstAnswer(intents: readonly Intent[], at: number): number | undefined {
  const attempts = intents
    .flatMap((intent) => intent.attempts)
    .filter(({ ended_at }) => ended_at > at)
    .toSorted((a, b) => a.sent_at - b.sent_at);
  let asked_until = at;
  let first: number | undefined;
  for (const { sent_at, ended_at, ending } of attempts) {
    if (sent_at > asked_until + ASKED_AGAIN_MS || sent_at > (first ?? Infinity)) break;
    asked_until = Math.max(asked_until, ended_at);
    const isAnswer = sent_at > at && (ending === "acknowledged" || ending === "refused");
    if (isAnswer) first = Math.min(first ?? Infinity, ended_at);
  }
  return first;
}
