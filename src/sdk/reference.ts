/**
 * References at run time: an object with a method for each message, usable once.
 *
 * A refused call leaves the reference as it was. A call whose outcome is unknown binds it: only the same call may be
 * made again, and goes out under the same idempotency key, so it takes effect once. An answered call uses the
 * reference up; whoever uses it again is told where it was first used.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { toBase64url } from "../bytes.ts";
import { CODES, type Problem } from "../errors.ts";
import type { Json } from "../json.ts";
import { IDEMPOTENCY_RETENTION_MS } from "../limits.ts";
import type { Automaton } from "../protocol/automaton.ts";
import { type Caller, type CallOutcome, type Fetch, send, signCall } from "./client.ts";
import {
  CallRefusedError,
  InvalidValueError,
  OutcomeUnknownError,
  ReferenceUsedError,
} from "./reference-errors.ts";

/** Who calls which actor, and how. */
export interface Link extends Caller {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly fetch: Fetch;
}

export interface MessageSchemas {
  readonly args?: StandardSchemaV1 | undefined;
  readonly result?: StandardSchemaV1 | undefined;
}

export interface CallOptions {
  readonly timeout_ms?: number;
  /** Makes the call the same as an earlier one under this key, of another process perhaps. */
  readonly idempotencyKey?: string;
}

/** What a reference's method takes: arguments that may be void may be left out. */
export type CallInputs<Args> = void extends Args
  ? [args?: Exclude<Args, void>, options?: CallOptions]
  : [args: Args, options?: CallOptions];

/** The one call that a reference was used for. */
interface Use {
  readonly message: string;
  /** The arguments as JSON: what makes a repeated call the same. */
  readonly args: string;
  readonly key: string;
  readonly began_ms: number;
  /** Where: its stack is read only when it must be told. */
  readonly place: Error;
  /** `unsent`: nothing that was sent can take effect any more. */
  state: "unsent" | "unknown" | "answered";
  busy: boolean;
  attempts: number;
}

type Method = (args?: unknown, options?: CallOptions) => Promise<{ result: unknown; next: object }>;

export function createReference(
  link: Link,
  messages: Readonly<Record<string, MessageSchemas>>,
  automaton: Automaton,
  state: number,
): object {
  const reference: Record<string, Method> = {};
  let use: Use | undefined;

  for (const message of automaton.alphabet) {
    const next = automaton.next(state, message);
    const call: Method = async (args = {}, options = {}) => {
      // What runs before the first `await` runs in the caller's own call, so its place is on the stack.
      const place = placeOf(call);
      if (next === undefined)
        throw new TypeError(
          `${message} is not enabled here; enabled: ${automaton.enabled(state).join(", ") || "nothing"}`,
        );
      const mine = begin(use, message, JSON.stringify(args), options.idempotencyKey, link, place);
      use = mine;
      try {
        const schemas = messages[message] ?? {};
        const valid = await validate(schemas.args, args, `the arguments of ${message}`);
        const outcome = await exchange(link, mine, valid as Json, options);
        const result = settle(mine, outcome);
        const after = createReference(link, messages, automaton, next);
        return {
          result: await validate(schemas.result, result, `the result of ${message}`, after),
          next: after,
        };
      } finally {
        mine.busy = false;
        if (mine.state === "unsent") use = undefined;
      }
    };
    Object.defineProperty(reference, message, { value: call, enumerable: next !== undefined });
  }
  return Object.freeze(reference);
}

/** A first use, or the repetition of one whose outcome is unknown. */
function begin(
  use: Use | undefined,
  message: string,
  args: string,
  idempotencyKey: string | undefined,
  { now_ms, random }: Link,
  place: Error,
): Use {
  if (use === undefined) {
    const key = idempotencyKey ?? toBase64url(random(16));
    return { message, args, key, began_ms: now_ms(), place, state: "unsent", busy: true, attempts: 0 };
  }
  const first = `${use.message} at ${lineOf(use.place)}`;
  if (use.state === "answered")
    throw used(`was used up by ${first}; go on with the \`next\` that it returned`, use);
  if (use.busy) throw used(`is in use by ${first}, which is not answered yet`, use);
  if (use.message !== message || use.args !== args)
    throw used(`is bound to ${first}, whose outcome is not known: only the same call may be made again`, use);
  if (now_ms() - use.began_ms > IDEMPOTENCY_RETENTION_MS)
    throw used(
      `is bound to ${first}, whose outcome is not known, and whose reply the gate keeps no longer`,
      use,
    );
  return use;
}

function used(what: string, { place }: Use): ReferenceUsedError {
  return new ReferenceUsedError(`this reference ${what}`, { cause: place });
}

async function exchange(link: Link, use: Use, args: Json, options: CallOptions): Promise<CallOutcome> {
  const { message, key: idempotencyKey } = use;
  const { tenant, actor, fetch } = link;
  const { timeout_ms } = options;
  const request = signCall(link, {
    tenant,
    actor,
    message,
    args,
    idempotencyKey,
    ...(timeout_ms !== undefined && { timeout_ms }),
  });
  use.attempts++;
  // From here on the gate may have it, whatever we hear.
  use.state = "unknown";
  try {
    return await send(request, fetch);
  } catch (cause) {
    throw new OutcomeUnknownError(message, "the gate did not answer", undefined, cause);
  }
}

/** Codes after which the call may still take effect, or have taken it. */
const UNSETTLED: ReadonlySet<string> = new Set(["outcome_unknown", "in_flight", "upstream_failed"]);

function settle(use: Use, outcome: CallOutcome): Json {
  if ("result" in outcome) {
    use.state = "answered";
    return outcome.result;
  }
  const { problem, status } = outcome;
  if (!isProblem(problem))
    throw new OutcomeUnknownError(
      use.message,
      `status ${status} with a body that is no problem of the gate's`,
    );
  // A node that is busy says nothing about an earlier attempt.
  if (UNSETTLED.has(problem.code) || (use.attempts > 1 && CODES[problem.code].retry))
    throw new OutcomeUnknownError(use.message, `${problem.code}: ${problem.detail}`, problem);
  use.state = "unsent";
  throw new CallRefusedError(use.message, problem);
}

/** A proxy in between may answer too. */
function isProblem(value: unknown): value is Problem {
  return (
    typeof value === "object" &&
    value !== null &&
    "code" in value &&
    typeof value.code === "string" &&
    Object.hasOwn(CODES, value.code)
  );
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
function placeOf(method: Method): Error {
  const place = new Error("first used here");
  if ("captureStackTrace" in Error) Error.captureStackTrace(place, method);
  return place;
}

/** `file:line:column` of the innermost frame. */
function lineOf(place: Error): string {
  const frame = /\n\s*(?:at )?(.+)/.exec(place.stack ?? "")?.[1] ?? "an unknown place";
  return /\(([^()]+)\)$/.exec(frame)?.[1] ?? frame;
}
