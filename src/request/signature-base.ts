/**
 * RFC 9421: what of a request is signed, and how it is turned into the bytes that are.
 *
 * Postern's profile: one signature with `tag="postern"` that covers exactly the components below, without
 * component parameters. The base is built from the request as received; the parameters are serialised as
 * RFC 9651 says, in the order in which they came.
 */
import { type InnerList, isInnerList, parseDictionary, serializeInnerList } from "structured-headers";
import { type Refusal, refuse } from "../errors.ts";
import { NONCE_LENGTH_MAX, NONCE_LENGTH_MIN } from "../limits.ts";
import { ED25519_PREFIX, HOLDER } from "../names.ts";
import { withoutSpaces } from "./headers.ts";

export const TAG = "postern";

/** The algorithm of RFC 9421 that goes with a key. */
function algorithmOf(keyid: string): string {
  return keyid.startsWith(ED25519_PREFIX) ? "ed25519" : "bip340-secp256k1-sha256";
}

/** Covered by every signature; `idempotency-key` also, where the request has that header. */
const COMPONENTS = ["@method", "@authority", "@path", "@query", "authorization", "content-digest"] as const;
const IDEMPOTENCY_KEY = "idempotency-key";

/** The request as signed: method, target and the header fields of the covered components. */
export interface SignedMessage {
  readonly method: string;
  /** Host and port as sent, lower case. */
  readonly authority: string;
  readonly path: string;
  /** With its leading `?`; just `?` where the target has no query. */
  readonly query: string;
  /** The field's value, its lines joined by `, `; `null` where it is absent. */
  field(name: string): string | null;
}

export interface SignatureParameters {
  /** Seconds since the epoch. */
  readonly created: number;
  readonly expires: number;
  readonly nonce: string;
  /** The public key as a holder caveat names it: 64 hex digits, with `ed25519:` before them where it is such a key. */
  readonly keyid: string;
}

export interface ReceivedSignature extends SignatureParameters {
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** The signature base of RFC 9421 section 2.5. */
  readonly base: string;
}

function coveredBy(message: SignedMessage): readonly string[] {
  return message.field(IDEMPOTENCY_KEY) === null ? COMPONENTS : [...COMPONENTS, IDEMPOTENCY_KEY];
}

/** For the signer: the base to sign and the value of `Signature-Input`. */
export function composeSignature(
  message: SignedMessage,
  parameters: SignatureParameters,
): { readonly base: string; readonly input: string } {
  const list: InnerList = [
    coveredBy(message).map((name) => [name, new Map()]),
    new Map<string, string | number>([
      ["created", parameters.created],
      ["expires", parameters.expires],
      ["nonce", parameters.nonce],
      ["keyid", parameters.keyid],
      ["alg", algorithmOf(parameters.keyid)],
      ["tag", TAG],
    ]),
  ];
  return { base: baseOf(message, list), input: serializeInnerList(list) };
}

/** For the gate. Refusals: `signature_missing`, `signature_invalid`. Nothing is verified yet. */
export function readSignature(message: SignedMessage): ReceivedSignature | Refusal {
  const inputs = dictionary(message.field("signature-input"));
  const signatures = dictionary(message.field("signature"));
  if (inputs === undefined || signatures === undefined)
    return refuse("signature_missing", "the request needs Signature-Input and Signature (RFC 9421)");

  const tagged = [...inputs].filter(([, [, parameters]]) => parameters.get("tag") === TAG);
  const [label, list] = tagged[0] ?? [];
  if (label === undefined || list === undefined || tagged.length > 1 || !isInnerList(list))
    return refuse("signature_missing", `the request needs exactly one signature with tag="${TAG}"`);

  const problem = coverageProblem(list, coveredBy(message));
  if (problem !== undefined) return invalid(problem);
  const parameters = readParameters(list[1]);
  if (typeof parameters === "string") return invalid(parameters);
  const value = signatures.get(label)?.[0];
  if (!(value instanceof ArrayBuffer) || value.byteLength !== 64)
    return invalid("Signature has no 64 bytes of that label");
  const signature = new Uint8Array(value);
  // Parsers of RFC 9651 take more than one text for the same bytes; a changed one is refused all the same.
  if (!message.field("signature")?.includes(`:${btoa(String.fromCharCode(...signature))}:`))
    return invalid("Signature is not in canonical base64");
  return { ...parameters, signature, base: baseOf(message, list) };
}

function invalid(detail: string): Refusal {
  return refuse("signature_invalid", detail);
}

type Dictionary = ReturnType<typeof parseDictionary>;

function dictionary(field: string | null): Dictionary | undefined {
  if (field === null) return undefined;
  try {
    return parseDictionary(field);
  } catch {
    return undefined;
  }
}

/** Exactly the profile's components, in any order: a missing one is unprotected, an extra one is unknown. */
function coverageProblem([items]: InnerList, expected: readonly string[]): string | undefined {
  const names: unknown[] = items.map(([name]) => name);
  const missing = expected.find((name) => !names.includes(name));
  if (missing !== undefined) return `the signature does not cover ${missing}`;
  if (names.length !== expected.length) return `the signature covers more than ${expected.join(" ")}`;
  if (items.some(([, parameters]) => parameters.size > 0)) return "component parameters are not supported";
  return undefined;
}

/** A plain one, or one behind a gate's challenge (`src/signature/challenge.ts`). */
const NONCE = new RegExp(
  `^(?=.{${NONCE_LENGTH_MIN},${NONCE_LENGTH_MAX}}$)([A-Za-z0-9_-]+\\.)?[A-Za-z0-9+/=_-]{${NONCE_LENGTH_MIN},}$`,
);

function readParameters(parameters: InnerList[1]): SignatureParameters | string {
  const created = parameters.get("created");
  const expires = parameters.get("expires");
  const nonce = parameters.get("nonce");
  const keyid = parameters.get("keyid");
  const alg = parameters.get("alg");
  if (!isSeconds(created) || !isSeconds(expires))
    return "the signature needs created and expires, in seconds";
  if (typeof nonce !== "string" || !NONCE.test(nonce))
    return `the signature needs a nonce of ${NONCE_LENGTH_MIN} to ${NONCE_LENGTH_MAX} base64 characters`;
  if (typeof keyid !== "string" || !HOLDER.test(keyid))
    return "the signature's keyid must be a public key, 64 hex digits or ed25519: and 64 hex digits";
  if (alg !== algorithmOf(keyid)) return `the signature's alg must be "${algorithmOf(keyid)}" for that keyid`;
  if (parameters.size !== 6) return "the signature has parameters that this gate does not know";
  return { created, expires, nonce, keyid };
}

function isSeconds(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** What a signature of this message covers: the components that are there, with their values as they are signed. */
export function componentsOf(message: SignedMessage): readonly (readonly [name: string, value: string])[] {
  return coveredBy(message)
    .filter((name) => name.startsWith("@") || message.field(name) !== null)
    .map((name) => [name, valueOf(message, name)]);
}

/** RFC 9421 section 2.5: a line for each component, then the parameters. */
function baseOf(message: SignedMessage, list: InnerList): string {
  const lines = list[0].map(([name]) =>
    typeof name === "string" ? `"${name}": ${valueOf(message, name)}` : "",
  );
  return [...lines, `"@signature-params": ${serializeInnerList(list)}`].join("\n");
}

function valueOf(message: SignedMessage, name: string): string {
  switch (name) {
    case "@method":
      return message.method;
    case "@authority":
      return message.authority;
    case "@path":
      return message.path;
    case "@query":
      return message.query;
    default:
      return withoutSpaces(message.field(name) ?? "");
  }
}
