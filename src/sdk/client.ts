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
import { composeSignature } from "../request/signature-base.ts";
import { holderSigner, requestMessage } from "../signature/holder.ts";
import type { Signer } from "../signature/scheme.ts";

/** Long enough for a slow network, short enough that a captured request is soon worthless. */
const SIGNATURE_LIFETIME_S = 30;

/** A signer from the text that `postern keygen` writes, of either scheme. @returns `undefined` where it is no secret key. */
export function signerFromHex(hex: string, random: (length: number) => Uint8Array): Signer | undefined {
  return holderSigner(hex.trim(), random);
}

export interface Caller {
  /** Where the gate is: `https://gate.example`. */
  readonly url: string;
  /** `pst_…` */
  readonly token: string;
  readonly signer: Signer;
  /** ms since the epoch. */
  readonly now_ms: () => number;
  readonly random: (length: number) => Uint8Array;
}

export interface CallInput {
  readonly tenant: string;
  /** `type/id`. */
  readonly actor: string;
  readonly message: string;
  readonly args?: Json;
  /** The same key again makes this the same call. Without one a fresh key is made. */
  readonly idempotencyKey?: string;
  readonly timeout_ms?: number;
}

export interface SignedRequest {
  readonly url: string;
  readonly method: "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
}

export type CallOutcome =
  | { readonly status: number; readonly result: Json }
  | { readonly status: number; readonly problem: Problem };

/** A call as one request, signed and ready to send once. */
export function signCall(caller: Caller, call: CallInput): SignedRequest {
  const path = `/v1/${call.tenant}/${call.actor}/${call.message}`;
  return signRequest(caller, path, utf8(JSON.stringify(call.args ?? {})), {
    "idempotency-key": `"${call.idempotencyKey ?? toBase64url(caller.random(16))}"`,
    ...(call.timeout_ms !== undefined && { "request-timeout-ms": String(call.timeout_ms) }),
  });
}

/** Signs a POST of these bytes (RFC 9421 in Postern's profile), whatever they are. */
export function signRequest(
  caller: Caller,
  path: string,
  body: Uint8Array<ArrayBuffer>,
  more: Readonly<Record<string, string>> = {},
): SignedRequest {
  const url = new URL(path, caller.url);
  const headers: Record<string, string> = {
    authorization: `Macaroon ${caller.token}`,
    "content-type": "application/json",
    "content-digest": contentDigest(body),
    ...more,
  };
  const message = {
    method: "POST",
    authority: url.host,
    path: url.pathname,
    query: url.search === "" ? "?" : url.search,
    field: (name: string) => headers[name] ?? null,
  };
  const created = Math.floor(caller.now_ms() / 1000);
  const { base, input } = composeSignature(message, {
    created,
    expires: created + SIGNATURE_LIFETIME_S,
    nonce: toBase64url(caller.random(16)),
    keyid: caller.signer.publicKey,
  });
  const signature = caller.signer.sign(requestMessage(caller.signer.publicKey, base));
  headers["signature-input"] = `sig=${input}`;
  headers["signature"] = `sig=:${btoa(String.fromCharCode(...signature))}:`;
  return { url: url.href, method: "POST", headers, body };
}

export type Fetch = (
  url: string,
  init: Omit<SignedRequest, "url">,
) => Promise<{ status: number; json(): Promise<unknown> }>;

export async function send(request: SignedRequest, fetch: Fetch): Promise<CallOutcome> {
  const { url, method, headers, body } = request;
  const response = await fetch(url, { method, headers, body });
  const answer = await response.json();
  return response.status === 200
    ? { status: response.status, result: answer as Json }
    : { status: response.status, problem: answer as Problem };
}
