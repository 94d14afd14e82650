/**
 * `postern explain`: would a call pass, and why, caveat by caveat. Offline: the signature chain is not checked, and
 * where the actor's monitors stand is what `--after` says. What only a gate knows is told as not checked.
 */
import { type Access, type Caveat, type Need, parseCaveat } from "../authorize/caveats.ts";
import { holderProblems } from "../authorize/holders.ts";
import { CaveatTally } from "../authorize/most.ts";
import { fromUtf8, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { parseAddress } from "../ip.ts";
import { parseJson } from "../json.ts";
import { compileProtocol } from "../protocol/automaton.ts";
import type { Macaroon } from "../token/macaroon.ts";
import {
  type Command,
  type Environment,
  messagesOf,
  printable,
  shortened,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { holdingOf } from "./token-holder.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

interface Check {
  readonly caveat: string;
  /** `null`: not checked. */
  readonly ok: boolean | null;
  readonly reason: string;
}

export const explain: Command = {
  name: "explain",
  summary: "say offline why a call would pass or fail",
  usage: "[--token FILE] --actor type/id --message NAME [--args JSON] [--after a,b] [--signer KEY] …",
  options: {
    ...TOKEN_INPUT,
    actor: { type: "string" },
    message: { type: "string" },
    args: { type: "string" },
    after: { type: "string" },
    signer: { type: "string" },
    at: { type: "string" },
    "client-ip": { type: "string" },
    authority: { type: "string" },
  },
  help: {
    ...TOKEN_INPUT_HELP,
    actor: "type/id that would be called",
    message: "message that would be sent",
    args: "its arguments, as JSON: for conditions",
    after: "messages sent before through this capability, in order (default: none)",
    signer: "public key that would sign (default: the token's holder)",
    at: "RFC 3339 time of the call (default: now)",
    "client-ip": "address that the call would come from",
    authority: "host, with its port where it has one, that the call would be sent to",
  },
  async run(environment, values) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const chain = readChain(input.macaroon);
    const question = readQuestion(environment, values, input.macaroon);
    if (question instanceof UsageProblem) return question;
    const checks = checkAll(chain, question);
    const allowed = checks.every(({ ok }) => ok !== false);
    const verdict = allowed ? "allowed, as far as can be told offline" : "refused";
    return {
      json: { allowed, checks },
      text: [...checks.map(lineOf), verdict].join("\n"),
      failed: !allowed,
    };
  },
};

function lineOf({ caveat, ok, reason }: Check): string {
  const verdict = ok === null ? "gate" : ok ? "pass" : "FAIL";
  return `${verdict}  ${shortened(caveat)}${ok === true ? "" : `\n      ${reason}`}`;
}

/** A caveat, why it is none, or a third party's. */
type Link = Caveat | Refusal | "third party";

function readChain({ unsafeCaveats }: Macaroon): readonly Link[] {
  const tally = new CaveatTally();
  return unsafeCaveats.map(({ cid, vid }, index) => {
    if (vid !== undefined) return "third party";
    const caveat = parseCaveat(fromUtf8(cid) ?? "(not UTF-8)", index);
    return isRefusal(caveat) ? caveat : (tally.add(caveat, index) ?? caveat);
  });
}

const isCaveat = (link: Link): link is Caveat => link !== "third party" && !isRefusal(link);

interface Question {
  readonly access: Access & { readonly message: string };
  /** What of the access was said; of the rest nothing can be told. */
  readonly known: ReadonlySet<Need>;
  readonly after: readonly string[];
}

function readQuestion(environment: Environment, values: Values, macaroon: Macaroon): Question | UsageProblem {
  const [type, id] = (text(values, "actor") ?? "").split("/");
  const message = text(values, "message");
  if (!type || !id || message === undefined)
    return new UsageProblem("--actor type/id and --message NAME are needed");
  const at = text(values, "at");
  const now_ms = at === undefined ? environment.now_ms() : Date.parse(at);
  if (Number.isNaN(now_ms)) return new UsageProblem(`--at ${at} is not an RFC 3339 time`);
  const json = text(values, "args");
  const args = parseJson(utf8(json ?? "{}"));
  if (isRefusal(args)) return new UsageProblem(`--args is not JSON: ${args.detail}`);
  const ip = text(values, "client-ip");
  const address = parseAddress(ip ?? "");
  if (ip !== undefined && address === undefined)
    return new UsageProblem(`--client-ip ${ip} is not an IP address`);
  const authority = text(values, "authority");
  const signer = text(values, "signer") ?? holdingOf(macaroon).key ?? "";
  const known = new Set<Need>();
  if (json !== undefined) known.add("args");
  if (address !== undefined) known.add("address");
  if (authority !== undefined) known.add("authority");
  return {
    access: {
      actor: { type, id },
      message,
      args: args.value,
      now_ms,
      signer,
      address,
      authority: authority ?? "",
    },
    known,
    after: messagesOf(values, "after"),
  };
}

function checkAll(chain: readonly Link[], question: Question): readonly Check[] {
  const caveats = chain.flatMap((link, index) => (isCaveat(link) ? [{ link, index }] : []));
  const problems = holderProblems(
    caveats.map(({ link }) => ({ caveat: link, tailBefore: undefined })),
    question.access.signer,
    // Never asked: offline the chain's signatures are not known.
    { verifyDelegation: () => false },
  );
  const ofHolders = new Map(caveats.map(({ index }, at) => [index, problems.get(at)]));
  return chain.map((link, index) => check(link, question, ofHolders.get(index)));
}

function check(link: Link, question: Question, ofHolders: string | undefined): Check {
  if (link === "third party") return { caveat: "(third party)", ok: false, reason: "it needs a discharge" };
  if (isRefusal(link)) {
    const caveat = printable(link.facts.caveat?.text ?? "");
    return { caveat, ok: false, reason: printable(link.detail) };
  }
  const caveat = printable(link.text);
  const unchecked = notChecked(link, question.known);
  const { access, after } = question;
  const reason =
    ofHolders ??
    (link.protocol === undefined ? undefined : outOfOrder(link.protocol, after, access.message)) ??
    (unchecked === undefined ? link.prohibits(access) : undefined);
  if (reason !== undefined) return { caveat, ok: false, reason: printable(reason) };
  if (unchecked !== undefined) return { caveat, ok: null, reason: `not checked: ${unchecked}` };
  return { caveat, ok: true, reason: "" };
}

const OPTIONS: Readonly<Record<Need, string>> = {
  args: "--args",
  address: "--client-ip",
  authority: "--authority",
};

function notChecked({ needs = [], count, delegation }: Caveat, known: ReadonlySet<Need>): string | undefined {
  const missing = needs.filter((need) => !known.has(need)).map((need) => OPTIONS[need]);
  if (missing.length > 0) return `say ${missing.join(" and ")}`;
  if (count !== undefined) return "how many calls there were is known at the gate";
  if (delegation !== undefined) return "the former holder's signature is verified at the gate";
  return undefined;
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
