/**
 * Calls that any node answers by itself: no owner, no log, no wait (DESIGN section 5).
 *
 * Such a message is admitted in every state that any monitor of its chain or of the behaviour can be in, and moves
 * none of them; and its actor has no state. So no node knows anything that another would need to, and the call takes no
 * effect that could happen twice. Three promises are smaller for it, on purpose:
 *
 * - Its nonce is remembered by this node alone. Who has captured the request may send it to each node once, within
 *   its 60 s, and learns what a function of its arguments answers; nothing else comes of it.
 * - An idempotency key keeps no reply: to answer anew is no second effect.
 * - An actor that began under an older policy's behaviour is not asked: today's policy lets everybody send this always.
 */
import type { Answer, Call } from "./actor/shard.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { orderClass } from "./protocol/classes.ts";

/** @param stateless whether the policy says that the actor has no state */
export function isForAnyNode(
  { message, behaviour, monitors, counts }: Pick<Call, "message" | "behaviour" | "monitors" | "counts">,
  stateless: boolean,
  protocols: ProtocolCache,
): boolean {
  // What is counted is counted by the owner.
  if (!stateless || counts.length > 0) return false;
  const ofActor = protocols.get(behaviour);
  if (isRefusal(ofActor)) return false;
  return orderClass([ofActor, ...monitors.map(({ automaton }) => automaton)], message) === "free";
}

/** Runs the one turn that such a call is. @param admit takes the request's nonce on this node */
export function answerHere(call: Call, admit: () => Refusal | undefined): Answer | Refusal {
  const refused = admit();
  if (refused !== undefined) return refused;
  const { message, args, now_ms, seed, actor } = call;
  const turn = call.run({ state: undefined, message, args, now_ms, seed, actor });
  if (isRefusal(turn)) return turn;
  const { reply, state, become } = turn;
  if (state === undefined && become === undefined) return { reply, kept: false };
  const what = state === undefined ? "became something" : "returned one";
  return refuse("handler_invalid", `the policy says that ${actor} has no state, but the handler ${what}`);
}
