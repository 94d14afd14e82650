/**
 * The caveat flags, the same for every command that writes caveats.
 *
 * What they make is checked as the gate will check it: a caveat that a gate would refuse is refused here, where
 * it can still be mended.
 */
import type { ParseArgsOptionsConfig } from "node:util";
import { type CaveatName, formatCaveat, parseCaveat } from "../authorize/caveats.ts";
import { isRefusal } from "../errors.ts";
import { compileProtocol } from "../protocol/automaton.ts";
import { caretUnder, type Environment, text, texts, UsageProblem, type Values } from "./command.ts";
import { parseDuration } from "./duration.ts";

export const TOKEN_OPTIONS: ParseArgsOptionsConfig = {
  actor: { type: "string" },
  expires: { type: "string" },
  "not-before": { type: "string" },
  holder: { type: "string" },
  message: { type: "string" },
  protocol: { type: "string" },
  caveat: { type: "string", multiple: true },
};

export const TOKEN_HELP = {
  actor: "type/id or type/*: which actors it reaches",
  expires: "RFC 3339 time, or a duration from now such as 30s, 15m, 8h, 7d",
  "not-before": "RFC 3339 time, or a duration from now",
  holder: "public key (64 hex digits) that must sign every request",
  message: "a,b: the messages that stay allowed",
  protocol: "expression: the allowed order of messages",
  caveat: "a caveat as it stands, `name op value`; may be repeated",
};

/** Expiry comes before the protocol, so that the gate knows how long the protocol's monitor can matter. */
const ORDER: readonly (readonly [flag: string, caveat: CaveatName])[] = [
  ["actor", "actor"],
  ["expires", "expires"],
  ["not-before", "not_before"],
  ["holder", "holder"],
  ["message", "message"],
  ["protocol", "protocol"],
];

/** Caveat texts from flags, in the order in which a token carries them. */
export function caveatsFromFlags(environment: Environment, values: Values): readonly string[] | UsageProblem {
  const caveats: string[] = [];
  for (const [flag, name] of ORDER) {
    const given = text(values, flag);
    if (given === undefined) continue;
    const value =
      name === "expires" || name === "not_before" ? toTime(given, environment.now_ms()) : given.trim();
    if (value === undefined)
      return new UsageProblem(`--${flag} ${given} is neither an RFC 3339 time nor a duration such as 15m`);
    caveats.push(formatCaveat(name, value));
  }
  caveats.push(...texts(values, "caveat"));
  return problemOf(caveats) ?? caveats;
}

function problemOf(caveats: readonly string[]): UsageProblem | undefined {
  for (const [index, caveatText] of caveats.entries()) {
    const caveat = parseCaveat(caveatText, index);
    if (isRefusal(caveat)) return new UsageProblem(`\`${caveatText}\`: ${caveat.detail}`);
    if (caveat.protocol === undefined) continue;
    const automaton = compileProtocol(caveat.protocol);
    if (isRefusal(automaton)) return new UsageProblem(`\`${caveatText}\`${caretUnder(automaton)}`);
  }
  return undefined;
}

function toTime(given: string, now_ms: number): string | undefined {
  const duration_ms = parseDuration(given);
  if (duration_ms === undefined) return given.includes("T") ? given : undefined;
  return `${new Date(now_ms + duration_ms).toISOString().slice(0, 19)}Z`;
}
