/**
 * `postern`: parses the command line, runs one command, prints its outcome, and says by its exit code how it went:
 * 0 done, 1 refused or a failed check, 2 wrong usage, 3 unavailable.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { apply } from "./cli/apply.ts";
import { attenuate } from "./cli/attenuate.ts";
import { call } from "./cli/call.ts";
import { cluster } from "./cli/cluster.ts";
import {
  type Command,
  caretUnder,
  type Environment,
  EXIT,
  exitCodeOf,
  type Outcome,
  printableLines,
  UsageProblem,
} from "./cli/command.ts";
import { delegate } from "./cli/delegate.ts";
import { demo } from "./cli/demo.ts";
import { discharge } from "./cli/discharge.ts";
import { explain } from "./cli/explain.ts";
import { inspect } from "./cli/inspect.ts";
import { keygen } from "./cli/keygen.ts";
import { mint } from "./cli/mint.ts";
import { protocol } from "./cli/protocol.ts";
import { revoke } from "./cli/revoke.ts";
import { rotate } from "./cli/rotate.ts";
import { serve } from "./cli/serve.ts";
import { restrict, split } from "./cli/split.ts";
import { store } from "./cli/store.ts";
import { types } from "./cli/types.ts";
import { vouch } from "./cli/vouch.ts";
import { isRefusal } from "./errors.ts";

const COMMANDS: readonly Command[] = [
  serve,
  apply,
  keygen,
  mint,
  attenuate,
  delegate,
  split,
  restrict,
  discharge,
  vouch,
  inspect,
  explain,
  protocol,
  call,
  cluster,
  revoke,
  rotate,
  store,
  types,
  demo,
];

/** What a line may take where the output is no terminal. */
const DEFAULT_COLUMNS = 100;

/** @returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const environment = processEnvironment();
  const [name = "help", ...rest] = args;
  if (name === "--version" || name === "version") return show(environment, `postern ${version()}`);
  if (name === "help" || name === "--help" || name === "-h") return show(environment, overview());
  const command = COMMANDS.find((known) => known.name === name);
  if (command === undefined)
    return misused(environment, `there is no command ${JSON.stringify(name)}`, overview());
  return runCommand(command, environment, rest);
}

async function runCommand(
  command: Command,
  environment: Environment,
  args: readonly string[],
): Promise<number> {
  const common = { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;
  let parsed: ReturnType<typeof parseArgs>;
  try {
    const options = { ...command.options, ...common };
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    return misused(environment, error instanceof Error ? error.message : String(error), usageOf(command));
  }
  if (parsed.values["help"] === true) return show(environment, usageOf(command));
  // Not repeated: what was put in the wrong place may be a secret.
  if (parsed.positionals.length > (command.positionals ?? 0))
    return misused(environment, "there are more arguments than the command takes", usageOf(command));
  const outcome = await command.run(environment, parsed.values, parsed.positionals);
  return report(command, environment, outcome, parsed.values["json"] === true);
}

function report(command: Command, environment: Environment, outcome: Outcome, asJson: boolean): number {
  if (outcome instanceof UsageProblem) return misused(environment, outcome.detail, usageOf(command));
  if (isRefusal(outcome)) {
    const { code, detail, facts } = outcome;
    if (asJson) environment.write(`${JSON.stringify({ error: { code, detail, ...facts } })}\n`);
    else environment.note(printableLines(`${code}${caretUnder(outcome)}`));
    return exitCodeOf(outcome);
  }
  if (!outcome.printed) environment.write(`${asJson ? JSON.stringify(outcome.json) : outcome.text}\n`);
  if (outcome.unavailable) return EXIT.unavailable;
  return outcome.failed ? EXIT.refused : EXIT.done;
}

function show(environment: Environment, text: string): number {
  environment.write(`${text}\n`);
  return EXIT.done;
}

function misused(environment: Environment, detail: string, help: string): number {
  environment.note(`postern: ${detail}\n\n${help}`);
  return EXIT.usage;
}

function version(): string {
  const packageJson = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(packageJson) as { version: string }).version;
}

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "postern: a gate that enforces what a capability allows, and in which order",
    "",
    ...COMMANDS.map(({ name, summary }) => `  postern ${name.padEnd(width)}  ${summary}`),
    "",
    "`postern COMMAND --help` tells more. Every command takes --json.",
  ].join("\n");
}

function usageOf({ name, usage, summary, help }: Command): string {
  const lines = Object.entries({ ...help, json: "print the result as JSON" });
  const width = Math.max(...lines.map(([option]) => option.length));
  return [
    `postern ${name} ${usage}`,
    `  ${summary}`,
    "",
    ...lines.map(([option, line]) => `  --${option.padEnd(width)}  ${line}`),
  ].join("\n");
}

function processEnvironment(): Environment {
  // Whoever read our output may go away (EPIPE); a node goes on without.
  process.stdout.on("error", () => {});
  return {
    env: process.env,
    stdin: async () => {
      let text = "";
      for await (const chunk of process.stdin.setEncoding("utf8")) text += String(chunk);
      return text;
    },
    write: (text) => void process.stdout.write(text),
    note: (text) => void process.stderr.write(`${text}\n`),
    status: (text) => void (process.stderr.isTTY && process.stderr.write(`\r\u001b[2K${text}`)),
    get columns() {
      return process.stdout.columns ?? DEFAULT_COLUMNS;
    },
    get rows() {
      return process.stdout.isTTY ? process.stdout.rows : undefined;
    },
    colour: process.stdout.isTTY && process.env["NO_COLOR"] === undefined,
    now_ms: () => Date.now(),
    pause: (ms) => setTimeout(ms, false),
    random: (length) => new Uint8Array(randomBytes(length)),
    interrupted: () =>
      new Promise((resolve) => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve(signal));
      }),
  };
}
