/**
 * How long callers waited for a successor: from the moment in which a leader fell silent to the first answer of an actor
 * that it had led and that somebody asked for.
 *
 * Neighbours on one machine see at once that a killed process is gone; of one that is only silent, as of a machine that
 * has vanished, they must wait out the lease. So the two are told apart.
 */
import { shardOf } from "../../src/cluster/pages.ts";
import { type Attempt, definite, type History, type Intent } from "./history.ts";

export interface Silence {
  readonly how: "kill" | "vanish" | "pause";
  /** ms, by the harness's clock. */
  readonly at: number;
  /** When it could answer again. */
  readonly until: number;
  /** The shards that it led. */
  readonly shards: readonly number[];
}

/** An actor counts where a call of it was under way at that moment, or began so shortly after it. */
const ASKED_WITHIN_MS = 1000;

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

/** When a call that was sent after this moment was first answered; `undefined` where nobody asked. */
function firstAnswer(intents: readonly Intent[], at: number): number | undefined {
  const isAsked = ({ sent_at, ended_at }: Attempt): boolean =>
    sent_at < at + ASKED_WITHIN_MS && ended_at > at;
  if (!intents.some(({ attempts }) => attempts.some(isAsked))) return undefined;
  const answers = intents.flatMap((intent) => definite(intent) ?? []).filter(({ sent_at }) => sent_at > at);
  return answers.length === 0 ? undefined : Math.min(...answers.map(({ ended_at }) => ended_at));
}
