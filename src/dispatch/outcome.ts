/**
 * What a handler answered: one strict JSON document, `{reply, state?, become?, sends?}` or `{error: {code, detail}}`.
 *
 * The document comes from untrusted code. Unknown members are refused, so that a handler written for a later
 * version fails loudly and not by half. A new state is written anew from its parsed value:
 * what is stored is always canonical JSON text within its bound.
 */
import { utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { readHandle } from "../handles.ts";
import { isJsonArray, isJsonObject, type Json, type JsonObject, parseJson } from "../json.ts";
import {
  HANDLER_DETAIL_LENGTH_MAX,
  NAME_LENGTH_MAX,
  SENDS_PER_CALL_MAX,
  STATE_BYTES_MAX,
} from "../limits.ts";
import { ACTOR_ID, BEHAVIOUR_NAME, MESSAGE_NAME, TYPE_NAME } from "../names.ts";

export interface Outcome {
  readonly reply: Json;
  /** JSON text of the new state; undefined where the handler left it unchanged. */
  readonly state: string | undefined;
  /** The behaviour that the actor is to go on under, by its name in the policy; undefined where it stays as it is. */
  readonly become?: string | undefined;
  /** Messages to other actors, in their order; undefined where there are none. */
  readonly sends?: readonly SendRequest[] | undefined;
}

/** A message that a handler wants to be sent. Whether it may is not checked yet. */
export interface SendRequest {
  /** The capability that it is sent by. */
  readonly to: number;
  /** `type/id`; needed where the capability names a type only. */
  readonly actor: string | undefined;
  readonly message: string;
  readonly args: Json;
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
  const messages = readSends(sends ?? []);
  if (isRefusal(messages)) return messages;
  if (error !== undefined) {
    if (reply !== undefined || state !== undefined || become !== undefined || messages.length > 0)
      return invalid(
        "the handler's output has an `error` beside a `reply`, a `state`, a `become` or `sends`",
      );
    return readError(error);
  }
  if (reply === undefined) return invalid("the handler's output has neither a `reply` nor an `error`");
  if (become !== undefined && (typeof become !== "string" || !BEHAVIOUR_NAME.test(become)))
    return invalid("the handler's `become` is not the name of a behaviour");
  const text = state === undefined ? undefined : canonicalState(state);
  if (isRefusal(text)) return text;
  return {
    reply,
    state: text,
    ...(become !== undefined && { become }),
    ...(messages.length > 0 && { sends: messages }),
  };
}

function readSends(sends: Json): readonly SendRequest[] | Refusal {
  if (!isJsonArray(sends)) return invalid("the handler's `sends` are not an array");
  if (sends.length > SENDS_PER_CALL_MAX)
    return invalid(`the handler's \`sends\` are ${sends.length}; at most ${SENDS_PER_CALL_MAX} may be`);
  const read: SendRequest[] = [];
  for (const [index, send] of sends.entries()) {
    const request = isJsonObject(send) ? readSend(send) : undefined;
    if (request === undefined)
      return invalid(
        `the handler's send ${index} is not {to: {"$cap": n}, actor: "type/id", message: "name", args}`,
      );
    read.push(request);
  }
  return read;
}

function readSend({ to, actor, message, args = {}, ...unknown }: JsonObject): SendRequest | undefined {
  const handle = isJsonObject(to) ? readHandle(to) : undefined;
  if (handle === undefined || handle.caveats.length > 0 || Object.keys(unknown).length > 0) return undefined;
  if (typeof message !== "string" || !MESSAGE_NAME.test(message)) return undefined;
  if (actor !== undefined && !isActorName(actor)) return undefined;
  return { to: handle.id, actor, message, args };
}

function isActorName(name: Json): name is string {
  const [type = "", id = "", ...rest] = typeof name === "string" ? name.split("/") : [];
  return TYPE_NAME.test(type) && ACTOR_ID.test(id) && rest.length === 0;
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
