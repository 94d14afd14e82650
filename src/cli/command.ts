/**
 * What a command is: a function from arguments and an environment to an outcome.
 *
 * Commands print nothing and exit nowhere; the runner in `cli.ts` does both, so that `--json` and the exit codes
 * mean the same everywhere. Secrets come from files or standard input, never from an argument.
 */
import type { ParseArgsOptionsConfig } from "node:util";
import type { Code, Refusal } from "../errors.ts";

/** Exit codes: done, refused or a failed check, wrong usage, unavailable. */
export const EXIT = { done: 0, refused: 1, usage: 2, unavailable: 3 } as const;

/** `--store` unless told. */
export const DEFAULT_STORE = "file:.postern";

/** What reaches a command from outside. */
export interface Environment {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of standard input, as text. */
  stdin(): Promise<string>;
  /** Standard output, for what comes while the command still runs. */
  write(text: string): void;
  /** Standard error, for what a person should see at once. */
  note(text: string): void;
  /** Replaces the last line of a terminal's standard error; says nothing where that is no terminal. */
  status(text: string): void;
  readonly colour: boolean;
  /** Columns of the terminal, now. */
  readonly columns: number;
  /** Its rows, now; `undefined` where standard output is no terminal. */
  readonly rows: number | undefined;
  now_ms(): number;
  /** Resolves with `false` after so long. */
  pause(ms: number): Promise<false>;
  random(length: number): Uint8Array<ArrayBuffer>;
  /** Resolves at the first SIGINT or SIGTERM. */
  interrupted(): Promise<"SIGINT" | "SIGTERM">;
}

export interface Done {
  /** What `--json` prints. */
  readonly json: unknown;
  /** What a person reads; ends without a line feed. */
  readonly text: string;
  /** It has been printed already, bit by bit. */
  readonly printed?: boolean;
  /** A check that failed is done, and exits with 1. */
  readonly failed?: boolean;
  /** Of a process that has run in its place. */
  readonly exitCode?: number;
  /** It failed because something did not answer, or asked to come back later. */
  readonly unavailable?: boolean;
}

/** The command was called in a way that cannot mean anything. */
export class UsageProblem {
  readonly detail: string;

  constructor(detail: string) {
    this.detail = detail;
  }
}

export type Outcome = Done | Refusal | UsageProblem;

export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** After `postern <name> `. */
  readonly usage: string;
  /** How many arguments it takes beside its options; none unless said. */
  readonly positionals?: number;
  readonly options: ParseArgsOptionsConfig;
  /** One line for each option. */
  readonly help: Readonly<Record<string, string>>;
  run(environment: Environment, values: Values, positionals: readonly string[]): Promise<Outcome>;
  /** Told how it went, when its outcome has been printed. */
  ended?(environment: Environment, exitCode: number): void;
}

export function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}

export function texts(values: Values, name: string): readonly string[] {
  const value = values[name];
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

export function flag(values: Values, name: string): boolean {
  return values[name] === true;
}

/** `a,b`: messages in the order in which they were sent; none unless said. */
export function messagesOf(values: Values, name: string): readonly string[] {
  const given = text(values, name)?.trim() ?? "";
  return given === "" ? [] : given.split(",").map((message) => message.trim());
}

/** What came from outside, on one line that a terminal may show: control characters are written out. */
export function printable(outside: string): string {
  return outside.replace(/\p{Cc}|[\u2028\u2029]/gu, writtenOut);
}

/** A caveat for a person: of a signature, which nobody compares by eye, only its beginning. */
export function shortened(caveat: string): string {
  return caveat.replace(/\b([0-9a-f]{8})[0-9a-f]{120}\b/, "$1…");
}

/** What came from outside and may have several lines, line by line. */
export function printableLines(outside: string): string {
  return outside.split("\n").map(printable).join("\n");
}

function writtenOut(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

type Position = NonNullable<Refusal["facts"]["position"]>;

/** What a refusal says, under its expression and a caret where it knows the column; begins with `: ` or a new line. */
export function caretUnder({ detail, facts }: Refusal): string {
  if (facts.position === undefined) return `: ${detail}`;
  return `\n${caretLines(facts.position)}\n${detail}`;
}

/** An expression and a caret under one of its columns, indented. */
export function caretLines({ text: whole, column }: Position): string {
  // A window of the expression that a terminal shows on one line, the caret in its middle third.
  const start = whole.length <= CARET_WINDOW ? 0 : Math.max(0, column - 1 - Math.floor(CARET_WINDOW / 2));
  const window = whole.slice(start, start + CARET_WINDOW);
  const before = start > 0 ? "…" : "";
  const after = start + CARET_WINDOW < whole.length ? "…" : "";
  const caret = `${" ".repeat(before.length + column - 1 - start)}^`;
  return `  ${before}${window}${after}\n  ${caret}`;
}

const CARET_WINDOW = 76;

const UNAVAILABLE: ReadonlySet<Code> = new Set([
  "store_unavailable",
  "overloaded",
  "draining",
  "not_leader",
  "deadline",
]);

export function exitCodeOf(refusal: Refusal): number {
  return UNAVAILABLE.has(refusal.code) ? EXIT.unavailable : EXIT.refused;
}
