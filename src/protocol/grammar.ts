/**
 * Protocol expressions: text to tree and back.
 *
 * The parser is strict and bounded: text, nesting, messages and repetitions past `limits.ts` are refused, and so
 * is every character that the grammar does not name. A refusal shows the column. `printProtocol` is canonical:
 * parsing what it prints gives an equal tree, and it is never longer than a text that gave the tree.
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

type InfixKind = "choice" | "shuffle" | "seq";

/** What a `protocol` caveat says. The label has no meaning but to tell the two halves of a split apart. */
export interface LabelledProtocol {
  readonly protocol: Protocol;
  /** 8 lower-case hex digits. */
  readonly label?: string;
}

/** From the operator that binds loosest to the one that binds tightest; postfix operators bind tighter still. */
const INFIX = [
  { kind: "choice", operator: "|" },
  { kind: "shuffle", operator: "&" },
  { kind: "seq", operator: ";" },
] as const satisfies readonly { kind: InfixKind; operator: string }[];

const SPACE = /\s*/y;
const NAME = /[a-z][a-z0-9_]*/y;
const NUMBER = /[0-9]+/y;
const LABEL = /^\s*([0-9a-f]{8})\s*$/;

/** @returns the tree of a bare expression, or `malformed_request` with the column, counted from 1. */
export function parseProtocol(text: string): Protocol | Refusal {
  // What is accepted is ASCII, so that its length is its size in bytes.
  if (text.length > PROTOCOL_BYTES_MAX)
    return refuse("malformed_request", `the protocol is longer than ${PROTOCOL_BYTES_MAX} bytes`);
  return new Parser(text).parse();
}

/** @returns the tree and label of `<expression> [@ <label>]`, or `malformed_request` with the column. */
export function parseLabelledProtocol(text: string): LabelledProtocol | Refusal {
  const { expression, label } = splitLabel(text);
  const protocol = parseProtocol(expression);
  if (isRefusal(protocol)) return protocol;
  return label === undefined ? { protocol } : { protocol, label };
}

/** Cuts the label off. Without a well-formed one the text comes back whole, for the parser to say what is wrong. */
export function splitLabel(text: string): { readonly expression: string; readonly label?: string } {
  const at = text.lastIndexOf("@");
  const label = at < 0 ? undefined : LABEL.exec(text.slice(at + 1))?.[1];
  return label === undefined ? { expression: text } : { expression: text.slice(0, at).trimEnd(), label };
}

/** The canonical text: no spaces, and only the parentheses that the grammar needs. */
export function printProtocol(protocol: Protocol): string {
  return print(protocol, 0);
}

/** `level`: the operator around, as an index into `INFIX`, whose length stands for the postfix operators. */
function print(protocol: Protocol, level: number): string {
  if (protocol.kind === "end") return "end";
  if (protocol.kind === "message") return protocol.name;
  if (protocol.kind === "repeat") {
    const text = print(protocol.body, INFIX.length) + printTimes(protocol.min, protocol.max);
    return level === INFIX.length ? `(${text})` : text;
  }
  const own = INFIX.findIndex(({ kind }) => kind === protocol.kind);
  const text = protocol.parts.map((part) => print(part, own)).join(INFIX[own]?.operator);
  return level > own ? `(${text})` : text;
}

function printTimes(min: number, max: number): string {
  if (max === Infinity) return min === 0 ? "*" : "+";
  return min === 0 && max === 1 ? "?" : `{${min},${max}}`;
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
    if (code === undefined) return this.#fail(`expected ${expected}, found the end of the text`, this.#at);
    if (code === 0x40) return this.#fail("'@' and 8 lower-case hex digits end a caveat only", this.#at);
    const printable = code > 0x20 && code < 0x7f;
    const found = printable ? `'${String.fromCodePoint(code)}'` : `U+${code.toString(16).padStart(4, "0")}`;
    return this.#fail(`expected ${expected}, found ${found}`, this.#at);
  }

  #fail(reason: string, index: number): Refusal {
    // One line of printable ASCII, character for character, so that the caret stands under its column.
    const line = this.#text.replaceAll(/\s/g, " ").replaceAll(/[^ -~]/g, "?");
    const detail = `protocol, column ${index + 1}: ${reason}\n${line}\n${" ".repeat(index)}^`;
    return refuse("malformed_request", detail);
  }
}
