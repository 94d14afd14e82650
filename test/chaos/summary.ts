/** A chaos run in a few lines, for whoever reads the output of a test run. */
import { definite, type Ending, type History } from "./history.ts";
import { belongsTo, type Events } from "./verdict.ts";

export interface Run {
  readonly seed: number;
  readonly nodes: number;
  /** ms by the harness's clock, between which clients called. */
  readonly began_at: number;
  readonly ended_at: number;
  readonly slots: readonly string[];
}

export function summaryOf(run: Run, history: History, events: Events): string {
  const count = (ending: Ending): number =>
    history.intents.flatMap(({ attempts }) => attempts).filter((attempt) => attempt.ending === ending).length;
  const { intents } = history;
  return [
    `seed ${run.seed}: ${run.nodes} nodes, ${seconds(run.ended_at - run.began_at)}`,
    `${intents.length} calls of ${history.byActor().size} actors: ${count("acknowledged")} acknowledged, ` +
      `${count("refused")} refused, ${count("ambiguous")} sendings ambiguous, ${count("no_effect")} without effect`,
    `${listed(events.mischief)}; nodes ended by themselves ${events.stepDowns} times`,
    `at the proxy: ${listed(events.faults)}`,
    `longest without an answer: ${run.slots.map((slot) => `${slot} ${seconds(longestSilence(run, slot, history))}`).join(", ")}`,
  ].join("\n");
}

/** Between two definite answers for the slot's accounts, while its clients kept calling. */
function longestSilence({ began_at, ended_at }: Run, slot: string, history: History): number {
  const answers = history.intents
    .filter(({ actor }) => belongsTo(slot, actor))
    .flatMap((intent) => definite(intent)?.ended_at ?? [])
    .filter((at) => at < ended_at)
    .toSorted((a, b) => a - b);
  let longest = 0;
  let before = began_at;
  for (const at of [...answers, ended_at]) {
    longest = Math.max(longest, at - before);
    before = at;
  }
  return longest;
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
}

function seconds(duration_ms: number): string {
  return `${(duration_ms / 1000).toFixed(1)} s`;
}
