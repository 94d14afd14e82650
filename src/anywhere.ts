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

import { Purse, type Vault } from "./actor/capabilities.ts";
import { replyOf } from "./actor/entry.ts";
import type { Answer, Call } from "./actor/shard.ts";
import { ofCall, runWord, type TurnResult } from "./actor/word.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { orderClass } from "./protocol/classes.ts";

/** @param stateless whether the policy says that the actor has no state, and its handler can be run here */
export function isForAnyNode(
  { word, behaviour, monitors, counts }: Pick<Call, "word" | "behaviour" | "monitors" | "counts">,
  stateless: boolean,
  protocols: ProtocolCache,
): boolean {
  // What is counted is counted by the owner.
  if (!stateless || counts.length > 0) return false;
  const ofActor = protocols.get(behaviour);
  if (isRefusal(ofActor)) return false;
  const automata = [ofActor, ...monitors.map(({ automaton }) => automaton)];
  return word.every(({ name }) => orderClass(automata, name) === "free");
}

/**
 * Runs the turns of such a call. What came with it may go out in the reply, and nothing of it stays.
 * @param admit takes the request's nonce on this node
 */
export async function answerHere(
  call: Call,
  vault: Vault,
  admit: () => Refusal | undefined,
): Promise<Answer | Refusal> {
  const refused = admit();
  if (refused !== undefined) return refused;
  const owner = `${call.tenant}/${call.actor}`;
  const purse = new Purse({ vault, owner, held: new Map(), next: 0, received: call.received });
  const ran = await runWord(call, undefined, purse, (index, turn) => {
    const what = effectOf(turn);
    if (what === undefined) return undefined;
    const why = `the policy says that ${call.actor} has no state, but the handler ${what}`;
    return ofCall(call, index, refuse("handler_invalid", why));
  });
  if (isRefusal(ran)) return ran;
  const reply = purse.handOn(replyOf({ turns: ran.turns, batch: call.batch }), call.signer);
  return isRefusal(reply) ? reply : { reply, kept: false };
}

/** What of a turn would have to be written down, which nobody does here. */
function effectOf({ state, become, sends }: TurnResult): string | undefined {
  if (state !== undefined) return "returned one";
  if (become !== undefined) return "became something";
  return sends === undefined ? undefined : "sent messages";
}
