/** `postern protocol graph`: a protocol as a drawing, Mermaid or SVG; of an expression, a token or an actor's policy. */
import { basename, dirname } from "node:path";
import { parseCaveat } from "../authorize/caveats.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { type Automaton, compileProtocol } from "../protocol/automaton.ts";
import { anyOrder, fresh, type Residual, residual } from "../protocol/inclusion.ts";
import { meet } from "../protocol/meet.ts";
import { graphOf } from "../protocol/picture/graph.ts";
import { drawMermaid } from "../protocol/picture/mermaid.ts";
import { drawSvg } from "../protocol/picture/svg.ts";
import { drawTerminal } from "../protocol/picture/terminal.ts";
import type { Macaroon } from "../token/macaroon.ts";
import {
  type Environment,
  flag,
  messagesOf,
  type Outcome,
  printable,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { folderFailed, readPolicies } from "./policy-folder.ts";
import { widthOf } from "./protocol.ts";
import { isPath } from "./protocol-check.ts";
import { readToken } from "./token-input.ts";

/** What is drawn, and what to call it. */
interface Subject {
  readonly automaton: Automaton;
  readonly title: string;
}

export async function graphProtocol(
  environment: Environment,
  values: Values,
  subject: string | undefined,
): Promise<Outcome> {
  const width = widthOf(environment, values);
  if (width instanceof UsageProblem) return width;
  const found = await readSubject(environment, values, subject);
  if (!("automaton" in found)) return found;
  const { automaton, title } = found;
  const after = messagesOf(values, "after");
  const rest = residual(automaton, after);
  if (rest === undefined)
    return refuse("out_of_order", `${after.join(", ")} is not admitted by ${title}`, { word: after });
  const graph = graphOf(automaton, rest.state);
  const json = { title, current: rest.state, ...graph };
  if (flag(values, "mermaid")) return { json, text: drawMermaid(graph) };
  if (flag(values, "svg")) return { json, text: drawSvg(graph, title) };
  return { json, text: drawTerminal(graph, width) };
}

async function readSubject(
  environment: Environment,
  values: Values,
  subject: string | undefined,
): Promise<Subject | Outcome> {
  if (text(values, "token") !== undefined) {
    if (subject !== undefined)
      return new UsageProblem("graph draws an expression, an actor or a token: one of them");
    const input = await readToken(environment, values);
    return input instanceof UsageProblem || isRefusal(input) ? input : ofToken(input.macaroon);
  }
  if (subject === undefined)
    return new UsageProblem("graph needs an expression, an actor's policy or --token");
  return isPath(subject) ? ofPolicy(subject, text(values, "of") ?? "behaviour") : ofExpression(subject);
}

function ofExpression(expression: string): Subject | Refusal {
  const automaton = compileProtocol(expression);
  return isRefusal(automaton) ? automaton : { automaton, title: expression.trim().replaceAll(/\s+/g, " ") };
}

/** @param path `policies/demo/account.yaml`, with or without the ending */
function ofPolicy(path: string, key: string): Subject | Outcome {
  if (key !== "protocol" && key !== "behaviour")
    return new UsageProblem(`--of is protocol or behaviour, not ${key}`);
  const folder = readPolicies(dirname(path));
  if (folder instanceof UsageProblem) return folder;
  if (folder.problems.length > 0) return folderFailed(folder.problems);
  const name = basename(path).replace(/\.ya?ml$/, "");
  for (const { policy } of folder.tenants) {
    const actor = Object.values(policy.actors).find((known) => known.actor === name);
    if (actor !== undefined) return ofExpression(actor[key]);
  }
  return new UsageProblem(`${path} is no actor's policy: a file beside a tenant.yaml`);
}

/** All that the token's caveats say about order, as one protocol. */
function ofToken(macaroon: Macaroon): Subject | Refusal {
  const outers: Residual[] = [];
  const texts: string[] = [];
  for (const [index, { cid, vid }] of macaroon.unsafeCaveats.entries()) {
    if (vid !== undefined) continue;
    const caveat = parseCaveat(fromUtf8(cid) ?? "", index);
    if (isRefusal(caveat)) return caveat;
    if (caveat.messages !== undefined) outers.push(anyOrder(caveat.messages));
    if (caveat.protocol !== undefined) {
      const automaton = compileProtocol(caveat.protocol);
      if (isRefusal(automaton)) return automaton;
      outers.push(fresh(automaton));
    }
    if (caveat.messages !== undefined || caveat.protocol !== undefined) texts.push(printable(caveat.text));
  }
  if (outers.length === 0)
    return refuse("malformed_request", "the token says nothing about the order of messages");
  const automaton = meet(outers);
  return isRefusal(automaton) ? automaton : { automaton, title: texts.join("; ") };
}
