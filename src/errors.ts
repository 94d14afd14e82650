/**
 * The closed list of refusals.
 *
 * A refusal is a value, returned and never thrown: it keeps its reason from the stage that found it to the
 * client that reads it. Exceptions are for bugs. Every code has one HTTP status, one title, and says whether
 * sending the same call again can help. The texts reach callers: no secret may enter a detail (law 7).
 */

interface CodeFacts {
  readonly status: number;
  readonly title: string;
  /** Can the same call succeed later without the caller changing it? */
  readonly retry: boolean;
}

export const CODES = {
  malformed_request: { status: 400, title: "The request is malformed", retry: false },
  token_malformed: { status: 401, title: "The token cannot be read", retry: false },
  token_truncated: { status: 401, title: "The token is cut or damaged", retry: false },
  token_invalid: { status: 401, title: "The token does not verify", retry: false },
  token_expired: { status: 401, title: "The token has expired", retry: false },
  token_revoked: { status: 401, title: "The token was revoked", retry: false },
  discharge_missing: { status: 401, title: "A third party's discharge is missing", retry: false },
  discharge_denied: { status: 403, title: "The third party does not vouch for this", retry: false },
  signature_missing: { status: 401, title: "The request is not signed", retry: false },
  signature_invalid: { status: 401, title: "The request's signature does not verify", retry: false },
  replayed: { status: 401, title: "The signed request was seen before", retry: false },
  caveat_denied: { status: 403, title: "A caveat forbids this call", retry: false },
  unknown_caveat: { status: 403, title: "A caveat is not understood, so it is refused", retry: false },
  capability_refused: {
    status: 403,
    title: "A capability in the arguments is of no use there",
    retry: false,
  },
  no_such_tenant: { status: 404, title: "No such tenant", retry: false },
  no_such_actor_type: { status: 404, title: "No such actor type", retry: false },
  no_such_message: { status: 404, title: "No such message", retry: false },
  out_of_order: { status: 409, title: "The message is out of order", retry: false },
  idempotency_mismatch: {
    status: 409,
    title: "The idempotency key was used for another request",
    retry: false,
  },
  in_flight: { status: 409, title: "A call with this idempotency key is in flight", retry: true },
  too_large: { status: 413, title: "The request is too large", retry: false },
  not_leader: { status: 421, title: "This node does not lead the actor's shard", retry: true },
  schema_violation: { status: 422, title: "The arguments do not match the message's schema", retry: false },
  handler_error: { status: 422, title: "The handler refused the message", retry: false },
  quota_exceeded: { status: 429, title: "A quota is used up", retry: true },
  handler_trapped: { status: 502, title: "The handler trapped", retry: false },
  handler_fuel: { status: 502, title: "The handler used up its fuel", retry: false },
  handler_memory: { status: 502, title: "The handler used up its memory", retry: false },
  handler_invalid: { status: 502, title: "The handler broke its interface", retry: false },
  upstream_failed: { status: 502, title: "The upstream failed", retry: true },
  overloaded: { status: 503, title: "The node is overloaded", retry: true },
  store_unavailable: { status: 503, title: "The store does not answer", retry: true },
  draining: { status: 503, title: "The node is draining", retry: true },
  outcome_unknown: { status: 504, title: "Whether the call took effect is not known", retry: true },
  deadline: { status: 504, title: "The deadline passed before the call ran", retry: true },
} as const satisfies Record<string, CodeFacts>;

export type Code = keyof typeof CODES;

/** What a refusal can carry beside its code, all of it safe to show to the caller. */
export interface RefusalFacts {
  /** Which token of the request, counted from 0; the root token is 0. */
  readonly token?: number;
  /** Which caveat of that token, counted from 0, and its text. */
  readonly caveat?: { readonly index: number; readonly text: string };
  /** Beside `discharge_missing`: all that are, each with where to ask and what to send there (base64url). */
  readonly discharges?: readonly { readonly location: string; readonly ticket: string }[];
  /** Which call of a batch, counted from 0. */
  readonly call?: number;
  /** The messages that would be admitted now; in a batch, at that call. */
  readonly enabled?: readonly string[];
  /** Beside `out_of_order`: what the actor has become, where that is what refused. */
  readonly behaviour?: string;
  /** Beside `out_of_order`: whether another token than this one moved last what refused. Absent: nobody has yet. */
  readonly moved_by_sibling?: boolean;
  readonly retry_after_ms?: number;
  /** Beside `signature_invalid`, where the caller's clock is wrong: signed again with this in the nonce, it may pass. */
  readonly challenge?: string;
  /** Beside what a proxy may have caused: the components of the signature as they arrived, of the token a digest. */
  readonly received?: Readonly<Record<string, string>>;
  /** RFC 6901 JSON pointer into the arguments (of that call) to the value that is wrong. */
  readonly path?: string;
  /** Beside `not_leader`, between nodes only: who leads. */
  readonly leader?: { readonly session: string; readonly url: string; readonly epoch: number };
  /** Beside `store_unavailable`: what is missing in the store or damaged, an object's key or a record's. */
  readonly damaged?: string;
  /** Where an expression cannot be read: the expression on one line, and the column in it, counted from 1. */
  readonly position?: { readonly text: string; readonly column: number };
  /** A shortest sequence of messages that shows what is violated; the last one is the violation. */
  readonly word?: readonly string[];
  /** The handler's own error code, beside `handler_error`. */
  readonly handler_code?: string;
}

export class Refusal {
  readonly code: Code;
  readonly detail: string;
  readonly facts: RefusalFacts;

  constructor(code: Code, detail: string, facts: RefusalFacts = {}) {
    this.code = code;
    this.detail = detail;
    this.facts = facts;
  }

  get status(): number {
    return CODES[this.code].status;
  }

  /** The same refusal, with facts that only an outer stage knows. */
  with(facts: RefusalFacts): Refusal {
    return new Refusal(this.code, this.detail, { ...this.facts, ...facts });
  }
}

export function refuse(code: Code, detail: string, facts?: RefusalFacts): Refusal {
  return new Refusal(code, detail, facts);
}

/** The caller would no longer hear of it. */
export function late(): Refusal {
  return refuse("deadline", "the caller's time was over before the call could run; it had no effect");
}

export function isRefusal(value: unknown): value is Refusal {
  return value instanceof Refusal;
}

/** How a caveat is named in a detail: by its index, and by its token's where that is no root. */
export function caveatName(index: number, token = 0): string {
  return token === 0 ? `caveat ${index}` : `caveat ${index} of discharge ${token}`;
}

/** RFC 9457 problem document. */
export interface Problem extends RefusalFacts {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: Code;
  readonly request_id: string;
}

export function toProblem(refusal: Refusal, requestId: string): Problem {
  const { status, title } = CODES[refusal.code];
  return {
    type: `urn:postern:problem:${refusal.code}`,
    title,
    status,
    detail: refusal.detail,
    code: refusal.code,
    ...refusal.facts,
    request_id: requestId,
  };
}
