/**
 * What a capability may do on an actor now, as `GET /v1/{tenant}/{type}/{id}` answers it.
 *
 *     {"actor":"account/42","key":"<64 hex>","exists":true,"expires":"2026-01-01T12:00:00.000Z","enabled":["balance"],
 *      "messages":{"balance":{"args":<schema>,"result":<schema>,"reads":true},
 *                  "close":{"args":…,"result":…,"reads":false,
 *                           "waits_for":{"behaviour":true,"caveats":[{"index":3,"text":"protocol = …"}]}}}}
 *
 * What the token can never send is not in it. `waits_for` says whose order does not admit a message yet; `behaviour`
 * is the name of what the actor has become, if it has. `key` is the actor's own: capabilities are delegated to it.
 */
import type { Position } from "./actor/position.ts";
import type { Question } from "./actor/shard.ts";
import type { Grant } from "./authorize/authorize.ts";
import { claimsOf } from "./claims.ts";
import type { ComposeOptions } from "./compose.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import type { Json, JsonObject } from "./json.ts";
import type { Monitor } from "./protocol/monitor.ts";
import type { Target } from "./request/target.ts";
import type { ActorType } from "./tenants.ts";

export function composeQuestion(
  options: ComposeOptions,
  target: Target,
  grant: Grant,
  actor: ActorType,
): Question | Refusal {
  const claims = claimsOf(grant, options.protocols);
  if (isRefusal(claims)) return claims;
  const { token, monitors } = claims;
  const names = [...actor.messages.keys()].filter((name) => grant.messages?.has(name) ?? true);
  return {
    tenant: target.tenant,
    actor: `${target.type}/${target.id}`,
    token,
    behaviour: actor.behaviour,
    monitors,
    names,
  };
}

export function describe(
  { exists, become, messages }: Position,
  { type, id }: Target,
  { expires_ms }: Grant,
  actor: ActorType,
  key: string,
): Json {
  const listed: [string, Json][] = [];
  for (const [name, closed] of [...messages].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const message = actor.messages.get(name);
    if (message === undefined) continue;
    const { args, result, reads } = message;
    listed.push([name, { args, result, reads, ...(closed.length > 0 && { waits_for: waitsFor(closed) }) }]);
  }
  return {
    actor: `${type}/${id}`,
    key,
    exists,
    ...(become !== undefined && { behaviour: become }),
    expires: expires_ms === undefined ? null : new Date(expires_ms).toISOString(),
    enabled: [...messages]
      .filter(([, closed]) => closed.length === 0)
      .map(([name]) => name)
      .toSorted(),
    messages: Object.fromEntries(listed),
  };
}

function waitsFor(closed: readonly Monitor[]): JsonObject {
  const caveats = closed.flatMap(({ caveat }) => (caveat === undefined ? [] : [{ ...caveat }]));
  return {
    ...(caveats.length < closed.length && { behaviour: true }),
    ...(caveats.length > 0 && { caveats }),
  };
}
