/**
 * A caller: signs requests and sends them.
 *
 * Every call carries an idempotency key, so a call whose answer was lost may be sent again with the same key and
 * takes effect once. A refusal is an answer, not an exception; only a gate that cannot be reached throws.
 */
import { toBase64url, utf8 } from "../bytes.ts";
import type { Problem } from "../errors.ts";
import type { Json } from "../json.ts";
import { contentDigest } from "../request/digest.ts";
import { type Shown, shown } from "../request/received.ts";
import { composeSignature, type SignedMessage } from "../request/signature-base.ts";
import { CHALLENGE, challengedNonce } from "../signature/challenge.ts";
import { holderSigner, requestMessage } from "../signature/holder.ts";
import type { Signer } from "../signature/scheme.ts";
import { type BatchCall, batchBody } from "./batch.ts";
import { differences } from "./differences.ts";

export { type BatchCall, type BatchValue, ResultReference, resultOf } from "./batch.ts";

/** Long enough for a slow network, short enough that a captured request is soon worthless. */
const SIGNATURE_LIFETIME_S = 30;

/** A signer from the text that `postern keygen` writes, of either scheme. @returns `undefined` where it is no secret key. */
export function signerFromHex(hex: string, random: (length: number) => Uint8Array): Signer | undefined {
  return holderSigner(hex.trim(), random);
}

export interface Caller {
  /** Where the gate is: `https://gate.example`. */
  readonly url: string;
  /** `pst_…`; where it has third parties, with its discharges behind it, as `postern/discharges` fetches them. */
  readonly token: string;
  readonly signer: Signer;
  /** ms since the epoch. */
  readonly now_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

export interface ActorInput {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly timeout_ms?: number;
}

interface KeyedInput extends ActorInput {
  /** The same key again makes this the same call. Without one a fresh key is made. */
  readonly idempotencyKey?: string;
}

export interface CallInput extends KeyedInput {
  readonly message: string;
  readonly args?: Json;
}

export interface BatchInput extends KeyedInput {
  /**
   * All of them take effect, one after the other, or none does. The result is the array of theirs. A text is the body
   * as it goes over the wire: JSON, references written `{"$ref":"$0.name"}`.
   */
  readonly calls: readonly BatchCall[] | string;
}

export interface SignedRequest {
  readonly url: string;
  readonly method: "POST";
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
  /** What was signed, by component. */
  readonly signed: Shown;
  /** The headers of the same request, signed with a gate's challenge, for a caller whose clock is wrong. */
  readonly challenged: (challenge: string) => Headers;
}

export type SignedQuestion = Omit<SignedRequest, "method" | "body"> & { readonly method: "GET" };

type Headers = Readonly<Record<string, string>>;

/** What `GET` on an actor answers: `src/describe.ts` says what is in it. */
export interface Description {
  readonly actor: string;
  /** The actor's public key: a capability is delegated to it before it is given (`postern/capability`). */
  readonly key: string;
  readonly exists: boolean;
  /** The name of what the actor has become, if it has. */
  readonly behaviour?: string;
  /** RFC 3339. */
  readonly expires: string | null;
  readonly enabled: readonly string[];
  readonly messages: Readonly<Record<string, DescribedMessage>>;
}

export interface DescribedMessage {
  /** JSON Schemas. */
  readonly args: Json;
  readonly result: Json;
  readonly reads: boolean;
  /** Whose order does not admit it yet; absent where it may be sent now. */
  readonly waits_for?: {
    readonly behaviour?: true;
    readonly caveats?: readonly { readonly index: number; readonly text: string }[];
  };
}

export type CallOutcome =
  | { readonly status: number; readonly result: Json }
  | {
      readonly status: number;
      readonly problem: Problem;
      /** What of the request arrived otherwise than it was signed, a clause for each component. */
      readonly differs?: readonly string[];
    };

/** A call as one request, signed and ready to send once. */
export function signCall(caller: Caller, call: CallInput): SignedRequest {
  const body = utf8(JSON.stringify(call.args ?? {}));
  return signRequest(caller, `${pathOf(call)}/${call.message}`, body, {
    ...keyHeader(caller, call),
    ...timeoutHeader(call),
  });
}

/** A batch as one request. Its result is an array, with a result for each call. */
export function signBatch(caller: Caller, batch: BatchInput): SignedRequest {
  const { calls } = batch;
  return signRequest(caller, pathOf(batch), utf8(typeof calls === "string" ? calls : batchBody(calls)), {
    ...keyHeader(caller, batch),
    ...timeoutHeader(batch),
  });
}

/** A request for the actor's `Description`: what may be sent to it now, by this token. */
export function signDescribe(caller: Caller, actor: ActorInput): SignedQuestion {
  return { method: "GET", ...sign(caller, "GET", pathOf(actor), new Uint8Array(), timeoutHeader(actor)) };
}

const pathOf = ({ tenant, actor }: ActorInput): string => `/v1/${tenant}/${actor}`;

function keyHeader({ random }: Caller, { idempotencyKey }: KeyedInput): Headers {
  return { "idempotency-key": `"${idempotencyKey ?? toBase64url(random(16))}"` };
}

function timeoutHeader({ timeout_ms }: ActorInput): Headers {
  return timeout_ms === undefined ? {} : { "request-timeout-ms": String(timeout_ms) };
}

/** Signs a POST of these bytes (RFC 9421 in Postern's profile), whatever they are. */
export function signRequest(
  caller: Caller,
  path: string,
  body: Uint8Array<ArrayBuffer>,
  more: Headers = {},
): SignedRequest {
  const headers = { "content-type": "application/json", ...more };
  return { method: "POST", ...sign(caller, "POST", path, body, headers), body };
}

function sign(
  caller: Caller,
  method: string,
  path: string,
  body: Uint8Array,
  more: Headers,
): Omit<SignedRequest, "method" | "body"> {
  const url = new URL(path, caller.url);
  const headers: Headers = {
    authorization: `Macaroon ${caller.token}`,
    "content-digest": contentDigest(body),
    ...more,
  };
  const message = {
    method,
    authority: url.host,
    path: url.pathname,
    query: url.search === "" ? "?" : url.search,
    field: (name: string) => headers[name] ?? null,
  };
  const headersFor = (challenge?: string) => ({ ...headers, ...signatureOf(caller, message, challenge) });
  return { url: url.href, headers: headersFor(), signed: shown(message), challenged: headersFor };
}

function signatureOf(caller: Caller, message: SignedMessage, challenge?: string): Headers {
  const nonce = toBase64url(caller.random(16));
  const created = Math.floor(caller.now_ms() / 1000);
  const { base, input } = composeSignature(message, {
    created,
    expires: created + SIGNATURE_LIFETIME_S,
    nonce: challenge === undefined ? nonce : challengedNonce(challenge, nonce),
    keyid: caller.signer.publicKey,
  });
  const signature = caller.signer.sign(requestMessage(caller.signer.publicKey, base));
  return {
    "signature-input": `sig=${input}`,
    signature: `sig=:${btoa(String.fromCharCode(...signature))}:`,
  };
}

export type Fetch = (
  url: string,
  init: {
    readonly method: "GET" | "POST";
    readonly headers: Headers;
    readonly body?: Uint8Array<ArrayBuffer>;
    /** Given where another place must not be asked instead. */
    readonly redirect?: "error";
  },
) => Promise<{ status: number; json(): Promise<unknown> }>;

/**
 * Sends it, and once more where the gate says that the caller's clock is wrong: signed with the gate's challenge then.
 * The result of a `SignedQuestion` is a `Description`.
 */
export async function send(request: SignedRequest | SignedQuestion, fetch: Fetch): Promise<CallOutcome> {
  const { url, signed, challenged, ...init } = request;
  const outcome = await exchange(url, init, fetch);
  const challenge = challengeIn(outcome);
  if (challenge === undefined) return compared(signed, outcome);
  return compared(signed, await exchange(url, { ...init, headers: challenged(challenge) }, fetch));
}

/** What is no challenge by its shape is not signed. A proxy in between may answer, too, and with anything. */
function challengeIn(outcome: CallOutcome): string | undefined {
  const { challenge } = "problem" in outcome ? factsOf(outcome.problem) : {};
  return typeof challenge === "string" && CHALLENGE.test(challenge) ? challenge : undefined;
}

function compared(signed: Shown, outcome: CallOutcome): CallOutcome {
  const { received } = "problem" in outcome ? factsOf(outcome.problem) : {};
  const differs = received === undefined ? [] : differences(signed, received);
  return differs.length === 0 ? outcome : { ...outcome, differs };
}

function factsOf(problem: unknown): { readonly challenge?: unknown; readonly received?: object } {
  if (typeof problem !== "object" || problem === null) return {};
  const { challenge, received } = problem as { readonly challenge?: unknown; readonly received?: unknown };
  return { challenge, ...(typeof received === "object" && received !== null && { received }) };
}

async function exchange(url: string, init: Parameters<Fetch>[1], fetch: Fetch): Promise<CallOutcome> {
  const response = await fetch(url, init);
  const answer = await response.json();
  return response.status === 200
    ? { status: response.status, result: answer as Json }
    : { status: response.status, problem: answer as Problem };
}
