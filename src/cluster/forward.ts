/**
 * Passing a call on to the node that leads its shard, and its answer back.
 *
 * The bytes stay as they came, and so do the headers, the host among them: the leader verifies the caller's signature
 * itself, because nodes do not trust each other. A call is passed on once; a node that is not the leader says who is.
 */
import { fromUtf8 } from "../bytes.ts";
import { type Problem, type Refusal, refuse } from "../errors.ts";
import { FORWARD_MARGIN_MS } from "../limits.ts";
import { CLIENT_HEADER } from "./vouching.ts";

/** How often a request has been passed on, and how long its caller still waits. Beside the caller's own headers. */
export const HOPS_HEADER = "postern-hops";
export const REMAINING_HEADER = "postern-remaining-ms";

/**
 * `<name> <host>`: the edge node that has passed it on, and the host that the caller has addressed, because an edge
 * node's platform writes the `Host` field itself. The host need not be believed: the caller has signed it, and it must
 * be one of the gate's.
 */
export const EDGE_HEADER = "postern-edge";

/** Headers of one connection (RFC 9110 section 7.6.1), and those that the body's bytes decide. */
const OF_THE_CONNECTION = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "content-length",
  HOPS_HEADER,
  REMAINING_HEADER,
  EDGE_HEADER,
  CLIENT_HEADER,
]);

export interface OutgoingRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly timeout_ms: number;
  /** Its answer is waited for no longer. */
  readonly signal: AbortSignal | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** `unsent`: the other side has certainly not seen it. `unclear`: nobody knows. */
export type SendOutcome = Answer | { readonly failed: "unsent" | "unclear" };

export type Send = (request: OutgoingRequest) => Promise<SendOutcome>;

/** A call's request as it arrived. */
export interface Incoming {
  readonly request: Request;
  readonly body: Uint8Array;
  readonly hops: number;
  /** Headers for the next node, beside the caller's own. */
  readonly more: Readonly<Record<string, string>>;
  /** Takes the request's nonce, before the call is done here. Refusals: `replayed`, `overloaded`. */
  readonly admit: () => Refusal | undefined;
}

/** The node that is believed to lead the call's shard. */
export interface Leader {
  readonly url: string;
  /** Is aborted when it has died. */
  readonly life: AbortSignal | undefined;
}

/**
 * @returns the leader's answer; `not_leader` where the other node leads no more, naming who does if it knows, or
 *   `draining` where it takes no more calls; `"unsent"` where it cannot be reached: in these cases the call had no effect;
 *   `outcome_unknown`
 */
export async function forward(
  send: Send,
  { request, body, hops, more }: Omit<Incoming, "admit">,
  leader: Leader,
  remaining_ms: number,
): Promise<Response | Refusal | "unsent"> {
  const { host, pathname, search } = new URL(request.url);
  // What an actor of this node sends came over no wire, and has no host of its own.
  const headers: Record<string, string> = { host };
  for (const [name, value] of request.headers) if (!OF_THE_CONNECTION.has(name)) headers[name] = value;
  Object.assign(headers, more);
  headers[HOPS_HEADER] = String(hops + 1);
  headers[REMAINING_HEADER] = String(Math.max(1, Math.floor(remaining_ms)));
  const url = new URL(`${pathname}${search}`, leader.url).href;
  // The leader answers `deadline` by itself; what is later is lost.
  const timeout_ms = remaining_ms + FORWARD_MARGIN_MS;
  const { method } = request;
  const outcome = await send({ url, method, headers, body, timeout_ms, signal: leader.life });
  if ("failed" in outcome) {
    if (outcome.failed === "unsent") return "unsent";
    return refuse("outcome_unknown", "the node that leads the actor's shard did not answer; ask again");
  }
  return elsewhere(outcome) ?? answerOf(outcome);
}

/** What only says that somebody else should be asked. */
function elsewhere({ status, body }: Answer): Refusal | undefined {
  if (status !== 421 && status !== 503) return undefined;
  const { code, leader } = (parse(body) ?? {}) as Partial<Problem>;
  if (status === 421) {
    const detail = "the node that was believed to lead the actor's shard does not";
    return refuse("not_leader", detail, isLeader(leader) ? { leader } : {});
  }
  // Of any other 503 it cannot be said that a moment later somebody else will lead.
  if (status !== 503 || code !== "draining") return undefined;
  return refuse(code, "the node that leads the actor's shard is ending", { retry_after_ms: 1000 });
}

function isLeader(claimed: Problem["leader"]): claimed is NonNullable<Problem["leader"]> {
  const { session, url, epoch } = claimed ?? {};
  return typeof session === "string" && typeof url === "string" && Number.isSafeInteger(epoch);
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(body) ?? "");
  } catch {
    return undefined;
  }
}

function answerOf({ status, headers, body }: Answer): Response {
  const kept = Object.entries(headers).filter(([name]) => !OF_THE_CONNECTION.has(name));
  return new Response(body, { status, headers: kept });
}
