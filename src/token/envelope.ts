/**
 * A token as text: `pst_` + base64url(v2 binary ‖ CRC-32 of it, big-endian).
 *
 * The CRC tells a token that was cut while copying (`token_truncated`) from one that was tampered with
 * (`token_invalid`); it protects nothing. Bare base64 of v2 binary or v1 packets is read too, so that tokens
 * attenuated by other libraries work.
 */
import { concat, fromAnyBase64, fromBase64url, toBase64url } from "../bytes.ts";
import { crc32 } from "../crc32.ts";
import { type Refusal, refuse } from "../errors.ts";
import { TOKEN_BYTES_MAX } from "../limits.ts";
import { decodeV2, encodeV2 } from "./codec-v2.ts";
import type { Macaroon } from "./macaroon.ts";

const PREFIX = "pst_";
const CRC_BYTES = 4;
const TEXT_LENGTH_MAX = PREFIX.length + Math.ceil(((TOKEN_BYTES_MAX + CRC_BYTES) * 4) / 3);

/** Reads v1 packets. Passed in, because the only one we have needs Node. */
export type V1Codec = (bytes: Uint8Array) => Macaroon | Refusal;

export function encodeToken(macaroon: Macaroon): string {
  const bytes = encodeV2(macaroon);
  const crc = new Uint8Array(CRC_BYTES);
  new DataView(crc.buffer).setUint32(0, crc32(bytes));
  return PREFIX + toBase64url(concat(bytes, crc));
}

/** One token. Refusals: `token_malformed`, `token_truncated`. */
export function decodeToken(text: string, v1?: V1Codec): Macaroon | Refusal {
  if (text.length > TEXT_LENGTH_MAX)
    return refuse("token_malformed", `a token has at most ${TEXT_LENGTH_MAX} characters`);
  if (text.includes(","))
    return refuse("token_malformed", "several tokens were sent; this version takes one, without discharges");
  if (!/^[A-Za-z0-9_\-+/]+={0,2}$/.test(text))
    return refuse("token_malformed", "the token has characters that are not base64url");
  return text.startsWith(PREFIX) ? decodeEnvelope(text) : decodeBare(text, v1);
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

function decodeBare(text: string, v1: V1Codec | undefined): Macaroon | Refusal {
  const bytes = fromAnyBase64(text);
  if (bytes === undefined || bytes.length === 0)
    return refuse("token_malformed", "the token is neither pst_… nor base64");
  if (bytes[0] === 2) return decodeV2(bytes);
  // A v1 packet begins with its length in four hex digits.
  const isV1 =
    bytes.length <= TOKEN_BYTES_MAX && /^[0-9a-f]{4}$/.test(String.fromCharCode(...bytes.slice(0, 4)));
  if (isV1 && v1 !== undefined) return v1(bytes);
  return refuse("token_malformed", "the token is in no macaroon format that this gate reads");
}
