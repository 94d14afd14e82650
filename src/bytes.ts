/**
 * Bytes and their texts: hex, base64url, base64, UTF-8.
 *
 * Every decoder is strict: one text for each byte string and no other, so that a changed character is always
 * a changed value. What cannot be decoded is `undefined`; the caller knows which refusal that is.
 */

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64 = `${BASE64URL.slice(0, 62)}+/`;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const HEX_VALUES = valuesOf("0123456789abcdef");
const BASE64URL_VALUES = valuesOf(BASE64URL);
const BASE64_VALUES = valuesOf(BASE64);

/** For each ASCII code its digit value, or 255. */
function valuesOf(alphabet: string): Uint8Array {
  const values = new Uint8Array(128).fill(255);
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
}

function valueAt(text: string, index: number, values: Uint8Array): number {
  return values[text.charCodeAt(index)] ?? 255;
}

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** @returns `undefined` where the bytes are not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
  return text;
}

/** Lower case only. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = valueAt(text, 2 * i, HEX_VALUES);
    const low = valueAt(text, 2 * i + 1, HEX_VALUES);
    if (high === 255 || low === 255) return undefined;
    bytes[i] = (high << 4) | low;
  }
  return bytes;
}

/** RFC 4648 section 5, without padding. */
export function toBase64url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = [bytes[i], bytes[i + 1], bytes[i + 2]];
    text += BASE64URL.charAt(a >> 2) + BASE64URL.charAt(((a & 3) << 4) | (b >> 4));
    if (i + 1 < bytes.length) text += BASE64URL.charAt(((b & 15) << 2) | (c >> 6));
    if (i + 2 < bytes.length) text += BASE64URL.charAt(c & 63);
  }
  return text;
}

/** RFC 4648 section 5, without padding; stray bits after the last byte are refused. */
export function fromBase64url(text: string): Uint8Array<ArrayBuffer> | undefined {
  return decodeBase64(text, BASE64URL_VALUES);
}

/** RFC 4648 section 4 or 5, padded or not: for tokens made by other libraries. */
export function fromAnyBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const unpadded = text.length % 4 === 0 ? text.replace(/={1,2}$/, "") : text;
  return decodeBase64(unpadded, /[-_]/.test(unpadded) ? BASE64URL_VALUES : BASE64_VALUES);
}

function decodeBase64(text: string, values: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const value = valueAt(text, i, values);
    if (value === 255) return undefined;
    bits = ((bits << 6) | value) & 0xfff;
    bitCount += 6;
    if (bitCount >= 8) {
      bitCount -= 8;
      bytes[at++] = (bits >> bitCount) & 0xff;
    }
  }
  return (bits & ((1 << bitCount) - 1)) === 0 ? bytes : undefined;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return concatAll(parts);
}

/** For parts whose number an outsider decides: an argument list has a limit, an array has none. */
export function concatAll(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Takes the same time wherever the first difference is; the lengths are not secret. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}
