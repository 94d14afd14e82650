/**
 * What a handler answered: one strict JSON document, `{reply, state?, become?}` or `{error: {code, detail}}`.
 *
 * The document comes from untrusted code. Unknown members are refused, so that a handler written for a later
 * version (one that sends) fails loudly and not by half. A new state is written anew from its parsed value:
 * what is stored is always canonical JSON text within its bound.
 */
import { utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../json.ts";
import { HANDLER_DETAIL_LENGTH_MAX, NAME_LENGTH_MAX, STATE_BYTES_MAX } from "../limits.ts";
import { BEHAVIOUR_NAME } from "../names.ts";

export interface Outcome {
  readonly reply: Json;
  /** JSON text of the new state; undefined where the handler left it unchanged. */
  readonly state: string | undefined;
  /** The behaviour that the actor is to go on under, by its name in the policy; undefined where it stays as it is. */
  readonly become?: string | undefined;
}

const LOWER_SNAKE = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;

/** @returns the outcome, `handler_error` where the handler refused, or `handler_invalid`. */
export function readOutcome(bytes: Uint8Array): Outcome | Refusal {
  const parsed = parseJson(bytes);
  if (isRefusal(parsed)) return invalid(`the handler's output is refused: ${parsed.detail}`);
  const document = parsed.value;
  if (!isJsonObject(document)) return invalid("the handler's output is not a JSON object");
  const { error, reply, state, become, sends, ...unknown } = document;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined)
    return invalid(`the handler's output has an unknown member ${shortened(stranger)}`);
  if (sends !== undefined && !(Array.isArray(sends) && sends.length === 0))
    return invalid("the handler's output has `sends`, which this version does not support");
  if (error !== undefined) {
    if (reply !== undefined || state !== undefined || become !== undefined)
      return invalid("the handler's output has an `error` beside a `reply`, a `state` or a `become`");
    return readError(error);
  }
  if (reply === undefined) return invalid("the handler's output has neither a `reply` nor an `error`");
  if (become !== undefined && (typeof become !== "string" || !BEHAVIOUR_NAME.test(become)))
    return invalid("the handler's `become` is not the name of a behaviour");
  const text = state === undefined ? undefined : canonicalState(state);
  if (isRefusal(text)) return text;
  return become === undefined ? { reply, state: text } : { reply, state: text, become };
}

function canonicalState(state: Json): string | Refusal {
  const text = JSON.stringify(state);
  const size = utf8(text).length;
  if (size <= STATE_BYTES_MAX) return text;
  return invalid(`the handler's state has ${size} bytes; at most ${STATE_BYTES_MAX} may be`);
}

function readError(error: Json): Refusal {
  if (!isJsonObject(error)) return invalid("the handler's `error` is not an object");
  const { code, detail }: JsonObject = error;
  if (Object.keys(error).length !== 2 || typeof code !== "string" || typeof detail !== "string")
    return invalid("the handler's `error` is not {code, detail}, both text");
  if (code.length > NAME_LENGTH_MAX || !LOWER_SNAKE.test(code))
    return invalid(
      `the handler's error code ${shortened(code)} is no lower_snake name of ${NAME_LENGTH_MAX}`,
    );
  if (detail.length > HANDLER_DETAIL_LENGTH_MAX)
    return invalid(`the handler's error detail is longer than ${HANDLER_DETAIL_LENGTH_MAX}`);
  return refuse("handler_error", detail, { handler_code: code });
}

function shortened(text: string): string {
  return JSON.stringify(text.length > NAME_LENGTH_MAX ? `${text.slice(0, NAME_LENGTH_MAX)}…` : text);
}

function invalid(detail: string): Refusal {
  return refuse("handler_invalid", detail);
}
