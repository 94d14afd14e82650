/**
 * Law 7 over the whole suite: what processes and gates write while the tests run is collected, and so are the secrets
 * that the tests make; when all is done, none of these may stand in any of those.
 *
 * A secret counts in hexadecimal, in base64 and base64url, and as a list of numbers; a token also by its last characters,
 * and whatever looks like a whole token is one, known or not.
 */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { fromUtf8, toBase64url, toHex } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { decodeTokens } from "../../src/token/envelope.ts";

/** Where it is collected: set by `leak-check.ts` for the whole run. */
export const COLLECTED = "POSTERN_TEST_COLLECTED";

/** As many characters of a secret, from its first on, are enough to find it by. */
const NEEDLE_LENGTH = 32;
const TOKEN = /pst_[A-Za-z0-9_-]{60,}/g;

interface Written {
  /** Who wrote it. */
  readonly source: string;
  readonly text: string;
}

export interface Leak extends Written {
  readonly what: string;
}

function note(kind: "written" | "secrets", record: object): void {
  const directory = process.env[COLLECTED];
  if (directory === undefined) return;
  appendFileSync(join(directory, `${kind}.${process.pid}.${threadId}`), `${JSON.stringify(record)}\n`);
}

/** What was written where everybody may read it. */
export function collect(source: string, text: string): void {
  note("written", { source, text });
}

/** @returns the same bytes */
export function secret<T extends Uint8Array>(what: string, bytes: T): T {
  note("secrets", { what, needles: needlesOf(bytes) });
  return bytes;
}

/** Tokens that a command has printed, on purpose, or that a test has made. @returns the same text */
export function secretTokens(text: string): string {
  for (const [token] of text.matchAll(TOKEN))
    note("secrets", { what: "a token", needles: tokenNeedles(token) });
  return text;
}

function needlesOf(bytes: Uint8Array): readonly string[] {
  const base64 = Buffer.from(bytes).toString("base64");
  return [toHex(bytes), base64, toBase64url(bytes), [...bytes].join(","), [...bytes].join(", ")];
}

/** Its signature, which is all that a thief needs, and the text that holds it. */
function tokenNeedles(token: string): readonly string[] {
  const macaroons = decodeTokens(token);
  const signature = isRefusal(macaroons) ? [] : needlesOf(macaroons[0].signature);
  return [...signature, token.slice(-40)];
}

/** Runs of characters in which a secret could stand: shorter ones, and other characters, hold none. */
const RUNS = [/[A-Za-z0-9+/_=-]{32,}/g, /[0-9][0-9, ]{31,}/g];

export function findLeaks(written: Iterable<Written>, needles: ReadonlyMap<string, string>): readonly Leak[] {
  const byStart = new Map([...needles].map(([needle, what]) => [needle.slice(0, NEEDLE_LENGTH), what]));
  const leaks: Leak[] = [];
  for (const { source, text } of written) {
    const whole = text.match(TOKEN)?.[0];
    if (whole !== undefined) leaks.push({ source, text, what: "a whole token" });
    for (const pattern of RUNS)
      for (const [run] of text.matchAll(pattern)) {
        for (let at = 0; at + NEEDLE_LENGTH <= run.length; at++) {
          const what = byStart.get(run.slice(at, at + NEEDLE_LENGTH));
          if (what !== undefined) leaks.push({ source, text, what });
        }
      }
  }
  return leaks;
}

/** Of all that was collected there. */
export function leaksIn(directory: string): readonly Leak[] {
  const needles = new Map<string, string>();
  for (const { what, needles: forms } of read<{ what: string; needles: readonly string[] }>(
    directory,
    "secrets",
  ))
    for (const form of forms) needles.set(form, what);
  return findLeaks(read<Written>(directory, "written"), needles);
}

function* read<T>(directory: string, kind: "written" | "secrets"): Iterable<T> {
  for (const name of readdirSync(directory).filter((file) => file.startsWith(`${kind}.`)))
    for (const line of fromUtf8(readFileSync(join(directory, name)))?.split("\n") ?? [])
      if (line !== "") yield JSON.parse(line) as T;
}
