/**
 * JSON for handlers in AssemblyScript: a view to read with, a writer to answer with.
 *
 * A `View` is a place in the input's UTF-8 bytes; nothing is parsed before it is asked for. The gateway writes
 * the input, so it is valid JSON; every step is bounded by the input's end all the same. What is asked for and
 * not there is null, or the fallback, and never a trap.
 */

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
/** 2^53 - 1, past which JSON numbers are not kept exactly by all who read them. */
export const INTEGER_MAX: i64 = 9007199254740991;

export class View {
  constructor(
    private at: usize,
    private end: usize,
  ) {}

  /** Of a text that is JSON. Nothing is ever freed, so its bytes stay. */
  static of(text: string): View {
    const bytes = String.UTF8.encode(text);
    const start = changetype<usize>(bytes);
    return new View(start, start + <usize>bytes.byteLength);
  }

  get isNull(): bool {
    return this.first == 0x6e;
  }

  get isObject(): bool {
    return this.first == 0x7b;
  }

  get isString(): bool {
    return this.first == QUOTE;
  }

  get isTrue(): bool {
    return this.first == 0x74;
  }

  /** The member of that name, or null: also where this is no object. */
  member(name: string): View | null {
    if (!this.isObject) return null;
    let at = this.skipSpace(this.at + 1);
    while (at < this.end && load<u8>(at) == QUOTE) {
      const key = new View(at, this.end);
      at = this.skipSpace(this.skipString(at));
      const value = this.skipSpace(at + 1);
      if (key.text() == name) return new View(value, this.end);
      at = this.skipSpace(this.skipValue(value));
      if (at >= this.end || load<u8>(at) != 0x2c) return null;
      at = this.skipSpace(at + 1);
    }
    return null;
  }

  /** The text of a string, escapes resolved; "" where this is none. */
  text(): string {
    if (!this.isString) return "";
    const start = this.at + 1;
    const after = this.skipString(this.at);
    const raw = String.UTF8.decodeUnsafe(start, after - 1 - start);
    return raw.includes("\\") ? unescape(raw) : raw;
  }

  /** An integer within ±(2^53 - 1), or the fallback: also for 1.5 and 1e3. */
  integer(fallback: i64): i64 {
    let at = this.at;
    const negative = this.first == 0x2d;
    if (negative) at++;
    let value: i64 = 0;
    let digits = 0;
    while (at < this.end) {
      const code = load<u8>(at);
      if (code < 0x30 || code > 0x39) break;
      value = value * 10 + (code - 0x30);
      if (value > INTEGER_MAX) return fallback;
      digits++;
      at++;
    }
    if (digits == 0) return fallback;
    if (at < this.end && isNumberPart(load<u8>(at))) return fallback;
    return negative ? -value : value;
  }

  /** The value as it stands in the document. */
  raw(): string {
    return String.UTF8.decodeUnsafe(this.at, this.skipValue(this.at) - this.at);
  }

  private get first(): u8 {
    return this.at < this.end ? load<u8>(this.at) : 0;
  }

  private skipSpace(from: usize): usize {
    let at = from;
    while (at < this.end && load<u8>(at) <= 0x20) at++;
    return at;
  }

  /** @param from a quote. @returns the place behind the closing one. */
  private skipString(from: usize): usize {
    let at = from + 1;
    while (at < this.end && load<u8>(at) != QUOTE) at += load<u8>(at) == BACKSLASH ? 2 : 1;
    return min(at + 1, this.end);
  }

  private skipValue(from: usize): usize {
    let at = from;
    let depth = 0;
    while (at < this.end) {
      const code = load<u8>(at);
      if (code == QUOTE) {
        at = this.skipString(at);
        if (depth == 0) return at;
        continue;
      }
      const opens = code == 0x7b || code == 0x5b;
      const closes = code == 0x7d || code == 0x5d;
      if (depth == 0 && (closes || code == 0x2c || code <= 0x20)) return at;
      if (opens) depth++;
      if (closes) depth--;
      at++;
      if (closes && depth == 0) return at;
    }
    return at;
  }
}

/** Digits go on as a fraction or an exponent. */
function isNumberPart(code: u8): bool {
  return code == 0x2e || code == 0x65 || code == 0x45;
}

function unescape(raw: string): string {
  let text = "";
  let start = 0;
  for (let i = 0; i < raw.length; i++) {
    if (raw.charCodeAt(i) != BACKSLASH) continue;
    text += raw.substring(start, i);
    const code = raw.charCodeAt(++i);
    if (code == 0x75) {
      text += String.fromCharCode(<i32>parseInt(raw.substr(i + 1, 4), 16));
      i += 4;
    } else {
      text += String.fromCharCode(plainEscape(code));
    }
    start = i + 1;
  }
  return text + raw.substring(start);
}

function plainEscape(code: i32): i32 {
  if (code == 0x62) return 0x08;
  if (code == 0x66) return 0x0c;
  if (code == 0x6e) return 0x0a;
  if (code == 0x72) return 0x0d;
  if (code == 0x74) return 0x09;
  return code;
}

/** A JSON object, written member by member. The caller gives each name once. */
export class Writer {
  private text: string = "";

  integer(name: string, value: i64): Writer {
    return this.json(name, value.toString());
  }

  string(name: string, value: string): Writer {
    return this.json(name, quote(value));
  }

  boolean(name: string, value: bool): Writer {
    return this.json(name, value ? "true" : "false");
  }

  object(name: string, value: Writer): Writer {
    return this.json(name, value.toString());
  }

  /** A capability, by the number that the host gave it. */
  handle(name: string, capability: i64): Writer {
    return this.object(name, new Writer().integer("$cap", capability));
  }

  /** A value that is JSON text already. */
  json(name: string, value: string): Writer {
    this.text += (this.text.length == 0 ? "" : ",") + quote(name) + ":" + value;
    return this;
  }

  toString(): string {
    return "{" + this.text + "}";
  }
}

/** The text as a JSON string. Half of a surrogate pair has no UTF-8 form, so it stays an escape. */
export function quote(text: string): string {
  let out = '"';
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x20 && code != QUOTE && code != BACKSLASH && (code & 0xf800) != 0xd800) continue;
    if (isPair(text, i)) {
      i++;
      continue;
    }
    out += text.substring(start, i);
    out += code == QUOTE || code == BACKSLASH ? "\\" + String.fromCharCode(code) : unicodeEscape(code);
    start = i + 1;
  }
  return out + text.substring(start) + '"';
}

function isPair(text: string, at: i32): bool {
  if ((text.charCodeAt(at) & 0xfc00) != 0xd800 || at + 1 >= text.length) return false;
  return (text.charCodeAt(at + 1) & 0xfc00) == 0xdc00;
}

function unicodeEscape(code: i32): string {
  return "\\u" + code.toString(16).padStart(4, "0");
}
