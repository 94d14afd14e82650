/** `postern replay`: the turns that a store's logs hold are run again, and compared with what was recorded. */
import { readTime } from "../authorize/values.ts";
import { readMeta } from "../cluster/meta.ts";
import { shardOf } from "../cluster/pages.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { type ReplayReport, type ReplayScope, replayShard } from "../replay.ts";
import type { Store } from "../store/contract.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  type Outcome,
  printable,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { openBareStore } from "./inputs.ts";

export const replay: Command = {
  name: "replay",
  summary: "run a log's turns again, and compare replies, states and fuel",
  usage: "[--tenant T] [--actor TYPE/ID] [--from TIME] [--to TIME] [--store URL]",
  options: {
    tenant: { type: "string" },
    actor: { type: "string" },
    from: { type: "string" },
    to: { type: "string" },
    store: { type: "string" },
  },
  help: {
    tenant: "only this tenant's actors",
    actor: "only actors of this type and id",
    from: "only calls of this time and later, as 2026-01-31T12:00:00Z",
    to: "only calls of this time and earlier",
    store: `where the logs and handlers are (default ${DEFAULT_STORE})`,
  },
  async run(environment, values) {
    const scope = scopeOf(values);
    if (scope instanceof UsageProblem) return scope;
    const opened = openBareStore(environment, values);
    if (opened instanceof UsageProblem) return opened;
    try {
      const reports = await replayAll(opened, scope, environment);
      return isRefusal(reports) ? reports : outcomeOf(reports);
    } finally {
      await opened.close();
    }
  },
};

function scopeOf(values: Values): ReplayScope | UsageProblem {
  const [tenant, actor, from, to] = ["tenant", "actor", "from", "to"].map((name) => text(values, name));
  if (actor !== undefined && actor.split("/").length !== 2)
    return new UsageProblem("--actor is TYPE/ID, as in account/42");
  const from_ms = from === undefined ? undefined : readTime(from);
  const to_ms = to === undefined ? undefined : readTime(to);
  if ((from !== undefined && from_ms === undefined) || (to !== undefined && to_ms === undefined))
    return new UsageProblem("--from and --to are times such as 2026-01-31T12:00:00Z");
  return {
    ...(tenant !== undefined && { tenant }),
    ...(actor !== undefined && { actor }),
    ...(from_ms !== undefined && { from_ms }),
    ...(to_ms !== undefined && { to_ms }),
  };
}

async function replayAll(
  store: Store,
  scope: ReplayScope,
  environment: Environment,
): Promise<readonly ReplayReport[] | Refusal> {
  const meta = await readMeta(store);
  if (isRefusal(meta)) return meta;
  const reports: ReplayReport[] = [];
  const count = meta?.shards ?? 0;
  const { tenant, actor } = scope;
  const only = tenant && actor && count > 0 ? shardOf(`${tenant}/${actor}`, count) : undefined;
  for (let shard = only ?? 0; shard < (only === undefined ? count : only + 1); shard++) {
    environment.status(`replaying shard ${shard} of ${count}`);
    const report = await replayShard(store, shard, scope);
    environment.status("");
    if (isRefusal(report)) return report;
    reports.push(report);
  }
  return reports;
}

function outcomeOf(reports: readonly ReplayReport[]): Outcome {
  const sum = (of: (report: ReplayReport) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  const [entries, turns] = [sum((report) => report.entries), sum((report) => report.turns)];
  const [unrecorded, different] = [sum((report) => report.unrecorded), sum((report) => report.different)];
  const differences = reports.flatMap((report) => report.differences);
  const ok = different === 0;
  const lines = differences.map(
    ({ shard, slot, index, actor, detail }) =>
      `shard ${shard}, slot ${slot}, entry ${index}: ${actor}: ${printable(detail)}`,
  );
  const old = unrecorded > 0 ? `; ${unrecorded} entries do not say which handler ran them` : "";
  const verdict = ok ? "all as recorded" : `${different} differ`;
  return {
    json: { ok, entries, turns, unrecorded, different, differences },
    text: [...lines, `${entries} entries, ${turns} turns: ${verdict}${old}`].join("\n"),
    failed: !ok,
  };
}
