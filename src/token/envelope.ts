/**
 * A token as text: `pst_` + base64url(v2 binary ‖ CRC-32 of it, big-endian).
 *
 * The CRC tells a token that was cut while copying (`token_truncated`) from one that was tampered with
 * (`token_invalid`); it protects nothing. What other libraries write is read too: v2 binary, v2 JSON and v1 packets,
 * each in base64 or base64url, and JSON as it stands. Several tokens, a root and its discharges, are joined by `,`.
 */
import { concat, fromAnyBase64, fromBase64url, toBase64url, utf8 } from "../bytes.ts";
import { crc32 } from "../crc32.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DISCHARGES_MAX, TOKEN_BYTES_MAX } from "../limits.ts";
import { decodeJson } from "./codec-json.ts";
import { decodeV1, looksLikeV1 } from "./codec-v1.ts";
import { decodeV2, encodeV2 } from "./codec-v2.ts";
import type { Macaroon } from "./macaroon.ts";

const PREFIX = "pst_";
const CRC_BYTES = 4;
const TEXT_LENGTH_MAX = PREFIX.length + Math.ceil(((TOKEN_BYTES_MAX + CRC_BYTES) * 4) / 3);
const V2 = 2;
const BRACE = 0x7b;

export function encodeToken(macaroon: Macaroon): string {
  const bytes = encodeV2(macaroon);
  const crc = new Uint8Array(CRC_BYTES);
  new DataView(crc.buffer).setUint32(0, crc32(bytes));
  return PREFIX + toBase64url(concat(bytes, crc));
}

/** What a request carries: the root token, then discharges of its third parties. */
export type Tokens = readonly [root: Macaroon, ...discharges: Macaroon[]];

/** Refusals: `token_malformed`, `token_truncated`, each with the index of its token. */
export function decodeTokens(text: string): Tokens | Refusal {
  if (text.length > (1 + DISCHARGES_MAX) * (TEXT_LENGTH_MAX + 1))
    return refuse("token_malformed", "the tokens are longer than all that a request may carry");
  const [first = "", ...others] = splitTokens(text);
  if (others.length > DISCHARGES_MAX)
    return refuse("token_malformed", `a token comes with at most ${DISCHARGES_MAX} discharges`);
  const root = decodeToken(first);
  if (isRefusal(root)) return root.with({ token: 0 });
  const discharges: Macaroon[] = [];
  for (const [index, other] of others.entries()) {
    const discharge = decodeToken(other);
    if (isRefusal(discharge)) return discharge.with({ token: index + 1 });
    discharges.push(discharge);
  }
  return [root, ...discharges];
}

/** At the commas between tokens; JSON has others inside. */
function splitTokens(text: string): readonly string[] {
  const tokens: string[] = [];
  let start = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '"') at = endOfString(text, at);
    else if (char === "{") depth++;
    else if (char === "}") depth--;
    else if (char === "," && depth <= 0) {
      tokens.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...tokens, text.slice(start)];
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charAt(at) !== '"') at += text.charAt(at) === "\\" ? 2 : 1;
  return at;
}

/** One token. Refusals: `token_malformed`, `token_truncated`. */
export function decodeToken(text: string): Macaroon | Refusal {
  if (text.length > TEXT_LENGTH_MAX)
    return refuse("token_malformed", `a token has at most ${TEXT_LENGTH_MAX} characters`);
  if (text.startsWith("{")) return decodeJson(utf8(text));
  if (text.includes(",")) return refuse("token_malformed", "several tokens were given where one is expected");
  if (!/^[A-Za-z0-9_\-+/]+={0,2}$/.test(text))
    return refuse("token_malformed", "the token has characters that are not base64url");
  return text.startsWith(PREFIX) ? decodeEnvelope(text) : decodeBare(text);
}

function decodeEnvelope(text: string): Macaroon | Refusal {
  const bytes = fromBase64url(text.slice(PREFIX.length));
  if (bytes === undefined || bytes.length <= CRC_BYTES) return truncated();
  const body = bytes.subarray(0, -CRC_BYTES);
  const crc = new DataView(bytes.buffer, body.length).getUint32(0);
  return crc === crc32(body) ? decodeV2(body) : truncated();
}

function truncated(): Refusal {
  return refuse("token_truncated", "the token's checksum does not match: it was cut or damaged on its way");
}

/** The first byte tells the formats apart: a version, a hex digit, a brace. */
function decodeBare(text: string): Macaroon | Refusal {
  const bytes = fromAnyBase64(text);
  if (bytes === undefined || bytes.length === 0)
    return refuse("token_malformed", "the token is neither pst_… nor base64");
  if (bytes[0] === V2) return decodeV2(bytes);
  if (bytes[0] === BRACE) return decodeJson(bytes);
  if (looksLikeV1(bytes)) return decodeV1(bytes);
  return refuse("token_malformed", "the token is in no macaroon format that this gate reads");
}
