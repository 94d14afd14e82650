/** `postern types`: a tenant's policy as TypeScript: messages, tables of states, and a typed client for each actor. */
import { writeFileSync } from "node:fs";
import type { ActorPolicy, MessagePolicy, TenantPolicy } from "../config.ts";
import { isRefusal } from "../errors.ts";
import { compileProtocol } from "../protocol/automaton.ts";
import { compileSchema } from "../protocol/schema.ts";
import { type Command, text, UsageProblem } from "./command.ts";
import { messageOf } from "./inputs.ts";
import { folderFailed, readPolicies } from "./policy-folder.ts";
import { printSchema } from "./schema-types.ts";

const SDK = "postern/protocol";

export const types: Command = {
  name: "types",
  summary: "write a tenant's messages and protocols as TypeScript",
  usage: "[DIRECTORY] [--out FILE] [--import MODULE]",
  positionals: 1,
  options: { out: { type: "string" }, import: { type: "string" } },
  help: {
    out: "where to write (default: standard output)",
    import: `the module of the SDK that the file imports (default ${SDK})`,
  },
  async run(_environment, values, [directory = "policies"]) {
    const policies = readPolicies(directory);
    if (policies instanceof UsageProblem) return policies;
    if (policies.problems.length > 0) return folderFailed(policies.problems);
    const [tenant, ...others] = policies.tenants;
    if (tenant === undefined || others.length > 0)
      return new UsageProblem(`${directory} holds several tenants; give the folder of one`);
    const source = printPolicy(tenant.policy, text(values, "import") ?? SDK);
    const out = text(values, "out");
    if (out === undefined) return { json: { source }, text: source.trimEnd() };
    try {
      writeFileSync(out, source);
    } catch (error) {
      return new UsageProblem(`${out} cannot be written: ${messageOf(error)}`);
    }
    return { json: { file: out }, text: `${out}: written` };
  },
};

export function printPolicy({ tenant, actors }: TenantPolicy, sdk: string): string {
  const bodies = Object.values(actors).map(printActor);
  const json = bodies.some((body) => /\bJson\b/.test(body)) ? "type Json, " : "";
  return [
    `// Written by \`postern types\` from the policy of tenant ${tenant}. A change here is lost.`,
    `import { ${json}table } from ${JSON.stringify(sdk)};`,
    ...bodies,
  ].join("\n\n");
}

function printActor({ actor, messages, protocol }: ActorPolicy): string {
  const name = capital(actor);
  const aliases: string[] = [];
  const lines = Object.entries(messages).map(([message, policy]) => {
    const args = printSchema(policy.args, `${name}$${message}$args`);
    const result = printSchema(policy.result, `${name}$${message}$result`);
    aliases.push(...args.aliases, ...result.aliases);
    return `  readonly ${message}: { readonly args: ${orVoid(args.type, policy)}; readonly result: ${result.type} };`;
  });
  return [
    ...aliases,
    `export type ${name}Messages = {\n${lines.join("\n")}\n};`,
    `/** ${protocol} */\nexport type ${name}States = {\n${printStates(protocol).join("\n")}\n};`,
    `export const ${actor}Protocol = table<${name}Messages, ${name}States>(${JSON.stringify(protocol)});`,
    "",
  ].join("\n\n");
}

/** Where no arguments are good arguments, they may be left out. */
function orVoid(type: string, { args }: MessagePolicy): string {
  if (type === "Record<string, never>") return "void";
  const check = compileSchema(args);
  return typeof check === "function" && check({}) === undefined ? `${type} | void` : type;
}

function printStates(protocol: string): readonly string[] {
  const automaton = compileProtocol(protocol);
  if (isRefusal(automaton))
    throw new Error(`a protocol that was accepted does not compile: ${automaton.detail}`);
  return Array.from({ length: automaton.stateCount }, (_, state) => {
    const next = automaton
      .enabled(state)
      .map((message) => `readonly ${message}: ${automaton.next(state, message)}`);
    return `  readonly ${state}: { ${next.join("; ")} };`;
  });
}

/** Names stay as they are but for the first letter, so that different ones stay different. */
function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
