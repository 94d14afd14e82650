/** Whole clusters under faults: what was acknowledged stays, once and in order, and in the end every shard is served. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { commandOf, simulate } from "./simulation/simulate.ts";
import { Tally } from "./simulation/tally.ts";

const SEEDS = 2500;

test(`${SEEDS} seeds`, async () => {
  const tally = new Tally();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const failure = await simulate(seed, tally);
    if (failure !== undefined)
      throw new Error(`seed ${seed} fails; again: ${commandOf(seed)}`, { cause: failure.error });
  }
  // Faults that seldom happen prove little.
  expect(tally.times.filter(([, times]) => times < SEEDS / 100)).toEqual([]);
}, 300_000);

describe("npm run simulate", () => {
  const main = fileURLToPath(new URL("simulation/main.ts", import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });

  test("tells what happened, the same each time", () => {
    const [first, second] = [run("--seed", "7", "--verbose"), run("--seed", "7", "--verbose")];
    expect(first.status).toBe(0);
    expect(first.stdout).toMatch(/the faults have ended\n[^]*\n1 seeds, 0 failed/);
    const withoutTime = (output: string): string => output.replace(/, [\d.]+ s\n$/, "");
    expect(withoutTime(second.stdout)).toBe(withoutTime(first.stdout));
  });

  test.each([
    [["--seeds", "many"], '--seeds is a whole number from 1 to 2147483648, not "many"'],
    [["--seed", "0"], "--seed is a whole number"],
    [["--seeds", "2", "--verbose"], "--verbose is for one seed"],
    [["--sedes", "2"], "Unknown option '--sedes'"],
    [["2"], "Unexpected argument '2'"],
  ])("%j is wrong usage", (args, message) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).toContain("npm run simulate -- [--seeds N]");
  });
});
