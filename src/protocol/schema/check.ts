/**
 * What a compiled schema is made of: functions from a value to its first violation.
 *
 * A value that is of the type costs no allocation. A violation is made once, when the schema is compiled, and gets
 * its path on the way out.
 */
import type { Json } from "../../json.ts";

export interface Violation {
  /** RFC 6901 JSON pointer; empty for the whole document. */
  readonly path: string;
  /** A clause such as `must be integer`. */
  readonly reason: string;
}

/** @returns `undefined` where the value is of the type. */
export type Check<T = Json> = (value: T) => Violation | undefined;

export function violation(reason: string): Violation {
  return { path: "", reason };
}

/** @param prefix a pointer from the outer value to the inner one */
export function inside(prefix: string, { path, reason }: Violation): Violation {
  return { path: prefix + path, reason };
}

/** All of them, in order; `undefined` for none, so that the caller can leave the call out. */
export function all<T>(checks: readonly Check<T>[]): Check<T> | undefined {
  const [a, b, c] = checks;
  if (b === undefined) return a;
  if (a === undefined) return undefined;
  if (c === undefined) return (value) => a(value) ?? b(value);
  if (checks.length === 3) return (value) => a(value) ?? b(value) ?? c(value);
  return (value) => {
    for (const check of checks) {
      const found = check(value);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/**
 * What one check may still spend. Only what a value's size or a reference multiplies is counted; the rest is at
 * most the schema's own size. Once it is used up every counted check fails at once, and the whole check fails
 * whatever `not` and `anyOf` have made of that.
 */
export class Meter {
  #left = 0;

  fill(steps: number): void {
    this.#left = steps;
  }

  /** @returns whether nothing is left. */
  spend(steps: number): boolean {
    this.#left -= steps;
    return this.#left < 0;
  }

  get exhausted(): boolean {
    return this.#left < 0;
  }
}

export const EXHAUSTED: Violation = violation("takes too many steps to check");
