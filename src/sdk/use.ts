/**
 * The one use of a reference: what it was used for, under which idempotency key, and how that ended.
 *
 * A refused request leaves the reference free. A request whose outcome is unknown binds it: only the same may be asked
 * again, and goes out under the same key, so it takes effect once. An answered one uses the reference up.
 */
import { toBase64url } from "../bytes.ts";
import { CODES, isRefusal, type Problem, type Refusal, toProblem } from "../errors.ts";
import type { Json } from "../json.ts";
import { IDEMPOTENCY_RETENTION_MS } from "../limits.ts";
import { type Caller, type CallOutcome, type Fetch, type SignedRequest, send } from "./client.ts";
import { CallRefusedError, OutcomeUnknownError, ReferenceUsedError } from "./reference-errors.ts";

/** Who calls which actor, and how. */
export interface Link extends Caller {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly fetch: Fetch;
  /** For a token with third parties: what fetches its discharges, as `Discharges` does. */
  readonly discharges?: { complete(token: string): Promise<string | Refusal> };
}

export interface CallOptions {
  readonly timeout_ms?: number;
  /** Makes the call the same as an earlier one under this key, of another process perhaps. */
  readonly idempotencyKey?: string;
}

/** What a reference is used for. */
export interface Job<T> {
  /** For people: the message, or the batch. */
  readonly name: string;
  /** What is asked for, as text: what makes a repeated job the same. */
  readonly written: string;
  /** Nothing is sent where it throws. */
  sign(key: string): Promise<SignedRequest>;
  read(result: Json): Promise<T>;
}

interface Use {
  readonly name: string;
  readonly written: string;
  readonly key: string;
  readonly began_ms: number;
  /** Where: its stack is read only when it must be told. */
  readonly place: Error;
  /** `unsent`: nothing that was sent can take effect any more. */
  state: "unsent" | "unknown" | "answered";
  busy: boolean;
  attempts: number;
}

/** Of one reference. */
export class Usage {
  readonly #link: Link;
  #use: Use | undefined;

  constructor(link: Link) {
    this.#link = link;
  }

  /** @param place the stack where the program used the reference */
  async once<T>(job: Job<T>, { idempotencyKey }: CallOptions, place: Error): Promise<T> {
    const mine = begin(this.#use, job, idempotencyKey, this.#link, place);
    this.#use = mine;
    try {
      const outcome = await exchange(this.#link, mine, await job.sign(mine.key));
      return await job.read(settle(mine, outcome));
    } finally {
      mine.busy = false;
      if (mine.state === "unsent") this.#use = undefined;
    }
  }
}

/** The link with its token as it is sent now. @throws `CallRefusedError` where a discharge cannot be had */
export async function completed(link: Link, name: string): Promise<Link> {
  if (link.discharges === undefined) return link;
  const token = await link.discharges.complete(link.token);
  if (isRefusal(token)) throw new CallRefusedError(name, toProblem(token, ""));
  return { ...link, token };
}

/** A first use, or the repetition of one whose outcome is unknown. */
function begin(
  use: Use | undefined,
  { name, written }: Job<unknown>,
  idempotencyKey: string | undefined,
  { now_ms, random }: Link,
  place: Error,
): Use {
  if (use === undefined) {
    const key = idempotencyKey ?? toBase64url(random(16));
    return { name, written, key, began_ms: now_ms(), place, state: "unsent", busy: true, attempts: 0 };
  }
  const first = `${use.name} at ${lineOf(use.place)}`;
  if (use.state === "answered")
    throw used(`was used up by ${first}; go on with the \`next\` that it returned`, use);
  if (use.busy) throw used(`is in use by ${first}, which is not answered yet`, use);
  if (use.name !== name || use.written !== written)
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

async function exchange({ fetch }: Link, use: Use, request: SignedRequest): Promise<CallOutcome> {
  use.attempts++;
  // From here on the gate may have it, whatever we hear.
  use.state = "unknown";
  try {
    return await send(request, fetch);
  } catch (cause) {
    throw new OutcomeUnknownError(use.name, "the gate did not answer", undefined, cause);
  }
}

/** Codes after which the call may still take effect, or have taken it. */
const UNSETTLED: ReadonlySet<string> = new Set(["outcome_unknown", "in_flight", "upstream_failed"]);

function settle(use: Use, outcome: CallOutcome): Json {
  if ("result" in outcome) {
    use.state = "answered";
    return outcome.result;
  }
  const { problem, status, differs } = outcome;
  if (!isProblem(problem))
    throw new OutcomeUnknownError(use.name, `status ${status} with a body that is no problem of the gate's`);
  // A node that is busy says nothing about an earlier attempt.
  if (UNSETTLED.has(problem.code) || (use.attempts > 1 && CODES[problem.code].retry))
    throw new OutcomeUnknownError(use.name, `${problem.code}: ${problem.detail}`, problem);
  use.state = "unsent";
  throw new CallRefusedError(use.name, problem, differs);
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

/** `file:line:column` of the innermost frame. */
function lineOf(place: Error): string {
  const frame = /\n\s*(?:at )?(.+)/.exec(place.stack ?? "")?.[1] ?? "an unknown place";
  return /\(([^()]+)\)$/.exec(frame)?.[1] ?? frame;
}
