/**
 * What a grant claims where the actor lives: the monitors that must admit a call, the counts that must have room, and
 * the token that both belong to. Of the token itself nothing goes there but what everybody may know (law 7).
 */
import type { Call, CaveatMonitor } from "./actor/shard.ts";
import type { Grant } from "./authorize/authorize.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { monitorId, tokenDigest } from "./protocol/monitor.ts";

type Claims = Pick<Call, "token" | "monitors" | "counts" | "messages">;

/** Refusal: `unknown_caveat`, where a protocol does not compile. */
export function claimsOf(grant: Grant, protocols: ProtocolCache): Claims | Refusal {
  const monitors: CaveatMonitor[] = [];
  for (const { index, text, expression, tail, until_ms } of grant.protocols) {
    const automaton = protocols.get(expression);
    const caveat = { index, text };
    if (isRefusal(automaton))
      return refuse("unknown_caveat", `caveat ${index} is refused: ${automaton.detail}`, {
        token: 0,
        caveat,
      });
    monitors.push({ id: monitorId(tail), automaton, caveat, until_ms });
  }
  const counts = grant.counts.map(({ token, index, text, count, tail, until_ms }) => ({
    id: monitorId(tail),
    count,
    token,
    caveat: { index, text },
    until_ms,
  }));
  const token = { root: grant.root, digest: tokenDigest(grant.tail) };
  return { token, monitors, counts, messages: grant.messages };
}
