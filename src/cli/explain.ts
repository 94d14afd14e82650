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
import { type DischargeTree, dischargeTree } from "./discharge-tree.ts";
import { holdingOf } from "./token-holder.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP, type TokenInput } from "./token-input.ts";

interface Check {
  /** Of a discharge: its index. */
  readonly token?: number;
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
    const question = readQuestion(environment, values, input.macaroon);
    if (question instanceof UsageProblem) return question;
    const checks = checkTokens(input, question);
    const allowed = checks.every(({ ok }) => ok !== false);
    const verdict = allowed ? "allowed, as far as can be told offline" : "refused";
    return {
      json: { allowed, checks },
      text: [...checks.map(lineOf), verdict].join("\n"),
      failed: !allowed,
    };
  },
};

function lineOf({ token, caveat, ok, reason }: Check): string {
  const verdict = ok === null ? "gate" : ok ? "pass" : "FAIL";
  const where = token === undefined ? "" : `discharge ${token}: `;
  return `${verdict}  ${where}${shortened(caveat)}${ok === true ? "" : `\n      ${reason}`}`;
}

/** A third party's caveat, and which discharge there is for it. */
class ThirdPartyLink {
  readonly location: string;
  readonly discharge: number | undefined;

  constructor(location: string, discharge: number | undefined) {
    this.location = location;
    this.discharge = discharge;
  }
}

/** A caveat, why it is none, or a third party's. */
type Link = Caveat | Refusal | ThirdPartyLink;

/** @param tally of the macaroons before it; this one is added */
function readChain(
  { unsafeCaveats }: Macaroon,
  token: number,
  tree: DischargeTree,
  tally: CaveatTally,
): readonly Link[] {
  return unsafeCaveats.map(({ cid, vid, location = "(no location)" }, index) => {
    if (vid !== undefined) return new ThirdPartyLink(location, tree.answerTo(token, index));
    const caveat = parseCaveat(fromUtf8(cid) ?? "(not UTF-8)", index, token);
    return isRefusal(caveat) ? caveat : (tally.add(caveat, index, token) ?? caveat);
  });
}

const isCaveat = (link: Link): link is Caveat => !(link instanceof ThirdPartyLink) && !isRefusal(link);

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

/** The token's caveats, then those of each discharge; those that no caveat asks for are refused as they are. */
function checkTokens({ macaroon, discharges }: TokenInput, question: Question): readonly Check[] {
  const tree = dischargeTree(macaroon, discharges);
  const tally = new CaveatTally();
  return [macaroon, ...discharges].flatMap((each, token): readonly Check[] => {
    if (tree.unused.includes(token))
      return [{ token, caveat: "(discharge)", ok: false, reason: "no caveat asks for it" }];
    const checks = checkAll(readChain(each, token, tree, tally), question, token > 0);
    return token === 0 ? checks : checks.map((made) => ofToken(token, made));
  });
}

const ofToken = (token: number, made: Check): Check => ({ token, ...made });

function checkAll(chain: readonly Link[], question: Question, ofDischarge: boolean): readonly Check[] {
  const caveats = chain.flatMap((link, index) => (isCaveat(link) ? [{ link, index }] : []));
  const problems = holderProblems(
    caveats.map(({ link }) => ({ caveat: link, tailBefore: undefined })),
    question.access.signer,
    // Never asked: offline the chain's signatures are not known.
    { verifyDelegation: () => false },
  );
  const ofHolders = new Map(caveats.map(({ index }, at) => [index, problems.get(at)]));
  return chain.map((link, index) => check(link, question, ofHolders.get(index), ofDischarge));
}

function check(link: Link, question: Question, ofHolders: string | undefined, ofDischarge: boolean): Check {
  if (link instanceof ThirdPartyLink) {
    const caveat = printable(`(third party at ${link.location})`);
    return link.discharge === undefined
      ? { caveat, ok: false, reason: "its discharge is missing: `postern discharge` fetches it" }
      : { caveat, ok: null, reason: `not checked: discharge ${link.discharge} is verified at the gate` };
  }
  if (isRefusal(link)) {
    const caveat = printable(link.facts.caveat?.text ?? "");
    return { caveat, ok: false, reason: printable(link.detail) };
  }
  const caveat = printable(link.text);
  const unchecked = notChecked(link, question.known);
  const { access, after } = question;
  const reason =
    ofHolders ??
    (link.protocol === undefined
      ? undefined
      : misordered(link.protocol, after, access.message, ofDischarge)) ??
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

function misordered(
  protocol: string,
  after: readonly string[],
  message: string,
  ofDischarge: boolean,
): string | undefined {
  return ofDischarge ? "a discharge holds no order" : outOfOrder(protocol, after, message);
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
