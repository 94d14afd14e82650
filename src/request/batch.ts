/**
 * The body of a batch: `[{"message":"deposit","args":{"amount":5}},…]`, a word of messages to one actor.
 *
 * What is read here is what the callers wrote, strictly: an unknown member is refused, not skipped. A refusal names the
 * call by its index.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonArray, isJsonObject, type Json, parseJson } from "../json.ts";
import { BATCH_CALLS_MAX, BATCH_REFERENCES_MAX } from "../limits.ts";
import { MESSAGE_NAME } from "../names.ts";
import { type Arguments, readArguments } from "./references.ts";

/** One message as it was asked for. */
export interface Requested extends Arguments {
  readonly message: string;
}

/** Refusals: `malformed_request`, `too_large`, `no_such_message`. */
export function readBatch(body: Uint8Array): readonly [Requested, ...Requested[]] | Refusal {
  const parsed = parseJson(body);
  if (isRefusal(parsed)) return parsed;
  if (!isJsonArray(parsed.value)) return noBatch();
  if (parsed.value.length > BATCH_CALLS_MAX)
    return refuse("too_large", `a batch has at most ${BATCH_CALLS_MAX} calls`);
  const requests: Requested[] = [];
  let references = 0;
  for (const [call, value] of parsed.value.entries()) {
    const request = readCall(value, call);
    if (isRefusal(request)) return request.with({ call });
    references += request.references.size;
    if (references > BATCH_REFERENCES_MAX)
      return refuse("too_large", `a batch has at most ${BATCH_REFERENCES_MAX} references`, { call });
    requests.push(request);
  }
  const [first, ...rest] = requests;
  return first === undefined ? noBatch() : [first, ...rest];
}

function noBatch(): Refusal {
  return refuse("malformed_request", 'a batch is an array of calls, [{"message":"name","args":{}},…]');
}

function readCall(value: Json, call: number): Requested | Refusal {
  if (!isJsonObject(value))
    return refuse("malformed_request", 'a call of a batch is an object, {"message":"name","args":{}}');
  const { message, args = {}, ...unknown } = value;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined)
    return refuse("malformed_request", "a call of a batch has no members but message and args");
  if (typeof message !== "string") return refuse("malformed_request", "a call of a batch names its message");
  if (!MESSAGE_NAME.test(message)) return refuse("no_such_message", "the call names no message");
  const read = readArguments(args, call);
  return isRefusal(read) ? read : { message, ...read };
}
