/**
 * Bounded, strict JSON (RFC 8259, restricted to what RFC 7493 calls interoperable).
 *
 * `parseJson` guarantees: valid UTF-8, bounded depth and size, no duplicate names, no `__proto__` member, no lone
 * surrogate, no name that needs an escape, and no number that would be silently altered (an integer past 2^53 - 1, a
 * double past its range, more digits than a double keeps). Money passes through here: a changed amount is worse than a
 * refused one. What was accepted once is accepted again, as the same value, after `JSON.stringify`.
 */
import { fromUtf8 } from "./bytes.ts";
import { type Refusal, refuse } from "./errors.ts";
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from "./limits.ts";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [name: string]: Json };

export function isJsonArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @returns the value, or `malformed_request` with the reason. */
export function parseJson(bytes: Uint8Array): { readonly value: Json } | Refusal {
  const text = fromUtf8(bytes);
  if (text === undefined) return refuse("malformed_request", "the JSON document is not valid UTF-8");
  const scanned = scan(text);
  if (typeof scanned === "string") return refuse("malformed_request", scanned);
  const plain = withPlainNames(text);
  if (plain === undefined)
    return refuse(
      "malformed_request",
      "a JSON object has a name with a quote, a backslash or a control character, or with an escape that is none",
    );
  let value: Json;
  try {
    value = JSON.parse(plain) as Json;
  } catch {
    return refuse("malformed_request", "the body is not a JSON document");
  }
  const names = countNames(value);
  if (typeof names === "string") return refuse("malformed_request", names);
  if (names !== scanned.members)
    return refuse("malformed_request", "a JSON object has two members of one name");
  return { value };
}

/** One pass before the parser: its recursion and its memory are bounded by what this lets through. */
function scan(text: string): { readonly members: number } | string {
  let depth = 0;
  let members = 0;
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        i = endOfString(text, i);
        break;
      case 0x7b: // {
      case 0x5b: // [
        if (++depth > JSON_DEPTH_MAX) return `the JSON document is nested deeper than ${JSON_DEPTH_MAX}`;
        values++;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth--;
        break;
      case 0x3a: // :
        members++;
        break;
      case 0x2c: // ,
        values++;
        break;
      default:
        if (startsNumber(text.charCodeAt(i))) {
          const end = endOfNumber(text, i);
          if (!isExact(text.slice(i, end))) return "a JSON number is outside the range that is kept exactly";
          i = end - 1;
        }
    }
    if (values > JSON_VALUES_MAX) return `the JSON document has more than ${JSON_VALUES_MAX} values`;
  }
  return { members };
}

/**
 * The same document, its names written without escapes. @returns `undefined` where one cannot be
 *
 * V8 13.6 (Node 24) misreads a name with an escape, where an object that was parsed before, anybody's, has a name that
 * ends in a backslash: `{"a\u0062":1}` becomes `{"a\\":1}`. What is accepted here has no such name wherever it is parsed again.
 */
function withPlainNames(text: string): string | undefined {
  if (!text.includes("\\")) return text;
  let plain = "";
  let copied = 0;
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) !== 0x22) continue;
    const start = i;
    i = endOfString(text, i);
    const literal = text.slice(start, i + 1);
    if (!literal.includes("\\") || !isName(text, i + 1)) continue;
    const name = unescaped(literal);
    const written = `"${name}"`;
    // A lone surrogate is told later what it is.
    if (name === undefined || (name.isWellFormed() && JSON.stringify(name) !== written)) return undefined;
    plain += text.slice(copied, start) + written;
    copied = i + 1;
  }
  return plain + text.slice(copied);
}

/** What stands before a colon is a name. */
function isName(text: string, end: number): boolean {
  let i = end;
  while (" \t\n\r".includes(text.charAt(i)) && i < text.length) i++;
  return text.charAt(i) === ":";
}

function unescaped(literal: string): string | undefined {
  try {
    return String(JSON.parse(literal));
  } catch {
    return undefined;
  }
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text.charCodeAt(i) !== 0x22) i += text.charCodeAt(i) === 0x5c ? 2 : 1;
  return i;
}

function startsNumber(code: number): boolean {
  return code === 0x2d || (code >= 0x30 && code <= 0x39);
}

/** Digits, `+ - .`, `e E`. */
function continuesNumber(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2b ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x45 ||
    code === 0x65
  );
}

function endOfNumber(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && continuesNumber(text.charCodeAt(i))) i++;
  return i;
}

/**
 * Does the number that `JSON.stringify` writes for this one denote the same decimal? And is it, where either of them
 * is written out as an integer, one that every JSON reader keeps (RFC 7493 section 2.2)?
 */
function isExact(literal: string): boolean {
  if (literal.length <= 15 && !/[eE]/.test(literal)) return true; // A double keeps any 15 digits.
  const value = Number(literal);
  if (Number.isNaN(value)) return true; // No number at all: the parser says so.
  const written = String(value);
  if (WRITTEN_OUT.test(literal) || WRITTEN_OUT.test(written)) {
    if (!Number.isSafeInteger(value)) return false;
  }
  return literal === written || (Number.isFinite(value) && decimalOf(literal) === decimalOf(written));
}

const WRITTEN_OUT = /^-?\d+$/;

/** One text for each value: the significant digits and the power of ten of the last. Zero has no sign. */
function decimalOf(literal: string): string {
  const [, sign = "", integer = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(literal) ?? [];
  const digits = integer + fraction;
  let start = 0;
  while (digits.charAt(start) === "0") start++;
  let end = digits.length;
  while (end > start && digits.charAt(end - 1) === "0") end--;
  if (start === end) return "0";
  return `${sign}${digits.slice(start, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}

/** Member names of the whole value; a string says why it is refused. */
function countNames(value: Json): number | string {
  if (typeof value === "string" && !value.isWellFormed()) return "a JSON string has a lone surrogate";
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  const isArray = Array.isArray(value);
  for (const [name, member] of Object.entries<Json>(value)) {
    if (!isArray) {
      if (name === "__proto__") return "a JSON object has a member named __proto__";
      if (!name.isWellFormed()) return "a JSON object has a name with a lone surrogate";
      count++;
    }
    const inner = countNames(member);
    if (typeof inner === "string") return inner;
    count += inner;
  }
  return count;
}
