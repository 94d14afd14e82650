/** One seed after the other, and how to see a failure again. */
import type { Profile } from "./profile.ts";
import { Simulation } from "./simulation.ts";
import type { Tally } from "./tally.ts";

export interface Failure {
  readonly seed: number;
  readonly error: Error;
  readonly profile: Profile;
}

/** @param trace told what happens, line by line */
export async function simulate(
  seed: number,
  tally: Tally,
  trace?: (line: string) => void,
): Promise<Failure | undefined> {
  const simulation = new Simulation(seed, tally, trace);
  // The code under test throws where it finds itself wrong, often where nobody waits for it.
  const onThrown = (error: unknown): void => simulation.fail(asError(error));
  process.on("unhandledRejection", onThrown);
  try {
    await simulation.run();
    return undefined;
  } catch (error) {
    return { seed, error: asError(error), profile: simulation.profile };
  } finally {
    process.off("unhandledRejection", onThrown);
  }
}

/** What shows one seed from its beginning. */
export const commandOf = (seed: number): string => `npm run simulate -- --seeds 1 --seed ${seed} --verbose`;

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
