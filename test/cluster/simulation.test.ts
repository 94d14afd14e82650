import { expect, test } from "vitest";
import { Simulation, type Tally } from "./simulation/simulation.ts";

const SEEDS = 1500;

test(`${SEEDS} seeds of crashes, zombies, lost and late answers: what was acknowledged stays, once and in order`, async () => {
  const tally: Tally = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      await new Simulation(seed, tally).run();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  // Faults that never happen prove nothing.
  const rare = Object.entries(tally).filter(([, times]) => times < SEEDS / 10);
  expect(rare).toEqual([]);
});
