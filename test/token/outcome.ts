/** How a result came out: most of what is promised here is a value, or a refusal with the right code. */
import { type Code, isRefusal, type Refusal } from "../../src/errors.ts";

/** The refusal's code; `taken` where there is a value. */
export function outcome(result: unknown): Code | "taken" {
  return isRefusal(result) ? result.code : "taken";
}

/** The value; a refusal fails the test with its reason. */
export function taken<T>(result: T): Exclude<T, Refusal> {
  if (isRefusal(result)) throw new Error(`refused: ${result.code}: ${result.detail}`);
  return result as Exclude<T, Refusal>;
}

/** The refusal; a value fails the test. */
export function refused(result: unknown): Refusal {
  if (!isRefusal(result)) throw new Error("it was not refused");
  return result;
}
