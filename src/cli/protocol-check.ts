/** `postern protocol check`: how an expression is read, whether it lies within another, what each message asks for. */
import { isAbsolute } from "node:path";
import type { ActorPolicy, TenantPolicy } from "../config.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { type Automaton, compileProtocol } from "../protocol/automaton.ts";
import { messageClass, orderClass } from "../protocol/classes.ts";
import { parseProtocol } from "../protocol/grammar.ts";
import { findViolation, fresh } from "../protocol/inclusion.ts";
import { findEntrances } from "../protocol/narrower.ts";
import { formatProtocol } from "../protocol/print.ts";
import { type Environment, type Outcome, text, UsageProblem, type Values } from "./command.ts";
import { folderFailed, isDirectory, readPolicies } from "./policy-folder.ts";

export function checkProtocol(
  _environment: Environment,
  values: Values,
  subject: string | undefined,
): Outcome {
  if (subject === undefined) return new UsageProblem("check needs an expression or a directory of policies");
  const within = text(values, "within");
  if (!isPath(subject) && !isDirectory(subject)) return checkExpression(subject, within);
  if (within !== undefined) return new UsageProblem("--within compares two expressions");
  return checkFolder(subject);
}

/** No expression has these characters. */
export function isPath(subject: string): boolean {
  return isAbsolute(subject) || /[/.\\]/.test(subject);
}

interface Read {
  readonly readsAs: string;
  readonly automaton: Automaton;
}

function read(expression: string): Read | Refusal {
  const parsed = parseProtocol(expression);
  if (isRefusal(parsed)) return parsed;
  const automaton = compileProtocol(parsed);
  return isRefusal(automaton) ? automaton : { readsAs: formatProtocol(parsed), automaton };
}

function checkExpression(expression: string, outer: string | undefined): Outcome {
  const inner = read(expression);
  if (isRefusal(inner)) return inner;
  const { readsAs, automaton } = inner;
  const messages = automaton.alphabet.map((message) => ({
    message,
    order: orderClass([automaton], message),
  }));
  const about = { reads_as: readsAs, states: automaton.stateCount, messages };
  const lines = [
    `reads as  ${readsAs}`,
    `${counted(automaton.stateCount, "state")}, ${counted(messages.length, "message")}`,
    ...table(messages.map(({ message, order }) => [message, ORDER_WORDS[order]])),
  ];
  if (outer === undefined) return { json: { ok: true, ...about }, text: lines.join("\n") };
  const other = read(outer);
  if (isRefusal(other)) return other;
  const within = compare(automaton, other.automaton);
  const around = compare(other.automaton, automaton);
  if (isRefusal(within)) return within;
  if (isRefusal(around)) return around;
  const equal = within.ok && around.ok;
  lines.push(`within    ${other.readsAs}`, verdict(within, around));
  return { json: { ok: within.ok, ...about, within, equal }, text: lines.join("\n"), failed: !within.ok };
}

type Comparison =
  | { readonly ok: true }
  | { readonly ok: false; readonly word: readonly string[]; readonly enabled: readonly string[] };

function compare(inner: Automaton, outer: Automaton): Comparison | Refusal {
  const found = findViolation([fresh(inner)], [fresh(outer)]);
  if (found === undefined) return { ok: true };
  if (isRefusal(found)) return found;
  return { ok: false, word: found.word.map(({ message }) => message), enabled: found.enabled };
}

function verdict(within: Comparison, around: Comparison): string {
  if (!within.ok) {
    const before = within.word.slice(0, -1).join(", ") || "nothing";
    const instead = within.enabled.join(", ") || "nothing";
    return `NO: after ${before} it admits ${within.word.at(-1)}, where the other admits ${instead}`;
  }
  if (around.ok) return "yes: both admit the same messages at every point";
  return `yes, and it is narrower: the other also admits ${around.word.join(", ")}`;
}

const ORDER_WORDS = {
  free: "admitted always, moves nothing",
  stays: "admitted now and then, moves nothing",
  steps: "moves the order on",
  never: "admitted nowhere",
} as const;

function checkFolder(directory: string): Outcome {
  const folders = readPolicies(directory);
  if (folders instanceof UsageProblem) return folders;
  if (folders.problems.length > 0) return folderFailed(folders.problems);
  const actors = folders.tenants.flatMap(({ policy }) =>
    Object.values(policy.actors).map((actor) => describe(policy, actor)),
  );
  return {
    json: { ok: true, problems: [], actors: actors.map(({ json }) => json) },
    text: actors.map(({ lines }) => lines.join("\n")).join("\n\n"),
  };
}

/** What one actor's messages ask for under its behaviour and the protocol that mint gives. */
function describe(policy: TenantPolicy, actor: ActorPolicy): { json: object; lines: readonly string[] } {
  const automata = [actor.behaviour, actor.protocol].map(mustCompile);
  const named = Object.entries(actor.become ?? {});
  const others = named.map(([, expression]) => mustCompile(expression));
  const stateless = actor.state === "none";
  const messages = Object.entries(actor.messages).map(([message, { reads }]) => {
    const { order, owner, writes } = messageClass(automata, message, { reads, stateless }, others);
    return { message, reads, order, owner, writes };
  });
  const rows = messages.map(({ message, order, owner, writes, reads }) => {
    if (order === "never") return [message, ORDER_WORDS.never];
    const state = stateless ? "no state" : reads ? "reads" : "may change the state";
    const served = owner ? "by the actor's owner" : "by any node";
    return [message, ORDER_WORDS[order], state, `${served}, ${writes ? "logged" : "nothing to log"}`];
  });
  const protocol = expressionOf(actor.protocol);
  const behaviour = expressionOf(actor.behaviour);
  const place = `${policy.tenant}/${actor.actor}`;
  const become = describeBecome(actor);
  const lines = [
    place,
    `  protocol   ${protocol}`,
    `  behaviour  ${behaviour}`,
    ...become.map(({ line }) => line),
    ...table(rows),
  ];
  return {
    json: {
      tenant: policy.tenant,
      actor: actor.actor,
      protocol,
      behaviour,
      become: become.map(({ json }) => json),
      stateless,
      messages,
    },
    lines,
  };
}

/** What the actor may become, and how it can first come there. */
function describeBecome({ behaviour, become = {} }: ActorPolicy): readonly { json: object; line: string }[] {
  const named = Object.entries(become).map(([name, given]) => ({ name, automaton: mustCompile(given) }));
  const entrances = findEntrances({ name: "behaviour", automaton: mustCompile(behaviour) }, named);
  if (isRefusal(entrances)) throw new Error(entrances.detail);
  return Object.entries(become).map(([name, given]) => {
    const { from = "behaviour", after = [] } = entrances.get(name) ?? {};
    const expression = expressionOf(given);
    const first = from === "behaviour" ? "" : `under ${from}, `;
    const line = `  become     ${name}: ${expression} (first possible ${first}after ${after.join(", ") || "nothing"})`;
    return { json: { name, expression, from, after }, line };
  });
}

/** The policy was accepted, so all of its expressions compile. */
function mustCompile(expression: string): Automaton {
  const automaton = compileProtocol(expression);
  if (isRefusal(automaton)) throw new Error(automaton.detail);
  return automaton;
}

function expressionOf(expression: string): string {
  const parsed = parseProtocol(expression);
  return isRefusal(parsed) ? expression : formatProtocol(parsed);
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd(),
  );
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
