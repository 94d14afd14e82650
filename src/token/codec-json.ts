/**
 * The v2 JSON format of libmacaroons, go-macaroon and pymacaroons:
 *
 *     {"v":2, "l":location, "i":identifier, "c":[{"i":cid, "v":vid, "l":location}, …], "s":signature}
 *
 * A field of bytes that are no UTF-8 text is named with `64` behind it and holds base64. `v`, `l` and `c` may be left
 * out, as some of the libraries do. Unknown members, both spellings of one field and whatever `json.ts` refuses are
 * refused. A text stands for its UTF-8 bytes, which are the MAC input.
 */
import { fromAnyBase64, fromUtf8, toBase64url, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonObject, type Json, type JsonObject, parseJson } from "../json.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX } from "../limits.ts";
import type { Macaroon, UnsafeCaveat } from "./macaroon.ts";

const VERSION = 2;
const SIGNATURE_BYTES = 32;
const MEMBERS = new Set(["v", "l", "i", "i64", "c", "s", "s64"]);
const CAVEAT_MEMBERS = new Set(["l", "i", "i64", "v", "v64"]);

/** One line of JSON. */
export function encodeJson({ location, identifier, unsafeCaveats, signature }: Macaroon): string {
  const caveats = unsafeCaveats.map(({ cid, vid, location: place }) => ({
    ...(place !== undefined && { l: place }),
    ...bytesField("i", cid),
    ...(vid !== undefined && { v64: toBase64url(vid) }),
  }));
  return JSON.stringify({
    v: VERSION,
    ...(location !== "" && { l: location }),
    ...bytesField("i", identifier),
    ...(caveats.length > 0 && { c: caveats }),
    s64: toBase64url(signature),
  });
}

function bytesField(name: string, bytes: Uint8Array): Readonly<Record<string, string>> {
  const text = fromUtf8(bytes);
  return text === undefined ? { [`${name}64`]: toBase64url(bytes) } : { [name]: text };
}

/** @param bytes bounded by the caller, as all text of a token is */
export function decodeJson(bytes: Uint8Array): Macaroon | Refusal {
  const document = parseJson(bytes);
  const macaroon = isRefusal(document) ? document.detail : read(document.value);
  return typeof macaroon === "string"
    ? refuse("token_malformed", `the JSON macaroon cannot be read: ${macaroon}`)
    : macaroon;
}

/** A string says what is wrong. */
function read(document: Json): Macaroon | string {
  if (!hasOnly(document, MEMBERS)) return "it is not an object with v, l, i, c and s alone";
  const { v = VERSION, l = "", c = [] } = document;
  if (v !== VERSION) return "it is not of version 2";
  const identifier = bytesOf(document, "i");
  const signature = bytesOf(document, "s");
  if (typeof l !== "string") return "its location is no text";
  if (identifier === undefined) return "it has not one identifier, i or i64";
  if (signature?.length !== SIGNATURE_BYTES) return `it has not one signature of ${SIGNATURE_BYTES} bytes`;
  if (!Array.isArray(c)) return "its caveats are no array";
  if (c.length > CAVEATS_MAX) return `it has more than ${CAVEATS_MAX} caveats`;
  const unsafeCaveats: UnsafeCaveat[] = [];
  for (const member of c) {
    const caveat = readCaveat(member);
    if (typeof caveat === "string") return caveat;
    unsafeCaveats.push(caveat);
  }
  return { location: l, identifier, unsafeCaveats, signature };
}

function readCaveat(member: Json): UnsafeCaveat | string {
  if (!hasOnly(member, CAVEAT_MEMBERS)) return "a caveat is not an object with l, i and v alone";
  const cid = bytesOf(member, "i");
  const vid = bytesOf(member, "v");
  const { l } = member;
  if (cid === undefined) return "a caveat has not one identifier, i or i64";
  if (cid.length > CAVEAT_BYTES_MAX) return `a caveat has more than ${CAVEAT_BYTES_MAX} bytes`;
  if (vid === undefined && (Object.hasOwn(member, "v") || Object.hasOwn(member, "v64")))
    return "a third party's caveat has not one v or v64";
  if (l !== undefined && typeof l !== "string") return "a caveat's location is no text";
  return { cid, ...(vid && { vid }), ...(l !== undefined && { location: l }) };
}

function hasOnly(value: Json, names: ReadonlySet<string>): value is JsonObject {
  return isJsonObject(value) && Object.keys(value).every((name) => names.has(name));
}

/** The field as text or in base64; `undefined` where it is absent, unreadable, or there twice. */
function bytesOf(object: JsonObject, name: string): Uint8Array | undefined {
  const text = object[name];
  const base64 = object[`${name}64`];
  if (typeof text === "string" && base64 === undefined) return utf8(text);
  if (typeof base64 === "string" && text === undefined) return fromAnyBase64(base64);
  return undefined;
}
