/**
 * A batch as it is written: calls whose arguments may hold results of the calls before.
 *
 *     signBatch(caller, { tenant, actor, calls: [
 *       { message: "deposit", args: { amount: 5 } },
 *       { message: "withdraw", args: { amount: resultOf(0, "balance") } },
 *     ] });
 *
 * What a caller passes on is never taken for a reference: its own names that begin with `$` are escaped here.
 */
import type { Json } from "../json.ts";

/** Stands for a value of an earlier call's result. */
export class ResultReference {
  /** `$0.balance`, as `src/request/references.ts` reads it. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** JSON in which a value may be a reference. */
export type BatchValue =
  | Exclude<Json, object>
  | ResultReference
  | readonly BatchValue[]
  | { readonly [name: string]: BatchValue };

export interface BatchCall {
  readonly message: string;
  readonly args?: BatchValue;
}

/**
 * @param call which call of the batch, counted from 0
 * @param path names of members and indices of elements, from the result inwards
 */
export function resultOf(call: number, ...path: readonly (string | number)[]): ResultReference {
  const steps = path.map((step) => {
    if (typeof step === "number") return `[${step}]`;
    return /^[A-Za-z_]\w*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  });
  return new ResultReference(`$${call}${steps.join("")}`);
}

/** The body of the request. */
export function batchBody(calls: readonly BatchCall[]): string {
  const body = calls.map(({ message, args = {} }) => ({ message, args }));
  // What this returns for a value is walked into, but not given to it again.
  return JSON.stringify(body, (_, value: unknown) => {
    if (value instanceof ResultReference) return { $ref: value.text };
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const names = Object.keys(value);
    return names.some((name) => name.startsWith("$")) ? escaped(value) : value;
  });
}

function escaped(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.startsWith("$") ? `$${name}` : name, member]),
  );
}
