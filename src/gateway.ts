/**
 * The gate: one request, one way through.
 *
 *     bytes → envelope → verify → authorize → protocol → dispatch → record → reply
 *
 * Cheap refusals come first; what costs memory is written only after the signature has verified. The clock,
 * randomness and the store come in as arguments, so the same gate runs on Node and at the edge.
 */
import { Hono } from "hono";
import type { Answer, Call } from "./actor/shard.ts";
import { answerHere, isForAnyNode } from "./anywhere.ts";
import { authorize, type Grant } from "./authorize/authorize.ts";
import type { Access } from "./authorize/caveats.ts";
import { toHex } from "./bytes.ts";
import type { CallerAddress, Connection } from "./caller-address.ts";
import { claimsOf } from "./claims.ts";
import { HOPS_HEADER, type Incoming, REMAINING_HEADER } from "./cluster/forward.ts";
import { type Envelope, type EnvelopeOptions, nonceKey, openEnvelope, replayed } from "./envelope.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Address } from "./ip.ts";
import { type Json, parseJson } from "./json.ts";
import { CALLS_IN_FLIGHT_MAX } from "./limits.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { type Notes, problemResponse, type ReplyOptions, replyTo } from "./record/reply.ts";
import type { Recorder } from "./record/requests.ts";
import { readBody } from "./request/body.ts";
import { checkContentDigest } from "./request/digest.ts";
import { type PassedOn, readPassedOn, readTimeout } from "./request/headers.ts";
import { rememberUntil } from "./signature/freshness.ts";
import type { HolderSignatures } from "./signature/holder.ts";
import type { ReplayWindow } from "./signature/replay.ts";
import type { ActorType, MessageType } from "./tenants.ts";
import { verifyingKey } from "./token/keyring.ts";
import { parseIdentifier, type VerifiedMacaroon } from "./token/macaroon.ts";
import { verify } from "./token/verify.ts";

export interface GatewayOptions extends EnvelopeOptions {
  /** Does a call where its actor lives: in this process, or at the node that leads its shard. */
  readonly call: (
    call: Call,
    incoming: Incoming,
    deadline_ms: number,
  ) => Promise<Answer | Response | Refusal>;
  /**
   * Learns of the node that has passed a call on, should it be new: its callers' host is known from its lease.
   * Refusal: `not_leader`, where no node of that host is known; such a node may be taken for dead and not know it.
   */
  readonly meetPeer: (host: string) => Promise<Refusal | undefined>;
  readonly protocols: ProtocolCache;
  readonly signatures: HolderSignatures;
  readonly replays: ReplayWindow;
  readonly callerAddress: CallerAddress;
  /** Why no traffic should be sent here now; calls are still answered, until `closed` says why not. */
  readonly unready: () => Refusal | undefined;
  readonly closed: () => Refusal | undefined;
  readonly record: Recorder;
  /** Monotonic. */
  readonly monotonic_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

export function createGateway(gate: GatewayOptions): Hono<{ Bindings: Connection }> {
  const app = new Hono<{ Bindings: Connection }>();
  const reply: ReplyOptions = { ...gate, requestId: () => toHex(gate.random(8)) };
  const callsInFlight = { count: 0 };

  app.get("/livez", (c) => c.json({ status: "alive" }));
  app.get("/readyz", (c) => {
    const refusal = gate.unready();
    return refusal === undefined ? c.json({ status: "ready" }) : problemResponse(refusal, reply.requestId());
  });
  app.post("/v1/:tenant/:type/:id/:message", (c) =>
    replyTo(c.req.method, reply, (notes) => pass(gate, c.req.raw, c.env, notes, callsInFlight)),
  );
  app.all("*", (c) =>
    replyTo(c.req.method, reply, async () =>
      refuse(
        "malformed_request",
        "no such path or method; calls are POST /v1/{tenant}/{type}/{id}/{message}",
      ),
    ),
  );
  return app;
}

/** The pipeline. Each stage takes what the one before it has established, and says so by its type. */
async function pass(
  gate: GatewayOptions,
  request: Request,
  { peer }: Connection,
  notes: Notes,
  callsInFlight: { count: number },
): Promise<Answer | Response | Refusal> {
  const closed = gate.closed();
  if (closed !== undefined) return closed;
  const timeout_ms = readTimeout(request.headers.get("request-timeout-ms"));
  if (isRefusal(timeout_ms)) return timeout_ms;
  const passedOn = readPassedOn(request.headers.get(HOPS_HEADER), request.headers.get(REMAINING_HEADER));
  if (isRefusal(passedOn)) return passedOn;
  if (passedOn.hops > 0) notes.hop = "received";
  const deadline_ms = gate.monotonic_ms() + Math.min(timeout_ms, passedOn.remaining_ms);

  if (passedOn.hops > 0) {
    const stranger = await gate.meetPeer(URL.parse(request.url)?.host ?? "");
    if (stranger !== undefined) return stranger;
  }
  const envelope = openEnvelope(gate, request);
  if (isRefusal(envelope)) return envelope;
  notes.actor = `${envelope.target.tenant}/${envelope.target.type}/${envelope.target.id}`;
  notes.message = envelope.target.message;

  const token = verifyCaller(gate, envelope);
  if (isRefusal(token)) return token;
  notes.signer = envelope.signature.keyid;

  // The signature covers the digest, so the caller is known before the body takes memory and a slot.
  if (callsInFlight.count >= CALLS_IN_FLIGHT_MAX)
    return refuse("overloaded", "too many calls are in flight", { retry_after_ms: 1000 });
  callsInFlight.count++;
  try {
    const address = gate.callerAddress.of(request, peer, passedOn.hops > 0);
    const outcome = await passBody(gate, request, envelope, token, address, passedOn, deadline_ms);
    if (outcome instanceof Response) notes.hop = "sent";
    return outcome;
  } finally {
    callsInFlight.count--;
  }
}

/** The second half, for a caller who is known. */
async function passBody(
  gate: GatewayOptions,
  request: Request,
  envelope: Envelope,
  token: VerifiedMacaroon,
  address: Address | undefined,
  { hops }: PassedOn,
  deadline_ms: number,
): Promise<Answer | Response | Refusal> {
  const body = await readBody(request);
  if (isRefusal(body)) return body;
  const digest = checkContentDigest(request.headers.get("content-digest"), body);
  if (isRefusal(digest)) return digest;

  const args = parseJson(body);
  if (isRefusal(args)) return args;
  // Asked anew: a body may take its time, and a token may expire or be revoked meanwhile.
  const now_ms = gate.now_ms();
  const grant = authorizeCall(gate, envelope, token, { args: args.value, address, now_ms });
  if (isRefusal(grant)) return grant;
  const message = typedMessage(envelope);
  if (isRefusal(message)) return message;
  const call = composeCall(gate, envelope, grant, message, args.value, digest, now_ms);
  if (isRefusal(call)) return call;

  const nonce = new Nonce(gate, envelope);
  const admit = (): Refusal | undefined => nonce.take();
  if (isForAnyNode(call, message.actor.stateless, gate.protocols)) return answerHere(call, admit);
  const more = gate.callerAddress.passOn(request, address);
  const outcome = await gate.call(call, { request, body, hops, more, admit }, deadline_ms);
  // It had no effect. The node that has passed it on may send it here again.
  if (isRefusal(outcome) && outcome.code === "not_leader") nonce.giveBack();
  return outcome;
}

/** The token's HMAC chain, what was revoked, the request's signature: from here on the caller is known. */
function verifyCaller(gate: GatewayOptions, envelope: Envelope): VerifiedMacaroon | Refusal {
  const { tokens, signature, tenant } = envelope;
  const [macaroon, ...discharges] = tokens;
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined || identifier.tenant !== tenant.name)
    return refuse("token_invalid", `the token was not minted by tenant ${tenant.name}`, { token: 0 });
  const key = verifyingKey(tenant.keyring, identifier.kid);
  if (key === undefined)
    return refuse("token_invalid", `the token's key ${identifier.kid} is not in use`, { token: 0 });
  const token = verify(macaroon, key.secret, discharges);
  if (isRefusal(token)) return token;
  const revoked = tenant.revoked.refuse(token, signature.keyid);
  if (revoked !== undefined) return revoked;

  if (!gate.signatures.verifyRequest(signature.keyid, signature.base, signature.signature))
    return refuse("signature_invalid", "the signature does not verify over the request as it arrived");
  return token;
}

/**
 * The request's nonce. It is taken where the call is done: every copy of a request reaches the leader of its actor's
 * shard. A request whose shard moves meanwhile may be tried here again; it is still the same one.
 */
class Nonce {
  readonly #gate: Pick<GatewayOptions, "replays" | "now_ms">;
  readonly #key: string;
  readonly #until_s: number;
  #taken = false;

  constructor(gate: Pick<GatewayOptions, "replays" | "now_ms">, { signature }: Envelope) {
    this.#gate = gate;
    this.#key = nonceKey(signature);
    this.#until_s = rememberUntil(signature);
  }

  /** Refusals: `replayed`, `overloaded`. */
  take(): Refusal | undefined {
    if (this.#taken) return undefined;
    const { replays, now_ms } = this.#gate;
    const taken = replays.remember(this.#key, this.#until_s, now_ms() / 1000);
    if (taken === "replayed") return replayed();
    if (taken === "full") return refuse("overloaded", "the replay window is full", { retry_after_ms: 1000 });
    this.#taken = true;
    return undefined;
  }

  giveBack(): void {
    if (this.#taken) this.#gate.replays.release(this.#key, this.#until_s);
    this.#taken = false;
  }
}

function authorizeCall(
  { signatures }: GatewayOptions,
  { target, tenant, signature, authority }: Envelope,
  token: VerifiedMacaroon,
  known: Pick<Access, "args" | "address" | "now_ms">,
) {
  const { type, id, message } = target;
  const access = { ...known, actor: { type, id }, message, signer: signature.keyid, authority };
  const rules = { holder: tenant.holder, signatures };
  return tenant.revoked.refuse(token, access.signer) ?? authorize(token, access, rules);
}

interface TypedMessage {
  readonly actor: ActorType;
  readonly message: MessageType;
}

function typedMessage({ target, tenant }: Envelope): TypedMessage | Refusal {
  const actor = tenant.actors.get(target.type);
  if (actor === undefined) return refuse("no_such_actor_type", `there is no actor type ${target.type}`);
  const message = actor.messages.get(target.message);
  if (message !== undefined) return { actor, message };
  return refuse("no_such_message", `${target.type} has no message ${target.message}`, {
    enabled: [...actor.messages.keys()].toSorted(),
  });
}

/** Arguments of the right type, the token's monitors, and the handler: all that the shard needs. */
function composeCall(
  gate: GatewayOptions,
  { target, signature, idempotencyKey }: Envelope,
  grant: Grant,
  { actor, message }: TypedMessage,
  args: Json,
  digest: Uint8Array,
  now_ms: number,
): Call | Refusal {
  const violation = message.checkArgs(args);
  if (violation !== undefined)
    return refuse("schema_violation", `the arguments ${at(violation)}`, { path: violation.path });
  const claims = claimsOf(grant, gate.protocols);
  if (isRefusal(claims)) return claims;
  return {
    tenant: target.tenant,
    actor: `${target.type}/${target.id}`,
    message: target.message,
    args,
    signer: signature.keyid,
    now_ms,
    seed: toHex(gate.random(16)),
    behaviour: actor.behaviour,
    become: actor.become,
    ...claims,
    reads: message.reads,
    idempotency:
      idempotencyKey === undefined
        ? undefined
        : {
            // Callers cannot meet each other's keys, and a key means one message with one body.
            key: `${signature.keyid}:${idempotencyKey}`,
            digest: `${target.message}:${toHex(digest)}`,
          },
    nonce: { key: nonceKey(signature), until_s: rememberUntil(signature) },
    run: (turn) => {
      const result = actor.run(turn);
      if (isRefusal(result)) return result;
      const broken = message.checkResult(result.reply);
      return broken === undefined ? result : refuse("handler_invalid", `the handler's reply ${at(broken)}`);
    },
  };
}

const at = ({ path, reason }: { path: string; reason: string }): string =>
  `${path === "" ? "" : `at ${path} `}${reason}`;
