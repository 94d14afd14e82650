/** A chaos run in a few lines, for whoever reads the output of a test run. */
import { type Attempt, definite, type History } from "./history.ts";
import { belongsTo, type Events } from "./verdict.ts";

export interface Run {
  readonly lease_ms: number;
  /** ms by the harness's clock, between which clients called. */
  readonly began_at: number;
  readonly ended_at: number;
  readonly slots: readonly string[];
}

export function summaryOf(run: Run, history: History, events: Events): string {
  const { intents } = history;
  const attempts = intents.flatMap((intent) => intent.attempts);
  const sent = (ending: Attempt["ending"]): Attempt[] =>
    attempts.filter((attempt) => attempt.ending === ending);
  return [
    `calls: ${intents.length} of ${history.byActor().size} actors in ${seconds(run.ended_at - run.began_at)}: ` +
      `${sent("acknowledged").length} acknowledged, ${sent("refused").length} refused (${byAnswer(sent("refused"))})`,
    `sendings: ${attempts.length}; without effect: ${byAnswer(sent("no_effect"))}; unknown: ${byAnswer(sent("ambiguous"))}`,
    `mischief: ${listed(events.mischief)}; nodes ended by themselves: ${events.stepDowns}`,
    `at the store: ${listed(events.faults)}`,
    ...[...events.failovers].map((of) => failover(of, run.lease_ms)),
    `longest without an answer: ${run.slots.map((slot) => `${slot} ${seconds(longestSilence(run, slot, history))}`).join(", ")}`,
  ].join("\n");
}

function failover([how, waits]: readonly [string, readonly number[]], lease_ms: number): string {
  const sorted = waits.toSorted((a, b) => a - b);
  const goal_ms = lease_ms + 1000;
  const within = sorted.filter((wait) => wait <= goal_ms).length;
  const [median = 0, longest = 0] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  return (
    `failover after ${how}: median ${seconds(median)}, longest ${seconds(longest)}; ` +
    `within TTL + 1 s (${seconds(goal_ms)}): ${within} of ${sorted.length}`
  );
}

/** Between two definite answers for the slot's accounts, while its clients kept calling. */
function longestSilence({ began_at, ended_at }: Run, slot: string, history: History): number {
  const answers = history.intents
    .filter(({ actor }) => belongsTo(slot, actor))
    .flatMap((intent) => definite(intent)?.ended_at ?? [])
    .filter((at) => at < ended_at)
    .toSorted((a, b) => a - b);
  const moments = [began_at, ...answers, ended_at];
  return Math.max(...moments.slice(1).map((at, i) => at - (moments[i] ?? at)));
}

function byAnswer(attempts: readonly Attempt[]): string {
  const groups = Map.groupBy(attempts, ({ answer }) => String(answer));
  return listed(new Map([...groups].map(([answer, { length }]) => [answer, length])));
}

function listed(counts: ReadonlyMap<string, number>): string {
  const most = [...counts].toSorted(([, a], [, b]) => b - a);
  return most.length === 0 ? "none" : most.map(([name, count]) => `${name} ${count}`).join(", ");
}

function seconds(duration_ms: number): string {
  return `${(duration_ms / 1000).toFixed(1)} s`;
}
