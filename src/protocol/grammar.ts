/**
 * Protocol expressions: text to tree. `print.ts` is the way back.
 *
 * The parser is strict and bounded: text, nesting, messages and repetitions past `limits.ts` are refused, and so
 * is every character that the grammar does not name. A refusal carries the text and the column, and says how the
 * usual slips are written here.
 *
 *     expression := shuffle ('|' shuffle)*      choice          repeat := atom ('*' | '+' | '?' | '{' m ',' n '}')?
 *     shuffle    := seq ('&' seq)*              interleaving    atom   := message | '(' expression ')' | 'end'
 *     seq        := repeat (';' repeat)*        then
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  NAME_LENGTH_MAX,
  PROTOCOL_BYTES_MAX,
  PROTOCOL_DEPTH_MAX,
  PROTOCOL_MESSAGES_MAX,
  PROTOCOL_REPEAT_MAX,
} from "../limits.ts";

/** The three infix operators are associative: a tree holds no `choice` directly in a `choice`, and so on. */
export type Protocol =
  | { readonly kind: "end" }
  | { readonly kind: "message"; readonly name: string }
  | { readonly kind: InfixKind; readonly parts: readonly Protocol[] }
  /** Between `min` and `max` times. `max` is `Infinity` for `*` and `+`, where `min` is 0 and 1: no text says more. */
  | { readonly kind: "repeat"; readonly body: Protocol; readonly min: number; readonly max: number };

export type InfixKind = "choice" | "shuffle" | "seq";

/** From the operator that binds loosest to the one that binds tightest; postfix operators bind tighter still. */
export const INFIX = [
  { kind: "choice", operator: "|" },
  { kind: "shuffle", operator: "&" },
  { kind: "seq", operator: ";" },
] as const satisfies readonly { kind: InfixKind; operator: string }[];

const SPACE = /\s*/y;
const NAME = /[a-z][a-z0-9_]*/y;
const NUMBER = /[0-9]+/y;

/** What people write who know another notation, and how it is written here. */
const SLIPS: readonly (readonly [slip: RegExp, instead: string])[] = [
  [/[,.>]|->/y, "what follows is joined with ';'"],
  [/&&/y, "interleaving is a single '&'"],
  [/\|\|/y, "choice is a single '|'"],
  [/\/|\bor\b/y, "choice is '|'"],
  [/\{\s*(\d+)\s*\}/y, "exactly n times is {n,n}"],
  [/\{\s*\d+\s*,\s*\}/y, "at least n times is r{n,n} ; r*"],
  [/\(\s*\)/y, "no message at all is 'end'"],
  [/@/y, "a label belongs to a caveat, not to an expression"],
];

/** @returns the tree of a bare expression, or `malformed_request` with the column, counted from 1. */
export function parseProtocol(text: string): Protocol | Refusal {
  // What is accepted is ASCII, so that its length is its size in bytes.
  if (text.length > PROTOCOL_BYTES_MAX)
    return refuse("malformed_request", `the protocol is longer than ${PROTOCOL_BYTES_MAX} bytes`);
  return new Parser(text).parse();
}

/** Recursive descent, one method for each rule of the grammar. It stops at the first thing that is wrong. */
class Parser {
  readonly #text: string;
  readonly #messages = new Set<string>();
  /** Index of the next character. */
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Protocol | Refusal {
    const protocol = this.#infix(0);
    if (isRefusal(protocol)) return protocol;
    this.#skipSpace();
    return this.#at === this.#text.length ? protocol : this.#unexpected("an operator or the end of the text");
  }

  #infix(level: number): Protocol | Refusal {
    const rule = INFIX[level];
    if (rule === undefined) return this.#repeat();
    const parts: Protocol[] = [];
    let only: Protocol;
    do {
      const part = this.#infix(level + 1);
      if (isRefusal(part)) return part;
      only = part;
      if (part.kind === rule.kind) parts.push(...part.parts);
      else parts.push(part);
    } while (this.#accept(rule.operator));
    return parts.length === 1 ? only : { kind: rule.kind, parts };
  }

  #repeat(): Protocol | Refusal {
    const body = this.#atom();
    if (isRefusal(body)) return body;
    if (this.#accept("*")) return { kind: "repeat", body, min: 0, max: Infinity };
    if (this.#accept("+")) return { kind: "repeat", body, min: 1, max: Infinity };
    if (this.#accept("?")) return { kind: "repeat", body, min: 0, max: 1 };
    return this.#accept("{") ? this.#times(body) : body;
  }

  /** After `{`: the rest of `m,n}`. */
  #times(body: Protocol): Protocol | Refusal {
    const min = this.#number();
    if (isRefusal(min)) return min;
    if (!this.#accept(",")) return this.#unexpected("',' as in {m,n}");
    this.#skipSpace();
    const column = this.#at;
    const max = this.#number();
    if (isRefusal(max)) return max;
    if (max < min) return this.#fail(`{${min},${max}} ends below its start`, column);
    return this.#accept("}") ? { kind: "repeat", body, min, max } : this.#unexpected("'}'");
  }

  #number(): number | Refusal {
    this.#skipSpace();
    const start = this.#at;
    const digits = this.#match(NUMBER);
    if (digits === undefined) return this.#unexpected("a number");
    const value = Number(digits);
    if (value <= PROTOCOL_REPEAT_MAX) return value;
    return this.#fail(`a repetition counts to at most ${PROTOCOL_REPEAT_MAX}`, start);
  }

  #atom(): Protocol | Refusal {
    this.#skipSpace();
    const start = this.#at;
    if (this.#accept("(")) return this.#parenthesis(start);
    const name = this.#match(NAME);
    if (name === undefined) return this.#unexpected("a message in lower_snake_case, 'end' or '('");
    if (name === "end") return { kind: "end" };
    if (name.length > NAME_LENGTH_MAX)
      return this.#fail(`a message name has at most ${NAME_LENGTH_MAX} characters`, start);
    this.#messages.add(name);
    if (this.#messages.size > PROTOCOL_MESSAGES_MAX)
      return this.#fail(`a protocol has at most ${PROTOCOL_MESSAGES_MAX} different messages`, start);
    return { kind: "message", name };
  }

  /** After `(`, which stands at `start`. */
  #parenthesis(start: number): Protocol | Refusal {
    if (++this.#depth > PROTOCOL_DEPTH_MAX)
      return this.#fail(`parentheses nest at most ${PROTOCOL_DEPTH_MAX} deep`, start);
    const inner = this.#infix(0);
    if (isRefusal(inner)) return inner;
    if (!this.#accept(")")) return this.#unexpected(`an operator or ')' for the '(' in column ${start + 1}`);
    this.#depth--;
    return inner;
  }

  #skipSpace(): void {
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  /** Skips spaces, then the character if it is the next one. */
  #accept(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #unexpected(expected: string): Refusal {
    const code = this.#text.codePointAt(this.#at);
    const printable = code !== undefined && code > 0x20 && code < 0x7f;
    const shown = printable ? `'${String.fromCodePoint(code)}'` : `U+${code?.toString(16).padStart(4, "0")}`;
    const found = code === undefined ? "the end of the text" : shown;
    return this.#fail(`expected ${expected}, found ${found}${this.#hint()}`, this.#at);
  }

  /** The slip that stands here, or began with the character before. */
  #hint(): string {
    for (const start of [this.#at, this.#at - 1, this.#text.lastIndexOf("{", this.#at)])
      for (const [slip, instead] of SLIPS) {
        slip.lastIndex = Math.max(start, 0);
        if (slip.test(this.#text) && slip.lastIndex > this.#at) return `; ${instead}`;
      }
    return "";
  }

  #fail(reason: string, index: number): Refusal {
    // One line of printable ASCII, character for character, so that a caret can stand under the column.
    const text = this.#text.replaceAll(/\s/g, " ").replaceAll(/[^ -~]/g, "?");
    const column = index + 1;
    return refuse("malformed_request", `protocol, column ${column}: ${reason}`, {
      position: { text, column },
    });
  }
}
