/**
 * The whole effect of a call on its actor, without applying any of it: monitors, counts, turns, what they leave and send.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { IDEMPOTENCY_RETENTION_MS, SENDER_RETENTION_MS } from "../limits.ts";
import type { Actor } from "./actor.ts";
import { handOnKept, Purse, type Vault } from "./capabilities.ts";
import { countAll } from "./counts.ts";
import { Course, standingOf } from "./course.ts";
import { type Entry, replyOf } from "./entry.ts";
import { monitorRecords, othersOf, statesOf } from "./monitors.ts";
import { referred, Sending } from "./outbox.ts";
import { fullLedger, noRoom } from "./room.ts";
import type { Answer, Call, Protocols } from "./shard.ts";
import { runWord } from "./word.ts";

interface Where {
  /** `tenant/type/id`. */
  readonly address: string;
  readonly actor: Actor;
  readonly protocols: Protocols;
  readonly vault: Vault;
}

export interface Effect {
  readonly reply: Json;
  /** Absent where the call changes nothing at all, so there is nothing to write. */
  readonly entry?: Omit<Entry, "v" | "actor">;
  readonly state?: string | undefined;
}

/** The refusal, or what the call would leave and answer. */
export async function effectOf(
  { address, actor, protocols, vault }: Where,
  call: Call,
): Promise<Effect | Refusal> {
  const standing = standingOf(actor, call.behaviour, protocols);
  if (isRefusal(standing)) return standing;
  const { root, digest } = call.token;
  const [states, others] = [statesOf(actor, root), othersOf(actor, call)];
  const course = new Course({ call, protocols, standing, states, others });
  const refused = course.admit();
  if (refused !== undefined) return refused;
  const { steps } = course;
  const monitors = monitorRecords(steps, call.monitors);
  const counts = countAll(call, (id) => actor.counts.get(root, id)?.state);
  if (isRefusal(counts)) return counts;
  const reads = call.word.every((message) => message.reads);
  const looks = reads && counts.length === 0 && steps.every(({ from, to }) => from === to);
  const full = noRoom(actor, call, monitors, counts) ?? (looks ? undefined : fullLedger(actor, call));
  if (full !== undefined) return full;

  const { capability: next, send: nextSend } = actor.next;
  const { received, signer, now_ms } = call;
  const purse = new Purse({ vault, owner: address, held: actor.capabilities, next, received });
  const sending = new Sending(purse, actor.outbox, nextSend);
  const ran = await runWord(
    call,
    actor.state,
    purse,
    (index, { become, sends = [] }) => sending.add(sends) ?? course.passed(index, become),
  );
  if (isRefusal(ran)) return ran;
  const inside = replyOf({ turns: ran.turns, batch: call.batch });
  const reply = purse.handOn(inside, signer);
  if (isRefusal(reply)) return reply;
  if (looks) return { reply };
  const sends = sending.records;
  const left = purse.leave([...(call.idempotency ? [inside] : []), ...sends.map(referred)], ran.state);
  if (isRefusal(left)) return left;
  const { handler, batch, idempotency, sender, nonce } = call;
  const entry: Effect["entry"] = {
    at: now_ms,
    signer,
    token: [root, digest],
    ...(handler !== undefined && { handler }),
    turns: ran.turns,
    ...(batch && { batch }),
    behaviour: course.behaviour,
    monitors,
    ...(counts.length > 0 && { counts }),
    ...(idempotency && {
      kept: [idempotency.key, idempotency.digest, now_ms + IDEMPOTENCY_RETENTION_MS] as const,
    }),
    nonce: [nonce.key, nonce.until_s],
    ...left,
    ...(sends.length > 0 && { sends }),
    ...(sender && { sender: [sender.key, sender.number, now_ms + SENDER_RETENTION_MS] as const }),
  };
  return { reply, entry, state: ran.state };
}

/** The answer of a call that took effect before, where it did. Refusal: `idempotency_mismatch`. */
export function keptAnswer({ address, actor, vault }: Where, call: Call): Answer | Refusal | undefined {
  const { idempotency, sender, now_ms, signer } = call;
  // Who sent it wants to know that it was taken, and nothing else.
  if (sender !== undefined)
    return actor.senders.hasTaken(sender.key, sender.number) ? { reply: null, kept: true } : undefined;
  const kept = idempotency && actor.replies.get(idempotency.key);
  if (kept === undefined || kept.until_ms < now_ms) return undefined;
  if (kept.digest !== idempotency?.digest)
    return refuse(
      "idempotency_mismatch",
      "this idempotency key was used with another message or other arguments",
    );
  const reply = handOnKept({ vault, owner: address }, kept.reply, kept.caps, signer);
  return isRefusal(reply) ? reply : { reply, kept: true };
}
