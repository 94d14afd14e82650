/**
 * `npm run chaos -- [--minutes 1] [--seed N] [--store s3|file:] [--only kill,vanish,…] [--keep]`: chaos for as long as you like.
 *
 * Prints what happens, a summary and the verdict. Where the run fails, it says what was wrong and where its history and
 * the nodes' logs are, and ends with exit code 1. Wrong flags end with 2, a missing Ceph RGW with 3.
 */
import { parseArgs } from "node:util";
import { isRgwInstalled, RGW_MISSING } from "../support/rgw.ts";
import { MISCHIEF } from "./adversary.ts";
import { PLACES } from "./places.ts";
import { type ChaosOptions, runChaos } from "./run.ts";

const USAGE = `usage: npm run chaos -- [--minutes M] [--seed N] [--store ${PLACES.join("|")}] [--only KIND,…] [--keep]
  --minutes M   how long clients call (default 1)
  --seed N      a whole number from 0 to 2^32 - 1: the same choices again (default: a random one)
  --store       s3: Ceph's RGW behind a proxy that fails on purpose (default); file: the embedded store
  --only        kinds of mischief: ${MISCHIEF.join(", ")} (default: all that the store allows)
  --keep        history and logs stay also where the run passes`;

/** Nodes end with this process also where a signal ends it. */
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const options = readOptions(process.argv.slice(2));
if (typeof options === "string") end(2, `chaos: ${options}\n${USAGE}`);
else if (options.place === "s3" && !isRgwInstalled()) end(3, `chaos: ${RGW_MISSING}`);
else {
  console.info(`seed ${options.seed}, ${options.work_ms / 60_000} min on ${options.place}`);
  const { summary, problems, folder } = await runChaos(options);
  console.info(`\n${summary}`);
  if (options.keep || problems.length > 0) console.info(`\nhistory and logs: ${folder}`);
  if (problems.length === 0) console.info("PASSED: nothing lost, nothing twice, no order violated");
  else end(1, [`FAILED, seed ${options.seed}`, ...problems].join("\n  "));
}

/** @returns what is wrong with them */
function readOptions(args: string[]): ChaosOptions | string {
  const values = parse(args);
  if (typeof values === "string") return values;
  const work_ms = Number(values.minutes) * 60_000;
  if (!(work_ms > 0) || !Number.isFinite(work_ms)) return "--minutes must be a number above 0";
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) return "--seed must be a whole number";
  const place = PLACES.find((name) => name === values.store);
  if (place === undefined) return `--store must be one of ${PLACES.join(", ")}`;
  const only = values.only?.split(",") ?? MISCHIEF;
  const kinds = MISCHIEF.filter((kind) => only.includes(kind));
  if (kinds.length < only.length) return `--only must name some of ${MISCHIEF.join(", ")}`;
  return { seed, work_ms, place, kinds, keep: values.keep, say: (what) => console.info(what) };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        minutes: { type: "string", default: "1" },
        seed: { type: "string" },
        store: { type: "string", default: "s3" },
        only: { type: "string" },
        keep: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function end(code: number, why: string): void {
  console.error(why);
  process.exitCode = code;
}
