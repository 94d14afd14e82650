/**
 * References at run time: an object with a method for each message, usable once, for that message or for a batch that
 * begins with it. How often, and what may be repeated, is `use.ts`'s business.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Json } from "../json.ts";
import type { Automaton } from "../protocol/automaton.ts";
import { batchBody } from "./batch.ts";
import { signBatch, signCall } from "./client.ts";
import { holdsLater, notEnabled, type PlannedCall, planFrom, plannedBy, withReferences } from "./plan.ts";
import { InvalidValueError } from "./reference-errors.ts";
import { type CallOptions, completed, type Job, type Link, Usage } from "./use.ts";

export type { CallOptions, Link } from "./use.ts";

export interface MessageSchemas {
  readonly args?: StandardSchemaV1 | undefined;
  readonly result?: StandardSchemaV1 | undefined;
}

export type Schemas = Readonly<Record<string, MessageSchemas>>;

/** What a reference's method takes: arguments that may be void may be left out. */
export type CallInputs<Args> = void extends Args
  ? [args?: Exclude<Args, void>, options?: CallOptions]
  : [args: Args, options?: CallOptions];

type Method = (args?: unknown, options?: CallOptions) => Promise<{ result: unknown; next: object }>;

/** Builds a batch from where a reference stands. */
export type Planner = (start: object) => object;

type BatchMethod = (
  plan: Planner,
  options: CallOptions,
  place: Error,
) => Promise<{ results: unknown[]; next: object }>;

/** Where a reference keeps what sends batches: no message has this name. */
const BATCH = Symbol("batch");

export function createReference(link: Link, schemas: Schemas, automaton: Automaton, state: number): object {
  const reference: Record<string, Method> = {};
  const usage = new Usage(link);
  for (const message of automaton.alphabet) {
    const next = automaton.next(state, message);
    const call: Method = async (args = {}, options = {}) => {
      // What runs before the first `await` runs in the caller's own call, so its place is on the stack.
      const place = placeOf(call);
      if (next === undefined) throw notEnabled(automaton, state, message);
      const after = () => createReference(link, schemas, automaton, next);
      return usage.once(callJob(link, schemas, { message, args }, options, after), options, place);
    };
    Object.defineProperty(reference, message, { value: call, enumerable: next !== undefined });
  }
  const batch: BatchMethod = async (plan, options, place) => {
    const planned = plannedBy(plan(planFrom(automaton, state)));
    const after = () => createReference(link, schemas, automaton, planned.state);
    return usage.once(batchJob(link, schemas, planned.calls, options, after), options, place);
  };
  Object.defineProperty(reference, BATCH, { value: batch });
  return Object.freeze(reference);
}

/** Uses a reference for a batch. What the types say about it is what the automaton does. */
export function sendBatch<Sent>(
  reference: object,
  plan: Planner,
  options: CallOptions = {},
  place: Error,
): Promise<Sent> {
  return (reference as { readonly [BATCH]: BatchMethod })[BATCH](plan, options, place) as Promise<Sent>;
}

function callJob(
  link: Link,
  schemas: Schemas,
  { message, args }: PlannedCall,
  options: CallOptions,
  after: () => object,
): Job<{ result: unknown; next: object }> {
  return {
    name: message,
    written: JSON.stringify(args),
    sign: async (idempotencyKey) => {
      const valid = await validArguments(schemas, message, args);
      return signCall(await completed(link, message), {
        ...addressOf(link, options),
        message,
        args: valid as Json,
        idempotencyKey,
      });
    },
    read: async (result) => {
      const next = after();
      return { result: await validResult(schemas, message, result, next), next };
    },
  };
}

function batchJob(
  link: Link,
  schemas: Schemas,
  calls: readonly PlannedCall[],
  options: CallOptions,
  after: () => object,
): Job<{ results: unknown[]; next: object }> {
  return {
    name: `a batch of ${calls.map(({ message }) => message).join(", ")}`,
    written: batchBody(withReferences(calls)),
    sign: async (idempotencyKey) => {
      const valid: PlannedCall[] = [];
      for (const { message, args } of calls) {
        // What holds references is checked where they are resolved: at the gate.
        const own = holdsLater(args) ? args : await validArguments(schemas, message, args);
        valid.push({ message, args: own });
      }
      const body = batchBody(withReferences(valid, calls));
      return signBatch(await completed(link, "a batch"), {
        ...addressOf(link, options),
        calls: body,
        idempotencyKey,
      });
    },
    read: async (answer) => {
      const next = after();
      const results: unknown[] = [];
      for (const [index, { message }] of calls.entries()) {
        const result = Array.isArray(answer) ? (answer[index] as unknown) : undefined;
        results.push(await validResult(schemas, message, result, next));
      }
      return { results, next };
    },
  };
}

function addressOf({ tenant, actor }: Link, { timeout_ms }: CallOptions) {
  return { tenant, actor, ...(timeout_ms !== undefined && { timeout_ms }) };
}

function validArguments(schemas: Schemas, message: string, args: unknown): Promise<unknown> {
  return validate(schemas[message]?.args, args, `the arguments of ${message}`);
}

function validResult(schemas: Schemas, message: string, result: unknown, next: object): Promise<unknown> {
  return validate(schemas[message]?.result, result, `the result of ${message}`, next);
}

async function validate(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  what: string,
  next?: object,
): Promise<unknown> {
  if (schema === undefined) return value;
  const validated = await schema["~standard"].validate(value);
  if (validated.issues !== undefined) throw new InvalidValueError(what, validated.issues, next);
  return validated.value;
}

/** The stack at a call, without the method itself where the engine can leave it out. */
export function placeOf(method: (...args: never) => unknown): Error {
  const place = new Error("first used here");
  if ("captureStackTrace" in Error) Error.captureStackTrace(place, method);
  return place;
}
