/**
 * The first stage: a request whose shape is right. Cheap, touches no secret, remembers nothing.
 *
 * Token and signature are still only claims. What can be refused by their text alone (an expired token, a stale or
 * repeated signature) is refused here, before any key is looked at.
 */
import { messageOf } from "./arrived.ts";
import { refuseExpired } from "./authorize/authorize.ts";
import { fromUtf8 } from "./bytes.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { refuseAnnounced } from "./request/body.ts";
import { type PassedOn, readAuthorization, readIdempotencyKey } from "./request/headers.ts";
import { type ReceivedSignature, readSignature } from "./request/signature-base.ts";
import { readTarget, type Target } from "./request/target.ts";
import type { Secret } from "./secret.ts";
import { Challenges, isChallenged } from "./signature/challenge.ts";
import { type Lifetime, refuseLongLived, refuseStale } from "./signature/freshness.ts";
import type { ReplayWindow } from "./signature/replay.ts";
import type { Tenant } from "./tenants.ts";
import { decodeTokens, type Tokens } from "./token/envelope.ts";

export interface EnvelopeOptions {
  /** Refusals: `no_such_tenant`, `store_unavailable`. */
  readonly tenant: (name: string) => Tenant | Refusal;
  readonly replays: Pick<ReplayWindow, "has">;
  readonly challenges: Challenges;
  /** Whether callers may address this gate under that host and port; never inferred from a request. */
  readonly answersTo: (host: string) => boolean;
  /** ms since the epoch. */
  readonly now_ms: () => number;
}

/** A request whose shape is right. Token and signature are still only claims. */
export interface Envelope {
  readonly target: Target;
  /** Host and port that it was addressed to, one of the gate's. */
  readonly authority: string;
  readonly tenant: Tenant;
  readonly tokens: Tokens;
  readonly signature: ReceivedSignature;
  /** When the request may be taken: by its own times, or by those of the challenge that it answers. */
  readonly lifetime: Lifetime;
  readonly idempotencyKey: string | undefined;
  /** Of the edge node that has passed it on, where one says so and has the tenant's key ring. */
  readonly edgeKey: Secret | undefined;
}

/** @param url as the caller has addressed it */
export function openEnvelope(
  gate: EnvelopeOptions,
  request: Request,
  url: URL,
  { edge }: Pick<PassedOn, "edge">,
): Envelope | Refusal {
  const target = readTarget(url);
  if (isRefusal(target)) return target;
  // A second Host line is joined to the first: what is signed must not depend on which one is read.
  if (!gate.answersTo(url.host) || request.headers.get("host")?.includes(","))
    return refuse("malformed_request", `this gate does not answer under the host that the request names`);
  const tenant = gate.tenant(target.tenant);
  if (isRefusal(tenant)) return tenant;
  const announced = refuseAnnounced(request);
  if (announced !== undefined) return announced;
  const idempotencyKey = readIdempotencyKey(request.headers.get("idempotency-key"));
  if (isRefusal(idempotencyKey)) return idempotencyKey;

  const tokens = claimedTokens(gate, request);
  if (isRefusal(tokens)) return tokens;
  const signature = claimedSignature(gate, request, url);
  if (isRefusal(signature)) return signature;
  const edgeKey = edge === undefined ? undefined : tenant.edges.get(edge.name);
  const challenges = edgeKey === undefined ? gate.challenges : new Challenges(edgeKey);
  const lifetime = claimedLifetime({ ...gate, challenges }, signature);
  if (isRefusal(lifetime)) return lifetime;
  return { target, authority: url.host, tenant, tokens, signature, lifetime, idempotencyKey, edgeKey };
}

function claimedTokens(gate: EnvelopeOptions, request: Request): Tokens | Refusal {
  const text = readAuthorization(request.headers.get("authorization"));
  if (isRefusal(text)) return text;
  const tokens = decodeTokens(text);
  if (isRefusal(tokens)) return tokens;
  const now_ms = gate.now_ms();
  for (const [token, { unsafeCaveats }] of tokens.entries()) {
    const texts = unsafeCaveats.map(({ cid, vid }) => (vid === undefined ? (fromUtf8(cid) ?? "") : ""));
    const expired = refuseExpired(texts, now_ms, token);
    if (expired !== undefined) return expired;
  }
  return tokens;
}

function claimedSignature(gate: EnvelopeOptions, request: Request, url: URL): ReceivedSignature | Refusal {
  const signature = readSignature(messageOf(request, url));
  if (isRefusal(signature)) return signature;
  if (gate.replays.has(nonceKey(signature))) return replayed();
  return refuseLongLived(signature) ?? signature;
}

/** A caller whose clock is wrong is given the gate's time to sign with. */
function claimedLifetime(gate: EnvelopeOptions, signature: ReceivedSignature): Lifetime | Refusal {
  const { nonce, keyid } = signature;
  const now_s = gate.now_ms() / 1000;
  const lifetime = isChallenged(nonce) ? gate.challenges.lifetimeOf(nonce, keyid) : signature;
  const stale =
    lifetime === undefined
      ? refuse("signature_invalid", "the nonce's challenge was not given out for that key by this gate")
      : refuseStale(lifetime, now_s);
  return stale?.with({ challenge: gate.challenges.issue(keyid, now_s) }) ?? lifetime ?? signature;
}

export const nonceKey = ({ keyid, nonce }: ReceivedSignature): string => `${keyid}:${nonce}`;
export const replayed = (): Refusal =>
  refuse("replayed", "a request with this key and nonce was already taken");
