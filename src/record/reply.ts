/**
 * The last stage: an outcome becomes a response and one line in the log.
 *
 * An exception is a bug. The caller learns that the outcome is unknown, the log the bug's name and place; the
 * process lives on.
 */
import type { Answer } from "../actor/shard.ts";
import { isRefusal, type Refusal, refuse, toProblem } from "../errors.ts";
import type { Recorder, RequestRecord } from "./requests.ts";

/** What the log line says beside the outcome; the pipeline fills it in on its way. */
type Noted = Pick<RequestRecord, "actor" | "message" | "signer" | "hop">;
export type Notes = { -readonly [K in keyof Noted]: Noted[K] };

export interface ReplyOptions {
  readonly record: Recorder;
  /** ms since the epoch. */
  readonly now_ms: () => number;
  readonly monotonic_ms: () => number;
  readonly requestId: () => string;
}

export async function replyTo(
  method: string,
  options: ReplyOptions,
  work: (notes: Notes) => Promise<Answer | Response | Refusal>,
): Promise<Response> {
  const started_ms = options.monotonic_ms();
  const request_id = options.requestId();
  const notes: Notes = {};
  let outcome: Answer | Response | Refusal;
  let bug: string | undefined;
  try {
    outcome = await work(notes);
  } catch (error) {
    bug = placeOf(error);
    outcome = refuse(
      "outcome_unknown",
      "the gate failed; the call may have taken effect: retry with the same key",
    );
  }
  if (isRefusal(outcome) && notes.hop !== "received") outcome = forCaller(outcome);
  const refusal = isRefusal(outcome) ? outcome : undefined;
  const record: RequestRecord = {
    time: new Date(options.now_ms()).toISOString(),
    request_id,
    method,
    ...notes,
    status: refusal?.status ?? (outcome instanceof Response ? outcome.status : 200),
    ...(refusal && { code: refusal.code }),
    ...(refusal?.facts.caveat && { caveat: refusal.facts.caveat.index }),
    duration_us: Math.round((options.monotonic_ms() - started_ms) * 1000),
    ...(bug !== undefined && { bug }),
  };
  options.record(record);
  // Another node's answer leaves as it came.
  if (outcome instanceof Response) return outcome;
  return isRefusal(outcome) ? problemResponse(outcome, request_id) : answerResponse(outcome, request_id);
}

/**
 * 421 is for nodes among themselves: a browser's fetch repeats such a request by itself, nonce and all. To a
 * caller a node that lost its shard is one that is going away.
 */
function forCaller(refusal: Refusal): Refusal {
  if (refusal.code !== "not_leader") return refusal;
  return refuse("draining", `${refusal.detail}; the call had no effect here`, { retry_after_ms: 1000 });
}

/** Name and place, never the message: it may quote data. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return "not an Error";
  const place = error.stack?.split("\n").find((line) => line.trim().startsWith("at "));
  return `${error.name} ${place?.trim() ?? ""}`;
}

function answerResponse({ reply, kept }: Answer, requestId: string): Response {
  const headers = { "request-id": requestId, "cache-control": "no-store" };
  return Response.json(reply, { headers: kept ? { ...headers, "idempotency-replayed": "true" } : headers });
}

/** RFC 9457. */
export function problemResponse(refusal: Refusal, requestId: string): Response {
  const { retry_after_ms } = refusal.facts;
  return Response.json(toProblem(refusal, requestId), {
    status: refusal.status,
    headers: {
      "content-type": "application/problem+json",
      "request-id": requestId,
      "cache-control": "no-store",
      ...(retry_after_ms !== undefined && { "retry-after": String(Math.ceil(retry_after_ms / 1000)) }),
    },
  });
}
