/**
 * Passing a call on to the node that leads its shard, and its answer back.
 *
 * The bytes stay as they came, and so do the headers, the host among them: the leader verifies the caller's signature
 * itself, because nodes do not trust each other. A call is passed on once; a node that is not the leader says who is.
 */
import { fromUtf8 } from "../bytes.ts";
import { type Problem, type Refusal, type RefusalFacts, refuse } from "../errors.ts";
import { FORWARD_MARGIN_MS } from "../limits.ts";

/** How often a request has been passed on, and how long its caller still waits. Beside the caller's own headers. */
export const HOPS_HEADER = "postern-hops";
export const REMAINING_HEADER = "postern-remaining-ms";

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
]);

export interface OutgoingRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly timeout_ms: number;
  /** Aborted when the other node is known to be dead: no answer will come. */
  readonly life: AbortSignal;
}

/** `unsent`: the other side has certainly not seen it. `unclear`: nobody knows. */
export type SendOutcome =
  | {
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Uint8Array<ArrayBuffer>;
    }
  | { readonly failed: "unsent" | "unclear" };

export type Send = (request: OutgoingRequest) => Promise<SendOutcome>;

/** A call's request as it arrived. */
export interface Incoming {
  readonly request: Request;
  readonly body: Uint8Array;
  readonly hops: number;
  /** Takes the request's nonce, before the call is done here. Refusals: `replayed`, `overloaded`. */
  readonly admit: () => Refusal | undefined;
}

/** The node that a call is passed on to. */
export interface Leader {
  readonly url: string;
  readonly life: AbortSignal;
}

/**
 * @returns the leader's answer; `not_leader` where the other node leads no more, naming who does if it knows;
 *   `"unsent"` where it cannot be reached and the call had no effect; `outcome_unknown`
 */
export async function forward(
  send: Send,
  { request, body, hops }: Omit<Incoming, "admit">,
  leader: Leader,
  remaining_ms: number,
): Promise<Response | Refusal | "unsent"> {
  const { pathname, search } = new URL(request.url);
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) if (!OF_THE_CONNECTION.has(name)) headers[name] = value;
  headers[HOPS_HEADER] = String(hops + 1);
  headers[REMAINING_HEADER] = String(Math.max(1, Math.floor(remaining_ms)));
  const url = new URL(`${pathname}${search}`, leader.url).href;
  // The leader answers `deadline` by itself; what is later is lost.
  const timeout_ms = remaining_ms + FORWARD_MARGIN_MS;
  const outcome = await send({ url, method: request.method, headers, body, timeout_ms, life: leader.life });
  if ("failed" in outcome) {
    if (outcome.failed === "unsent") return "unsent";
    return refuse("outcome_unknown", "the node that leads the actor's shard did not answer; ask again");
  }
  if (outcome.status === 421) return notLeader(outcome.body);
  return answerOf(outcome);
}

/** The refusal between nodes, with whom it names. */
function notLeader(body: Uint8Array): Refusal {
  const facts: RefusalFacts = {};
  const { leader } = (parse(body) ?? facts) as Partial<Problem>;
  const detail = "the node that was believed to lead the actor's shard does not";
  return refuse("not_leader", detail, leader === undefined ? facts : { leader });
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(body) ?? "");
  } catch {
    return undefined;
  }
}

function answerOf({ status, headers, body }: Exclude<SendOutcome, { failed: string }>): Response {
  const kept = Object.entries(headers).filter(([name]) => !OF_THE_CONNECTION.has(name));
  return new Response(body, { status, headers: kept });
}
