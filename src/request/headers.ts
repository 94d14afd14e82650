/** The header fields that a call may carry beside its signature, each read strictly. */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { IDEMPOTENCY_KEY_LENGTH_MAX, REQUEST_TIMEOUT_MS_MAX } from "../limits.ts";
import { EDGE_NAME } from "../names.ts";

const SCHEME = /^macaroon +(\S+)$/i;

/** Without the spaces and tabs around it, and nothing else: to `trim`, more is white space than to HTTP (RFC 9110). */
export function withoutSpaces(field: string): string {
  let [start, end] = [0, field.length];
  while (start < end && isSpace(field, start)) start++;
  while (end > start && isSpace(field, end - 1)) end--;
  return field.slice(start, end);
}

const isSpace = (text: string, at: number): boolean => text[at] === " " || text[at] === "\t";

/** `Authorization: Macaroon <token>` → the token's text. */
export function readAuthorization(field: string | null): string | Refusal {
  if (field === null) return refuse("token_malformed", "the request has no Authorization: Macaroon <token>");
  const token = SCHEME.exec(withoutSpaces(field))?.[1];
  return token ?? refuse("token_malformed", "Authorization must be one `Macaroon <token>`");
}

/** A quoted string without escapes, as in draft-ietf-httpapi-idempotency-key-header. */
export function readIdempotencyKey(field: string | null): string | undefined | Refusal {
  if (field === null) return undefined;
  const key = /^"([\x20\x21\x23-\x5b\x5d-\x7e]+)"$/.exec(withoutSpaces(field))?.[1];
  if (key !== undefined && key.length <= IDEMPOTENCY_KEY_LENGTH_MAX) return key;
  return refuse(
    "malformed_request",
    `Idempotency-Key must be one quoted string of 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters`,
  );
}

/** `Request-Timeout-Ms`: how long the caller waits, in ms. */
export function readTimeout(field: string | null): number | Refusal {
  if (field === null) return REQUEST_TIMEOUT_MS_MAX;
  const timeout_ms = /^[1-9][0-9]{0,8}$/.test(withoutSpaces(field)) ? Number(field) : 0;
  return timeout_ms >= 1 && timeout_ms <= REQUEST_TIMEOUT_MS_MAX
    ? timeout_ms
    : refuse("malformed_request", `Request-Timeout-Ms must be 1 to ${REQUEST_TIMEOUT_MS_MAX}`);
}

/** How a call came by way of another node: passed on so often, with so much of its caller's patience left. */
export interface PassedOn {
  readonly hops: number;
  readonly remaining_ms: number;
  /** By an edge node, which says its name, and the host that the caller has addressed. */
  readonly edge?: { readonly name: string; readonly authority: string };
}

/** Absent from what callers send by themselves; who sends it anyway only shortens his own way. */
export function readPassedOn(
  hops: string | null,
  remaining: string | null,
  edge: string | null,
): PassedOn | Refusal {
  if (hops === null) return { hops: 0, remaining_ms: REQUEST_TIMEOUT_MS_MAX };
  const remaining_ms = readTimeout(remaining);
  if (isRefusal(remaining_ms)) return remaining_ms;
  if (hops !== "1")
    return refuse("malformed_request", "the request was passed on between nodes more than once");
  if (edge === null) return { hops: 1, remaining_ms };
  const [name = "", authority = "", ...rest] = edge.split(" ");
  return EDGE_NAME.test(name) && rest.length === 0
    ? { hops: 1, remaining_ms, edge: { name, authority } }
    : refuse("malformed_request", "the edge node that has passed the request on does not say its name");
}

export function requireJson(field: string | null): Refusal | undefined {
  if (field !== null && /^application\/json(?: *; *charset=(?:utf-8|"utf-8"))? *$/i.test(field))
    return undefined;
  return refuse("malformed_request", "Content-Type must be application/json");
}
