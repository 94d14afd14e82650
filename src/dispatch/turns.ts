/**
 * Where turns run: on this thread, which waits for each (embedded, tests), or on threads of their own, which the server
 * brings along. Either way a turn ends within its bounds, and its answer is the same.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { TURN_OUTPUT_BYTES_MAX } from "../limits.ts";
import { runTurn, type Turn, type TurnResult } from "./sandbox.ts";

/** A compiled module, by its hash. */
export interface Handler {
  readonly hash: string;
  readonly module: WebAssembly.Module;
}

/** What a turn may take. */
export interface Allowance {
  readonly fuel: number;
  /** Monotonic: past it the turn is not begun. */
  readonly deadline_ms: number;
}

export interface Turns {
  /**
   * Compiles what `admit` has instrumented.
   * @param tenant for whom: whose turns wait for it
   * @returns or `store_unavailable`, where it is no such module
   */
  compile(hash: string, bytes: Uint8Array<ArrayBuffer>, tenant: string): Promise<Handler | Refusal>;
  /** @returns also `overloaded` or `deadline`, where the turn was not begun */
  run(handler: Handler, tenant: string, turn: Turn, allowance: Allowance): Promise<TurnResult | Refusal>;
}

/** One turn after the other, on this thread. */
export const turnsHere: Turns = {
  compile: async (hash, bytes) => {
    const module = await WebAssembly.compile(bytes).catch(notCompiled);
    return isRefusal(module) ? module : { hash, module };
  },
  run: async ({ module }, _tenant, turn, { fuel }) =>
    runTurn(module, turn, { fuel, output_bytes: TURN_OUTPUT_BYTES_MAX }),
};

/** It was admitted, so the store does not hold what it should. */
export function notCompiled(error: unknown): Refusal {
  const why = error instanceof Error ? error.message : "unknown error";
  return refuse("store_unavailable", `the handler does not compile: ${why}`);
}
