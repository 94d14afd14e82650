/**
 * `npm run bench [-- --only ID,… --json FILE --seconds N]`: every number as a ratio, measured in one run.
 *
 * Prints the machine, then each row as it is done (its id, our median, the other side's, the ratio pair by pair
 * and one line of what was compared), and writes the same as JSON. Exit code 0: all rows were measured; 1: one could not be;
 * 2: wrong usage. Nothing outlives it: children are stopped on every way out.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { guardChildren, stopAll } from "./children.ts";
import { callsPerPut, windowGrid } from "./durable.ts";
import { edgeRows } from "./edge.ts";
import { failover } from "./failover.ts";
import type { Row } from "./harness.ts";
import { fullVersus, statelessVersusEcho } from "./http.ts";
import { neighbourP99 } from "./neighbour.ts";
import { step } from "./protocol.ts";
import { recovery } from "./recovery.ts";
import {
  freshVersusBare,
  fuelSlowdown,
  STATE_IDS,
  stateCost,
  versusExtism,
  versusWorker,
} from "./sandbox.ts";
import { checkVersusZod } from "./schema.ts";
import { knownVersusNative, knownVersusNoble, newVersusNoble } from "./schnorr.ts";
import { account, STAGE_IDS, stageCosts } from "./stages.ts";
import { cold20, warm20 } from "./token.ts";
import { turnCosts } from "./turns.ts";
import { typeCheckTime } from "./types.ts";

interface Group {
  readonly ids: readonly string[];
  /** For each row, unless `--seconds` says otherwise. */
  readonly seconds: number;
  readonly measure: (ids: ReadonlySet<string>, seconds: number) => Promise<readonly Row[]>;
}

function single(id: string, seconds: number, measure: (seconds: number) => Promise<readonly Row[]>): Group {
  return { ids: [id], seconds, measure: (_ids, given) => measure(given) };
}

const GROUPS: readonly Group[] = [
  single("http.full_vs_echo", 15, (seconds) => fullVersus("echo", seconds)),
  single("http.full_vs_naive", 15, (seconds) => fullVersus("naive", seconds)),
  single("http.stateless_vs_echo", 15, statelessVersusEcho),
  single("schnorr.known_vs_noble", 4, knownVersusNoble),
  single("schnorr.new_vs_noble", 4, newVersusNoble),
  single("schnorr.known_vs_native", 4, knownVersusNative),
  single("token.cold20_vs_macaroonsjs", 4, cold20),
  single("token.warm20_vs_macaroonsjs", 4, warm20),
  single("protocol.step", 4, step),
  single("schema.check_vs_zod", 4, checkVersusZod),
  single("types.interleaved_vs_sdk", 4, typeCheckTime),
  single("sandbox.fresh_vs_bare_instance", 4, freshVersusBare),
  single("sandbox.fuel_slowdown", 18, fuelSlowdown),
  single("sandbox.vs_extism", 4, versusExtism),
  single("sandbox.vs_worker", 4, versusWorker),
  { ids: STATE_IDS, seconds: 5, measure: (_ids, seconds) => stateCost(seconds) },
  { ids: ["sandbox.cold_start", "sandbox.thread_vs_here"], seconds: 4, measure: turnCosts },
  single("sandbox.neighbour_p99", 20, neighbourP99),
  single("log.calls_per_put", 15, callsPerPut),
  { ids: ["log.window_file", "log.window_s3"], seconds: 60, measure: windowGrid },
  single("log.failover", 15, failover),
  {
    ids: ["log.recovery_10", "log.recovery_100", "log.recovery_1000"],
    seconds: 15,
    measure: (_ids, seconds) => recovery(seconds),
  },
  { ids: ["edge.hop", "edge.vs_bare_worker"], seconds: 15, measure: edgeRows },
  { ids: STAGE_IDS, seconds: 1, measure: stageCosts },
];

const IDS = GROUPS.flatMap(({ ids }) => ids);
const USAGE = `npm run bench [-- --only ID,… --json FILE --seconds N]

  --only ID,…   these rows only
  --json FILE   write the rows as JSON
  --seconds N   measure each row for about so long (default: 1 to 15)

rows:
${IDS.map((id) => `  ${id}`).join("\n")}`;

interface Arguments {
  readonly only: ReadonlySet<string>;
  readonly json: string | undefined;
  readonly seconds: number | undefined;
}

/** @returns what is wrong with the arguments, where something is. */
function readArguments(args: readonly string[]): Arguments | string {
  const options = {
    only: { type: "string" },
    json: { type: "string" },
    seconds: { type: "string" },
  } as const;
  let values: { only?: string; json?: string; seconds?: string };
  try {
    ({ values } = parseArgs({ args: [...args], options, strict: true }));
  } catch (error) {
    return messageOf(error);
  }
  const only = values.only?.split(",") ?? IDS;
  const unknown = only.filter((id) => !IDS.includes(id));
  if (unknown.length > 0) return `there is no row ${unknown.join(", ")}`;
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(seconds > 0 && seconds <= 3600))
    return `--seconds ${values.seconds} is no number of seconds`;
  return { only: new Set(only), json: values.json, seconds };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const COLUMNS = [32, 12, 12, 10, 9, 24] as const;

function line(...cells: readonly string[]): string {
  return cells
    .map((cell, i) => (i === 0 ? cell.padEnd(COLUMNS[0]) : cell.padStart(COLUMNS[i] ?? 0)))
    .join(" ");
}

function show(row: Row): void {
  const { id, ours, theirs, unit, ratio, ratio_min, ratio_max, rounds } = row;
  const span =
    ratio_min === null || ratio_max === null
      ? `${rounds} rounds`
      : `${number(ratio_min)}–${number(ratio_max)}, ${rounds} rounds`;
  print(line(id, number(ours), number(theirs), unit, ratio === null ? "–" : number(ratio), span));
  print(`    ${row.what}${verdict(row)}`);
  for (const note of row.notes) print(`    ${note}`);
}

function number(value: number | null): string {
  if (value === null) return "–";
  return value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

/** The ratio in words: which way it goes depends on the unit. */
function verdict({ ratio, better, unit }: Row): string {
  if (ratio === null || unit === "calls/put") return "";
  const factor = better === "higher" ? ratio : 1 / ratio;
  return factor >= 1 ? ` → ours ×${number(factor)} faster` : ` → ours ×${number(1 / factor)} slower`;
}

function machine(): string {
  return `${availableParallelism()} cores, ${cpus()[0]?.model.trim() ?? "unknown CPU"}, ${process.platform} ${process.arch}`;
}

/** Processes that wanted a core in the last minute, or waited for the disk: also those of others. */
function load(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

async function main(): Promise<number> {
  const parsed = readArguments(process.argv.slice(2));
  if (typeof parsed === "string") {
    process.stderr.write(`bench: ${parsed}\n\n${USAGE}\n`);
    return 2;
  }
  guardChildren();
  const load_before = load();
  print(`machine: ${machine()}, Node ${process.versions.node}; load average ${load_before} before\n`);
  print(line("row", "ours", "theirs", "unit", "ours/th.", "min–max"));
  const rows: Row[] = [];
  let failed = 0;
  for (const { ids, seconds, measure } of GROUPS) {
    const wanted = new Set(ids.filter((id) => parsed.only.has(id)));
    if (wanted.size === 0) continue;
    try {
      const measured = await measure(wanted, parsed.seconds ?? seconds);
      for (const row of measured) show(row);
      rows.push(...measured);
    } catch (error) {
      failed++;
      process.stderr.write(`bench: ${[...wanted].join(", ")} could not be measured: ${messageOf(error)}\n`);
    } finally {
      await stopAll();
    }
  }
  for (const text of account(rows)) print(text);
  print(`load average ${load()} after: a bench alone makes at most 2; above that others were measured too`);
  if (parsed.json !== undefined) {
    const document = {
      machine: machine(),
      node: process.versions.node,
      load_before,
      load_after: load(),
      rows,
    };
    writeFileSync(parsed.json, `${JSON.stringify(document, undefined, 2)}\n`);
  }
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
