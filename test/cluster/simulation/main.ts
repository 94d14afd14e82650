/**
 * `npm run simulate -- [--seeds N] [--seed S] [--fail-fast] [--verbose]`: as many simulations as you like.
 *
 * Prints the seeds that fail with their profiles, and at the end how often each thing happened. Exit code 1: a seed has
 * failed; 2: wrong usage.
 */
import { parseArgs } from "node:util";
import { commandOf, type Failure, simulate } from "./simulate.ts";
import { Tally } from "./tally.ts";

const USAGE = `npm run simulate -- [--seeds N] [--seed S] [--fail-fast] [--verbose]

  --seeds N     so many seeds (default: 1000)
  --seed S      from this one on (default: 1)
  --fail-fast   stop at the first that fails
  --verbose     tell what happens; for one seed`;

const PROGRESS_MS = 1000;

class UsageProblem extends Error {}

interface Options {
  readonly seeds: number;
  readonly seed: number;
  readonly failFast: boolean;
  readonly verbose: boolean;
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: "string" },
      seed: { type: "string", default: "1" },
      "fail-fast": { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  const { verbose } = values;
  const seeds = wholeNumber("seeds", values.seeds ?? (verbose ? "1" : "1000"));
  if (verbose && seeds > 1) throw new UsageProblem("--verbose is for one seed");
  return { seeds, seed: wholeNumber("seed", values.seed), failFast: values["fail-fast"], verbose };
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 2 ** 31)
    throw new UsageProblem(`--${name} is a whole number from 1 to ${2 ** 31}, not "${text}"`);
  return number;
}

function report({ seed, error, profile }: Failure): void {
  console.error(`seed ${seed} fails: ${error.stack ?? error.message}`);
  console.error(`  profile: ${JSON.stringify(profile)}`);
  console.error(`  again: ${commandOf(seed)}`);
}

/** @returns how many have failed. */
async function run({ seeds, seed: first, failFast, verbose }: Options): Promise<number> {
  const tally = new Tally();
  const began_ms = performance.now();
  const failuresMax = failFast ? 1 : seeds;
  let failed = 0;
  let done = 0;
  let shown_ms = began_ms;
  while (done < seeds && failed < failuresMax) {
    const failure = await simulate(first + done++, tally, verbose ? console.info : undefined);
    if (failure !== undefined) {
      failed++;
      report(failure);
    }
    const now_ms = performance.now();
    if (now_ms - shown_ms >= PROGRESS_MS && process.stderr.isTTY) {
      shown_ms = now_ms;
      const left_s = Math.ceil(((now_ms - began_ms) * (seeds / done - 1)) / 1000);
      process.stderr.write(`\r${done} of ${seeds} seeds, ${failed} failed, about ${left_s} s left   \r`);
    }
  }
  for (const [what, times] of tally.times) console.info(`${String(times).padStart(10)} ${what}`);
  console.info(`served again within ${tally.recoversTtlMax.toFixed(1)} TTL of the last fault`);
  const took_s = (performance.now() - began_ms) / 1000;
  console.info(`${done} seeds, ${failed} failed, ${took_s.toFixed(1)} s`);
  return failed;
}

try {
  process.exitCode = (await run(parse(process.argv.slice(2)))) > 0 ? 1 : 0;
} catch (error) {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const isUsage = error instanceof UsageProblem || String(code).startsWith("ERR_PARSE_ARGS");
  if (!isUsage || !(error instanceof Error)) throw error;
  console.error(`simulate: ${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
