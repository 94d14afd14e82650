/**
 * Capabilities that come with a call: `{"$cap": "pst_…"}` in its arguments.
 *
 * They are taken out of the arguments before anything looks at these: what schemas, conditions and handlers see are
 * handles. What the actor could never use is refused, so that it is the giver who learns of it: a token must verify, be of
 * this tenant, be neither expired nor revoked, and its chain of holders must end in the actor's own key.
 */
import type { Received, Vault } from "./actor/capabilities.ts";
import type { Call } from "./actor/shard.ts";
import type { Word } from "./actor/word.ts";
import { Authority } from "./authorize/authorize.ts";
import type { Readings } from "./authorize/readings.ts";
import { eachCall } from "./compose.ts";
import type { Envelope } from "./envelope.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { capOf, readWired, replaceCaps } from "./handles.ts";
import { verifyToken } from "./known-token.ts";
import { CAPABILITIES_PER_CALL_MAX, CAPABILITY_LENGTH_MAX } from "./limits.ts";
import type { Requested } from "./request/batch.ts";
import type { Target } from "./request/target.ts";
import { readSender, SENDER_HEADER } from "./sender.ts";
import type { HolderSignatures } from "./signature/holder.ts";
import type { Tenant } from "./tenants.ts";
import { decodeTokens, encodeToken } from "./token/envelope.ts";
import type { PrefixCache } from "./token/prefix-cache.ts";

/** A token in the arguments, not looked at yet. */
export interface Claimed {
  readonly text: string;
  /** RFC 6901 pointer to where it stood. */
  readonly path: string;
  /** Of a batch, which call it came with. */
  readonly call: number | undefined;
}

/**
 * The word with handles in the place of its capabilities, counted from 0.
 * Refusals: `schema_violation` with the path, `too_large`.
 */
export function claimCapabilities(
  target: Target,
  word: Word<Requested>,
): { readonly word: Word<Requested>; readonly claims: readonly Claimed[] } | Refusal {
  const claims: Claimed[] = [];
  const batch = target.message === undefined;
  let call = 0;
  const replaced = eachCall(target, word, (requested): Requested | Refusal => {
    const args = replaceCaps(requested.args, (object, path) => {
      const text = readWired(object);
      if (text === undefined)
        return refuse("schema_violation", 'a capability is an object of one member, {"$cap":"pst_…"}', {
          path,
        });
      if (text.length > CAPABILITY_LENGTH_MAX)
        return refuse("too_large", `a capability has at most ${CAPABILITY_LENGTH_MAX} characters`, { path });
      if (claims.length === CAPABILITIES_PER_CALL_MAX)
        return refuse("too_large", `a call brings at most ${CAPABILITIES_PER_CALL_MAX} capabilities`, {
          path,
        });
      claims.push({ text, path, call: batch ? call : undefined });
      return capOf(claims.length - 1);
    });
    call++;
    return isRefusal(args) ? args : { ...requested, args };
  });
  return isRefusal(replaced) ? replaced : { word: replaced, claims };
}

export interface ReceiveOptions {
  readonly prefixes: PrefixCache;
  readonly readings: Readings;
  readonly signatures: HolderSignatures;
  readonly vault: Pick<Vault, "publicKey">;
  /** ms since the epoch. */
  readonly now_ms: () => number;
}

/** The vault of an edge node, which has no actor's key: it passes on what needs one. */
export const NO_VAULT: Vault = {
  publicKey: withoutKeys,
  seal: withoutKeys,
  open: withoutKeys,
  handOn: withoutKeys,
};

function withoutKeys(): never {
  throw new Error("an edge node has no actor's key");
}

export interface Brought extends Pick<Call, "received" | "sender"> {
  /** It brings something that this node has no keys to look at: for the leader alone. */
  readonly unread?: true;
}

/**
 * Whose send a call is, if any, and the capabilities that it brings.
 * Refusals: `signature_invalid`, `malformed_request`; `schema_violation` and `capability_refused`, with the path.
 */
export function broughtBy(
  options: ReceiveOptions,
  envelope: Envelope,
  request: Request,
  claims: readonly Claimed[],
): Brought | Refusal {
  const { target, tenant } = envelope;
  const isSend = request.headers.has(SENDER_HEADER);
  if (options.vault === NO_VAULT && (isSend || claims.length > 0))
    return { sender: undefined, received: [], unread: true };
  const sender = readSender(options.vault, envelope, request.headers.get(SENDER_HEADER));
  if (isRefusal(sender)) return sender;
  if (claims.length === 0) return { sender, received: [] };
  const key = options.vault.publicKey(`${tenant.name}/${target.type}/${target.id}`);
  const received = receiveAll(options, tenant, key, claims);
  return isRefusal(received) ? received : { sender, received };
}

function receiveAll(
  options: ReceiveOptions,
  tenant: Tenant,
  key: string,
  claims: readonly Claimed[],
): readonly Received[] | Refusal {
  const received: Received[] = [];
  for (const { text, path, call } of claims) {
    const capability = receive(options, tenant, key, text);
    if (isRefusal(capability)) return capability.with({ path, ...(call !== undefined && { call }) });
    received.push(capability);
  }
  return received;
}

function receive(options: ReceiveOptions, tenant: Tenant, key: string, text: string): Received | Refusal {
  const tokens = decodeTokens(text);
  if (isRefusal(tokens)) return refuse("schema_violation", `the capability cannot be read: ${tokens.detail}`);
  const known = verifyToken(options, tenant, tokens, key);
  if (isRefusal(known)) return useless(known);
  const authority = Authority.of(
    known.token,
    key,
    { holder: tenant.holder, signatures: options.signatures },
    options.readings,
  );
  if (isRefusal(authority)) return useless(authority);
  const use = authority.usableFrom(options.now_ms()) ?? authority.grant();
  if (isRefusal(use)) return useless(use);
  known.keep();
  const { messages, expires_ms } = use;
  const note = {
    actor: authority.reach,
    ...(messages !== undefined && { messages: [...messages].toSorted() }),
    ...(expires_ms !== undefined && { expires: expires_ms }),
  };
  return { token: tokens.map(encodeToken).join(","), note };
}

/** Of the refusal of a token that is not the caller's own, only what it says. */
function useless({ code, detail }: Refusal): Refusal {
  const hint = code === "caveat_denied" ? "; it is to be delegated to the actor's key first" : "";
  return refuse("capability_refused", `the actor could not use the capability (${code}): ${detail}${hint}`);
}
