/**
 * The gate: one request, one way through.
 *
 *     bytes → envelope → verify → authorize → protocol → dispatch → record → reply
 *
 * Cheap refusals come first; what costs memory is written only after the signature has verified. The clock,
 * randomness and the store come in as arguments, so the same gate runs on Node and at the edge.
 */
import { type Context, Hono } from "hono";
import type { Vault } from "./actor/capabilities.ts";
import type { Position } from "./actor/position.ts";
import type { Answer, Call, Question } from "./actor/shard.ts";
import type { Word } from "./actor/word.ts";
import { answerHere, isForAnyNode } from "./anywhere.ts";
import { addressedUrl, asArrived, passedOnOf } from "./arrived.ts";
import { Authority, type Grant } from "./authorize/authorize.ts";
import type { Access } from "./authorize/caveats.ts";
import type { Readings } from "./authorize/readings.ts";
import { toHex } from "./bytes.ts";
import type { CallerAddress, Connection } from "./caller-address.ts";
import type { Incoming } from "./cluster/forward.ts";
import { type Ask, actorType, composeCall, eachCall, readWord, typedWord } from "./compose.ts";
import { composeQuestion, describe } from "./describe.ts";
import { type Envelope, type EnvelopeOptions, openEnvelope } from "./envelope.ts";
import { isRefusal, late, type Refusal, refuse } from "./errors.ts";
import type { Address } from "./ip.ts";
import { verifyToken } from "./known-token.ts";
import { CALLS_IN_FLIGHT_MAX } from "./limits.ts";
import { Nonce } from "./nonce.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { broughtBy, claimCapabilities } from "./received.ts";
import { type Notes, problemResponse, type ReplyOptions, replyTo } from "./record/reply.ts";
import type { Recorder } from "./record/requests.ts";
import type { Requested } from "./request/batch.ts";
import { readBody } from "./request/body.ts";
import { checkContentDigest } from "./request/digest.ts";
import { type PassedOn, readTimeout } from "./request/headers.ts";
import type { HolderSignatures } from "./signature/holder.ts";
import type { ReplayWindow } from "./signature/replay.ts";
import type { VerifiedMacaroon } from "./token/macaroon.ts";
import type { PrefixCache } from "./token/prefix-cache.ts";

export interface GatewayOptions extends EnvelopeOptions {
  /** Does a call where its actor lives: in this process, or at the node that leads its shard. */
  readonly call: (
    call: Call,
    incoming: Incoming,
    deadline_ms: number,
  ) => Promise<Answer | Response | Refusal>;
  /** Asks there what may be sent to the actor. */
  readonly describe: (
    question: Question,
    incoming: Incoming,
    deadline_ms: number,
  ) => Promise<Position | Response | Refusal>;
  /**
   * Learns of the node that has passed a call on, should it be new: its callers' host is known from its lease.
   * Refusal: `not_leader`, where no node of that host is known; such a node may be taken for dead and not know it.
   */
  readonly meetPeer: (host: string) => Promise<Refusal | undefined>;
  readonly protocols: ProtocolCache;
  readonly prefixes: PrefixCache;
  /** For as long as `prefixes` knows the caveats. */
  readonly readings: Readings;
  readonly signatures: HolderSignatures;
  readonly replays: ReplayWindow;
  readonly vault: Vault;
  readonly callerAddress: CallerAddress;
  /** Why no traffic should be sent here now; calls are still answered, until `closed` says why not. */
  readonly unready: () => Refusal | undefined;
  readonly closed: () => Refusal | undefined;
  readonly record: Recorder;
  /** Monotonic. */
  readonly monotonic_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

const ACTOR = "/v1/:tenant/:type/:id";
const MESSAGE = `${ACTOR}/:message`;

type App = Hono<{ Bindings: Connection }>;

export function createGateway(gate: GatewayOptions): App {
  const app: App = new Hono();
  const reply: ReplyOptions = { ...gate, requestId: () => toHex(gate.random(8)) };
  const callsInFlight = { count: 0 };

  app.get("/livez", (c) => c.json({ status: "alive" }));
  app.get("/readyz", (c) => {
    const refusal = gate.unready();
    return refusal === undefined ? c.json({ status: "ready" }) : problemResponse(refusal, reply.requestId());
  });
  const answer = (c: Context<{ Bindings: Connection }>) =>
    replyTo(c.req.method, reply, (notes) => pass(gate, c.req.raw, c.env, notes, callsInFlight));
  app.get(ACTOR, answer);
  app.post(ACTOR, answer);
  app.post(MESSAGE, answer);
  app.options(ACTOR, (c) => c.body(null, 204, { allow: "GET, HEAD, POST, OPTIONS" }));
  app.options(MESSAGE, (c) => c.body(null, 204, { allow: "POST, OPTIONS" }));
  app.all("*", (c) =>
    replyTo(c.req.method, reply, async () =>
      asArrived(
        refuse(
          "malformed_request",
          "no such path or method; calls are POST /v1/{tenant}/{type}/{id}/{message}, batches POST and questions GET without the message",
        ),
        c.req.raw,
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
  const passedOn = passedOnOf(request);
  if (isRefusal(passedOn)) return passedOn;
  if (passedOn.hops > 0) notes.hop = "received";
  const deadline_ms = gate.monotonic_ms() + Math.min(timeout_ms, passedOn.remaining_ms);

  const url = addressedUrl(request, passedOn);
  if (url === null) return refuse("malformed_request", "the request's host and path are no URL");
  if (passedOn.hops > 0) {
    const stranger = await gate.meetPeer(url.host);
    if (stranger !== undefined) return stranger;
  }
  const envelope = openEnvelope(gate, request, url, passedOn);
  if (isRefusal(envelope)) return asArrived(envelope, request, url);
  notes.actor = `${envelope.target.tenant}/${envelope.target.type}/${envelope.target.id}`;
  if (envelope.target.message !== undefined) notes.message = envelope.target.message;

  const token = verifyCaller(gate, envelope);
  if (isRefusal(token)) return asArrived(token, request, url);
  notes.signer = envelope.signature.keyid;

  // The signature covers the digest, so the caller is known before the body takes memory and a slot.
  if (callsInFlight.count >= CALLS_IN_FLIGHT_MAX)
    return refuse("overloaded", "too many calls are in flight", { retry_after_ms: 1000 });
  callsInFlight.count++;
  try {
    const address = gate.callerAddress.of(request, peer, passedOn.hops > 0, envelope.edgeKey);
    const caller = { envelope, token, address };
    const outcome = await passBody(gate, request, caller, passedOn, deadline_ms, notes);
    if (outcome instanceof Response) notes.hop = "sent";
    return outcome;
  } finally {
    callsInFlight.count--;
  }
}

/** Who asks, with what, from where. */
interface KnownCaller {
  readonly envelope: Envelope;
  readonly token: VerifiedMacaroon;
  readonly address: Address | undefined;
}

/** What is known once the body has been read. */
interface Known extends KnownCaller {
  readonly incoming: Incoming;
  /** Of the body. */
  readonly digest: Uint8Array;
  readonly now_ms: number;
  readonly deadline_ms: number;
  readonly revoked: () => Refusal | undefined;
}

/** The second half, for a caller who is known. */
async function passBody(
  gate: GatewayOptions,
  request: Request,
  caller: KnownCaller,
  { hops }: PassedOn,
  deadline_ms: number,
  notes: Notes,
): Promise<Answer | Response | Refusal> {
  const body = await readBody(request);
  if (isRefusal(body)) return body;
  const digest = checkContentDigest(request.headers.get("content-digest"), body);
  if (isRefusal(digest)) return digest;

  // Asked anew: a body may take its time, and a token may be revoked or expire meanwhile.
  const { envelope, token, address } = caller;
  const revoked = () => envelope.tenant.revoked.refuse(token, envelope.signature.keyid);
  const refused = revoked();
  if (refused !== undefined) return refused;
  const nonce = new Nonce(gate, envelope);
  const more = gate.callerAddress.passOn(request, address);
  const incoming = { request, body, hops, more, admit: () => nonce.take() };
  const known = { ...caller, incoming, digest, now_ms: gate.now_ms(), deadline_ms, revoked };
  const outcome = await (request.method === "POST"
    ? passCall(gate, known, notes)
    : passQuestion(gate, known));
  // It had no effect. The node that has passed it on may send it here again.
  if (isRefusal(outcome) && outcome.code === "not_leader") nonce.giveBack();
  return outcome;
}

/** A call or a batch: a word of messages, admitted whole. */
async function passCall(
  gate: GatewayOptions,
  known: Known,
  notes: Notes,
): Promise<Answer | Response | Refusal> {
  const { envelope, incoming, digest, deadline_ms } = known;
  const read = readWord(envelope.target, incoming.body);
  if (isRefusal(read)) return read;
  const claimed = claimCapabilities(envelope.target, read);
  if (isRefusal(claimed)) return claimed;
  const { word, claims } = claimed;
  notes.message = word.map(({ message }) => message).join(",");
  const authority = authorityOf(gate, known);
  if (isRefusal(authority)) return authority;
  const ask: Ask = (message, args) => authority.refuse(accessTo(known, message, args));
  const grant = authorizeWord(known, authority, word);
  if (isRefusal(grant)) return grant;
  const actor = actorType(envelope);
  if (isRefusal(actor)) return actor;
  const messages = typedWord(gate, envelope.target, actor, word, ask);
  if (isRefusal(messages)) return messages;
  const brought = broughtBy(gate, envelope, incoming.request, claims);
  if (isRefusal(brought)) return brought;
  const call = composeCall(gate, envelope, grant, actor, messages, digest, { ...known, ...brought });
  if (isRefusal(call)) return call;

  const isHere = actor.stateless && actor.run !== undefined && brought.unread === undefined;
  if (isForAnyNode(call, isHere, gate.protocols))
    return gate.monotonic_ms() < deadline_ms ? answerHere(call, gate.vault, incoming.admit) : late();
  return gate.call(call, incoming, deadline_ms);
}

/** A question: what may this token send to this actor now? */
async function passQuestion(gate: GatewayOptions, known: Known): Promise<Answer | Response | Refusal> {
  const { envelope, incoming, deadline_ms } = known;
  const { target } = envelope;
  const authority = authorityOf(gate, known);
  if (isRefusal(authority)) return authority;
  const grant = authority.refuse(accessTo(known, undefined, undefined)) ?? authority.grant();
  if (isRefusal(grant)) return grant;
  const actor = actorType(envelope);
  if (isRefusal(actor)) return actor;
  const question = composeQuestion(gate, target, grant, actor);
  if (isRefusal(question)) return question;
  const position = await gate.describe(question, incoming, deadline_ms);
  if (isRefusal(position) || position instanceof Response) return position;
  const key = gate.vault.publicKey(`${target.tenant}/${target.type}/${target.id}`);
  return { reply: describe(position, target, grant, actor, key), kept: false };
}

/** The token's HMAC chain, what was revoked, the request's signature: from here on the caller is known. */
function verifyCaller(gate: GatewayOptions, envelope: Envelope): VerifiedMacaroon | Refusal {
  const { tokens, signature, tenant } = envelope;
  const known = verifyToken(gate, tenant, tokens, signature.keyid);
  if (isRefusal(known)) return known;
  if (!gate.signatures.verifyRequest(signature.keyid, signature.base, signature.signature))
    return refuse("signature_invalid", "the signature does not verify over the request as it arrived");
  known.keep();
  return known.token;
}

function authorityOf(
  { signatures, readings }: GatewayOptions,
  { envelope, token }: KnownCaller,
): Authority | Refusal {
  const { signature, tenant } = envelope;
  return Authority.of(token, signature.keyid, { holder: tenant.holder, signatures }, readings);
}

/** Asks every caveat about each message of the word; arguments with references are asked about when they are known. */
function authorizeWord(known: Known, authority: Authority, word: Word<Requested>): Grant | Refusal {
  const refused = eachCall(known.envelope.target, word, ({ message, args, references }) =>
    authority.refuse(accessTo(known, message, references.size > 0 ? undefined : args)),
  );
  return isRefusal(refused) ? refused : authority.grant();
}

/** @param message `undefined` where it is asked what may be sent at all */
function accessTo(
  { envelope, address, now_ms }: Known,
  message: string | undefined,
  args: Access["args"],
): Access {
  const { target, signature, authority } = envelope;
  const { type, id } = target;
  return { actor: { type, id }, message, args, now_ms, signer: signature.keyid, address, authority };
}
