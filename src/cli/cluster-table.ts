/** A survey of the cluster as tables: whole, or as much of it as a terminal's window holds. */
import type { Survey, SurveyedNode, SurveyedShard } from "../cluster/survey.ts";
import { printable } from "./command.ts";

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

const GAP = 4;

/** All of it; the summary last, where it is seen. */
export function wholeTable(survey: Survey): string {
  if (survey.shards.length === 0) return summaryOf(survey);
  return [...nodeTable(survey.nodes), "", ...shardTable(survey), "", summaryOf(survey)].join("\n");
}

/** As many lines as the window has rows, none longer than it is wide; the summary first, whatever else fits. */
export function tableFor(survey: Survey, { rows, columns }: Size): readonly string[] {
  const above = [summaryOf(survey), "", ...nodeTable(survey.nodes), ""];
  const [head = "", ...lines] = survey.shards.length === 0 ? [] : shardTable(survey);
  const shards = head === "" ? [] : sideBySide(head, lines, { rows: rows - above.length, columns });
  return [...above, ...shards].slice(0, rows).map((line) => line.slice(0, columns));
}

function summaryOf({ nodes, shards }: Survey): string {
  if (shards.length === 0) return "no node has served from this store yet";
  const led = shards.filter(({ state }) => state === "led");
  const most = led.toSorted((a, b) => (b.lag ?? 0) - (a.lag ?? 0))[0];
  const lag = most === undefined ? "" : `; the longest lag is ${most.lag}, of shard ${most.shard}`;
  const counted = `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}`;
  return `${counted}; ${led.length} of ${shards.length} shards are led${lag}`;
}

function nodeTable(nodes: readonly SurveyedNode[]): string[] {
  const rows = nodes.map(({ url, session, state, shards, lease_age_ms, ttl_ms }) => [
    printable(url ?? "?"),
    printable(session),
    state,
    String(shards),
    `${seconds(lease_age_ms)} of ${seconds(ttl_ms)}`,
  ]);
  return table(["node", "session", "state", "shards", "lease age"], rows);
}

function shardTable({ nodes, shards }: Survey): string[] {
  const urls = new Map(nodes.map(({ session, url }) => [session, url]));
  const rows = shards.map((row) => [
    String(row.shard),
    leaderOf(row, urls),
    String(row.epoch),
    row.seq === null ? "–" : String(row.seq),
    String(row.checkpoint),
    row.lag === null ? "–" : String(row.lag),
  ]);
  return table(["shard", "leader", "epoch", "seq", "checkpoint", "lag"], rows);
}

function leaderOf({ state, owner }: SurveyedShard, urls: ReadonlyMap<string, string | null>): string {
  if (state === "damaged") return "(damaged)";
  if (owner === null) return "nobody";
  const name = printable(urls.get(owner) ?? owner);
  if (state === "led") return name;
  return urls.has(owner) ? `${name} (opens it)` : `${name} (no lease)`;
}

/** A table that is too long goes on beside itself; what does not fit there is counted. */
function sideBySide(head: string, lines: readonly string[], { rows, columns }: Size): string[] {
  const width = Math.max(head.length, ...lines.map((line) => line.length)) + GAP;
  const beside = lines.length < rows ? 1 : Math.max(1, Math.floor((columns + GAP) / width));
  const fits = lines.length <= beside * (rows - 1);
  const height = fits ? Math.ceil(lines.length / beside) : rows - 2;
  if (height < 1) return [];
  const shown = Array.from({ length: height }, (_, row) =>
    Array.from({ length: beside }, (__, column) => lines[column * height + row] ?? ""),
  );
  const more = lines.length - beside * height;
  return [
    ...[Array.from({ length: beside }, () => head), ...shown].map((cells) =>
      cells
        .map((cell) => cell.padEnd(width))
        .join("")
        .trimEnd(),
    ),
    ...(fits ? [] : [`… and ${more} more: a larger window shows them, or --json`]),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

function seconds(ms: number | null): string {
  return ms === null ? "?" : `${(ms / 1000).toFixed(1)} s`;
}
