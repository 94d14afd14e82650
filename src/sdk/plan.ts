/**
 * A batch before it is sent, written like calls: each step has a result that may be passed on, and what may come next.
 *
 *     (start) => {
 *       const paid = start.deposit({ amount: 5 });
 *       return paid.next.withdraw({ amount: paid.result.balance });
 *     }
 *
 * A result is not there yet. Its members stand for what they will be, and become references when the batch is sent.
 */
import type { Automaton } from "../protocol/automaton.ts";
import { type BatchCall, type BatchValue, type ResultReference, resultOf } from "./batch.ts";

declare const LATER: unique symbol;

/** Stands for a value of an earlier result. It can be passed on, and its members too, but not looked at. */
export type Later<T> = { readonly [LATER]: T } & (T extends readonly (infer Element)[]
  ? { readonly [index: number]: Later<Element> }
  : T extends object
    ? { readonly [Name in keyof T]: Later<T[Name]> }
    : unknown);

/** Arguments of which any part may come from an earlier result. */
export type OrLater<T> = Later<T> | (T extends object ? { readonly [Name in keyof T]: OrLater<T[Name]> } : T);

/** What a plan's method takes: arguments that may be void may be left out. */
export type PlanInputs<Args> = void extends Args
  ? [args?: OrLater<Exclude<Args, void>>]
  : [args: OrLater<Args>];

export interface PlannedCall {
  readonly message: string;
  readonly args: unknown;
}

interface Planned {
  readonly calls: readonly PlannedCall[];
  /** The automaton's, after them. */
  readonly state: number;
}

/** Where a step keeps how it was reached, and a later value what it is of. */
const PLANNED = Symbol("planned");
const SOURCE = Symbol("source");

interface Source {
  readonly call: PlannedCall;
  readonly path: readonly (string | number)[];
}

/** The messages in a state, after these calls. */
export function planFrom(automaton: Automaton, state: number, before: readonly PlannedCall[] = []): object {
  const plan: Record<string, (args?: unknown) => object> = {};
  for (const message of automaton.alphabet) {
    const next = automaton.next(state, message);
    const add = (args: unknown = {}): object => {
      if (next === undefined) throw notEnabled(automaton, state, message);
      const call = { message, args };
      const calls = [...before, call];
      return {
        result: laterOf({ call, path: [] }),
        get next() {
          return planFrom(automaton, next, calls);
        },
        [PLANNED]: { calls, state: next } satisfies Planned,
      };
    };
    Object.defineProperty(plan, message, { value: add, enumerable: next !== undefined });
  }
  return Object.freeze(plan);
}

export function notEnabled(automaton: Automaton, state: number, message: string): TypeError {
  const enabled = automaton.enabled(state).join(", ") || "nothing";
  return new TypeError(`${message} is not enabled here; enabled: ${enabled}`);
}

/** @throws where it is no step of a plan */
export function plannedBy(step: object): Planned {
  if (PLANNED in step) return step[PLANNED] as Planned;
  throw new TypeError("a plan returns the last of its steps");
}

function laterOf(source: Source): object {
  return new Proxy(
    {},
    {
      get: (_, key) => {
        if (typeof key === "symbol") return key === SOURCE ? source : undefined;
        const step = /^(?:0|[1-9]\d{0,8})$/.test(key) ? Number(key) : key;
        return laterOf({ ...source, path: [...source.path, step] });
      },
    },
  );
}

function sourceOf(value: unknown): Source | undefined {
  return typeof value === "object" && value !== null
    ? (value as { readonly [SOURCE]?: Source })[SOURCE]
    : undefined;
}

export function holdsLater(value: unknown): boolean {
  if (sourceOf(value) !== undefined) return true;
  if (Array.isArray(value)) return value.some(holdsLater);
  return isPlain(value) && Object.values(value).some(holdsLater);
}

/**
 * The calls as they are written, with references in place of what is not there yet.
 *
 * @param planned the calls as they were planned, where `calls` has other arguments
 * @throws where they refer to a call that is not among them
 */
export function withReferences(calls: readonly PlannedCall[], planned = calls): BatchCall[] {
  const fill = (value: unknown): BatchValue => {
    const source = sourceOf(value);
    if (source !== undefined) return referenceTo(source, planned);
    if (Array.isArray(value)) return value.map(fill);
    if (!isPlain(value)) return value as BatchValue;
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, fill(member)]));
  };
  return calls.map(({ message, args }) => ({ message, args: fill(args) }));
}

function referenceTo({ call, path }: Source, planned: readonly PlannedCall[]): ResultReference {
  const index = planned.indexOf(call);
  if (index < 0) throw new TypeError(`the batch refers to a result of ${call.message} that is not in it`);
  return resultOf(index, ...path);
}

/** Neither an array nor of a class: those write themselves. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
