/**
 * `postern explain`: would a call pass, and why, caveat by caveat. Offline: the signature chain is not checked, and
 * where the actor's monitors stand is what `--after` says.
 */
import { type Access, parseCaveat } from "../authorize/caveats.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal } from "../errors.ts";
import { compileProtocol } from "../protocol/automaton.ts";
import type { Macaroon } from "../token/macaroon.ts";
import {
  type Command,
  type Environment,
  messagesOf,
  printable,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

interface Check {
  readonly caveat: string;
  readonly ok: boolean;
  readonly reason: string;
}

/** One message is asked about. */
type MessageAccess = Access & { readonly message: string };

export const explain: Command = {
  name: "explain",
  summary: "say offline why a call would pass or fail",
  usage: "[--token FILE] --actor type/id --message NAME [--signer KEY] [--at TIME] [--after a,b]",
  options: {
    ...TOKEN_INPUT,
    actor: { type: "string" },
    message: { type: "string" },
    signer: { type: "string" },
    at: { type: "string" },
    after: { type: "string" },
  },
  help: {
    ...TOKEN_INPUT_HELP,
    actor: "type/id that would be called",
    message: "message that would be sent",
    signer: "public key that would sign (default: the token's first holder)",
    at: "RFC 3339 time of the call (default: now)",
    after: "messages sent before through this capability, in order (default: none)",
  },
  async run(environment, values) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const access = readAccess(environment, values, input.macaroon);
    if (access instanceof UsageProblem) return access;
    const after = messagesOf(values, "after");
    const checks = input.macaroon.unsafeCaveats.map((_, index) =>
      checkCaveat(input.macaroon, index, access, after),
    );
    const allowed = checks.every(({ ok }) => ok);
    const lines = checks.map(
      ({ caveat, ok, reason }) => `${ok ? "pass" : "FAIL"}  ${caveat}${ok ? "" : `\n      ${reason}`}`,
    );
    return {
      json: { allowed, checks },
      text: [...lines, allowed ? "allowed, as far as can be told offline" : "refused"].join("\n"),
      failed: !allowed,
    };
  },
};

function readAccess(
  environment: Environment,
  values: Values,
  macaroon: Macaroon,
): MessageAccess | UsageProblem {
  const [type, id] = (text(values, "actor") ?? "").split("/");
  const message = text(values, "message");
  if (!type || !id || message === undefined)
    return new UsageProblem("--actor type/id and --message NAME are needed");
  const at = text(values, "at");
  const now_ms = at === undefined ? environment.now_ms() : Date.parse(at);
  if (Number.isNaN(now_ms)) return new UsageProblem(`--at ${at} is not an RFC 3339 time`);
  return { actor: { type, id }, message, now_ms, signer: text(values, "signer") ?? firstHolder(macaroon) };
}

function firstHolder(macaroon: Macaroon): string {
  for (const { cid } of macaroon.unsafeCaveats) {
    const [, key] = /^holder = ([0-9a-f]{64})$/.exec(fromUtf8(cid) ?? "") ?? [];
    if (key !== undefined) return key;
  }
  return "";
}

function checkCaveat(
  macaroon: Macaroon,
  index: number,
  access: MessageAccess,
  after: readonly string[],
): Check {
  const { cid, vid } = macaroon.unsafeCaveats[index] ?? { cid: new Uint8Array() };
  if (vid !== undefined) return { caveat: "(third party)", ok: false, reason: "it needs a discharge" };
  const caveat = parseCaveat(fromUtf8(cid) ?? "(not UTF-8)", index);
  if (isRefusal(caveat))
    return {
      caveat: printable(caveat.facts.caveat?.text ?? ""),
      ok: false,
      reason: printable(caveat.detail),
    };
  const reason =
    caveat.protocol === undefined
      ? caveat.prohibits(access)
      : outOfOrder(caveat.protocol, after, access.message);
  return { caveat: printable(caveat.text), ok: reason === undefined, reason: reason ?? "" };
}

function outOfOrder(protocol: string, after: readonly string[], message: string): string | undefined {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton)) return automaton.detail;
  let state = 0;
  for (const [count, sent] of [...after, message].entries()) {
    const next = automaton.next(state, sent);
    if (next === undefined) {
      const enabled = automaton.enabled(state).join(", ") || "nothing";
      return `after ${after.slice(0, count).join(", ") || "nothing"} it admits ${enabled}, not ${sent}`;
    }
    state = next;
  }
  return undefined;
}
