/**
 * The caveat flags, the same for every command that writes caveats.
 *
 * What they make is checked as the gate will check it: a caveat that a gate would refuse is refused here, where
 * it can still be mended.
 */
import type { ParseArgsOptionsConfig } from "node:util";
import { type CaveatName, formatCaveat, parseCaveat } from "../authorize/caveats.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { formatAddress, parseAddress } from "../ip.ts";
import { compileProtocol } from "../protocol/automaton.ts";
import type { Addition } from "../token/chain.ts";
import { caretUnder, type Environment, text, texts, UsageProblem, type Values } from "./command.ts";
import { parseDuration } from "./duration.ts";
import { THIRD_PARTY_FORM, thirdPartiesFromFlags } from "./third-party-flag.ts";

export const TOKEN_OPTIONS: ParseArgsOptionsConfig = {
  actor: { type: "string" },
  expires: { type: "string" },
  "not-before": { type: "string" },
  audience: { type: "string" },
  holder: { type: "string" },
  "client-ip": { type: "string" },
  message: { type: "string" },
  when: { type: "string" },
  uses: { type: "string" },
  rate: { type: "string" },
  protocol: { type: "string" },
  caveat: { type: "string", multiple: true },
  "third-party": { type: "string", multiple: true },
};

export const TOKEN_HELP = {
  actor: "type/id or type/*: which actors it reaches",
  expires: "RFC 3339 time, or a duration from now such as 30s, 15m, 8h, 7d",
  "not-before": "RFC 3339 time, or a duration from now",
  audience: "origin of the gate that it is meant for, as in https://gate.example",
  holder: "public key, as `postern keygen` prints it, that must sign every request",
  "client-ip": "addresses or ranges it may be used from, as in 192.0.2.7,2001:db8::/32",
  message: "a,b: the messages that stay allowed",
  when: "condition in CEL over args, actor, message, now and client, as in 'args.amount <= 100'",
  uses: "how many calls it is good for, on each actor",
  rate: "calls in any stretch of time, on each actor: 10/m, 5/30s, 1000/d",
  protocol: "expression: the allowed order of messages",
  caveat: "a caveat as it stands, `name op value`; may be repeated",
  "third-party": `${THIRD_PARTY_FORM}: who else must vouch for each call, and for what; may be repeated`,
};

/** Expiry comes before what actors keep a state for, so that the gate knows how long that can matter. */
const ORDER: readonly (readonly [flag: string, caveat: CaveatName])[] = [
  ["actor", "actor"],
  ["expires", "expires"],
  ["not-before", "not_before"],
  ["audience", "audience"],
  ["holder", "holder"],
  ["client-ip", "client_ip"],
  ["message", "message"],
  ["when", "when"],
  ["uses", "uses"],
  ["rate", "rate"],
  ["protocol", "protocol"],
];

/** Caveats from flags, in the order in which a token carries them. */
export function caveatsFromFlags(
  environment: Environment,
  values: Values,
): readonly Addition[] | UsageProblem {
  const caveats: string[] = [];
  for (const [flag, name] of ORDER) {
    const given = text(values, flag);
    if (given === undefined) continue;
    const value = valueOf(name, given, environment.now_ms());
    if (value === undefined)
      return new UsageProblem(`--${flag} ${given} is neither an RFC 3339 time nor a duration such as 15m`);
    caveats.push(formatCaveat(name, value));
  }
  caveats.push(...texts(values, "caveat"));
  const thirdParties = thirdPartiesFromFlags(environment, values);
  if (thirdParties instanceof UsageProblem) return thirdParties;
  return problemOf(caveats) ?? [...caveats, ...thirdParties];
}

/** What is handier to type, as the caveat has it. */
function valueOf(name: CaveatName, given: string, now_ms: number): string | undefined {
  if (name === "expires" || name === "not_before") return toTime(given, now_ms);
  const value = given.trim();
  if (name === "client_ip") return value.split(",").map(toRange).join(",");
  // A caveat is one line. White space means nothing in CEL but within texts.
  return name === "when" ? value.replaceAll(/\s*\n\s*/g, " ") : value;
}

/** An address stands for itself alone. */
function toRange(given: string): string {
  const address = parseAddress(given.trim());
  return address === undefined ? given.trim() : `${formatAddress(address)}/${8 * address.length}`;
}

function problemOf(caveats: readonly string[]): UsageProblem | undefined {
  for (const [index, caveatText] of caveats.entries()) {
    const caveat = parseCaveat(caveatText, index);
    if (isRefusal(caveat)) return new UsageProblem(`\`${caveatText}\`${caretUnder(ofItself(caveat))}`);
    if (caveat.protocol === undefined) continue;
    const automaton = compileProtocol(caveat.protocol);
    if (isRefusal(automaton)) return new UsageProblem(`\`${caveatText}\`${caretUnder(automaton)}`);
  }
  return undefined;
}

/** A flag has no index in a token yet. */
function ofItself({ code, detail, facts }: Refusal): Refusal {
  return refuse(code, detail.replace(/^caveat \d+ is refused because /, ""), facts);
}

function toTime(given: string, now_ms: number): string | undefined {
  const duration_ms = parseDuration(given);
  if (duration_ms === undefined) return given.includes("T") ? given : undefined;
  return `${new Date(now_ms + duration_ms).toISOString().slice(0, 19)}Z`;
}
