/**
 * Who a send comes from: an actor that names itself, `Postern-Sender: type/id`, and signs with its key.
 *
 * Nobody else has that key, so the name needs no other proof. A receiver remembers the last send of each actor and takes
 * none twice, for longer than any is under way; that is not for callers who only say that they are actors.
 */
import type { Vault } from "./actor/capabilities.ts";
import type { Call } from "./actor/shard.ts";
import type { Envelope } from "./envelope.ts";
import { type Refusal, refuse } from "./errors.ts";
import { ACTOR_ID, TYPE_NAME } from "./names.ts";

export const SENDER_HEADER = "postern-sender";

/** The `Idempotency-Key` of a send: its number among all of its sender's. */
export function sendKey(number: number): string {
  return `send-${number}`;
}

const KEY = /^send-(0|[1-9][0-9]{0,14})$/;

/**
 * @param field the header's value, `null` where there is none
 * @returns or `signature_invalid`, `malformed_request`
 */
export function readSender(
  vault: Pick<Vault, "publicKey">,
  { target, signature, idempotencyKey = "" }: Envelope,
  field: string | null,
): Call["sender"] | Refusal {
  if (field === null) return undefined;
  const [type = "", id = "", ...rest] = field.split("/");
  if (!TYPE_NAME.test(type) || !ACTOR_ID.test(id) || rest.length > 0)
    return refuse("malformed_request", "Postern-Sender names no actor");
  const key = vault.publicKey(`${target.tenant}/${field}`);
  if (key !== signature.keyid)
    return refuse("signature_invalid", "the request is not signed by the actor that it names as its sender");
  const number = KEY.exec(idempotencyKey)?.[1];
  return number === undefined
    ? refuse("malformed_request", "a send's Idempotency-Key is its number")
    : { key, number: Number(number) };
}
