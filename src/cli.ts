/**
 * `postern`: parses the command line, runs one command, prints its outcome, and says by its exit code how it went:
 * 0 done, 1 refused or a failed check, 2 wrong usage, 3 unavailable.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
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
import { isRefusal } from "./errors.ts";

/** Loaded when they are called: most commands need a small part of what a node does. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  init: async () => (await import("./cli/init.ts")).init,
  handler: async () => (await import("./cli/handler.ts")).handler,
  serve: async () => (await import("./cli/serve.ts")).serve,
  apply: async () => (await import("./cli/apply.ts")).apply,
  keygen: async () => (await import("./cli/keygen.ts")).keygen,
  mint: async () => (await import("./cli/mint.ts")).mint,
  attenuate: async () => (await import("./cli/attenuate.ts")).attenuate,
  delegate: async () => (await import("./cli/delegate.ts")).delegate,
  discharge: async () => (await import("./cli/discharge.ts")).discharge,
  vouch: async () => (await import("./cli/vouch.ts")).vouch,
  split: async () => (await import("./cli/split.ts")).split,
  restrict: async () => (await import("./cli/split.ts")).restrict,
  inspect: async () => (await import("./cli/inspect.ts")).inspect,
  explain: async () => (await import("./cli/explain.ts")).explain,
  protocol: async () => (await import("./cli/protocol.ts")).protocol,
  call: async () => (await import("./cli/call.ts")).call,
  cluster: async () => (await import("./cli/cluster.ts")).cluster,
  revoke: async () => (await import("./cli/revoke.ts")).revoke,
  edge: async () => (await import("./cli/edge.ts")).edge,
  rotate: async () => (await import("./cli/rotate.ts")).rotate,
  store: async () => (await import("./cli/store.ts")).store,
  quarantine: async () => (await import("./cli/quarantine.ts")).quarantine,
  replay: async () => (await import("./cli/replay.ts")).replay,
  types: async () => (await import("./cli/types.ts")).types,
  demo: async () => (await import("./cli/demo.ts")).demo,
};

/** What a line may take where the output is no terminal. */
const DEFAULT_COLUMNS = 100;

/** @returns the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const environment = processEnvironment();
  const [name = "help", ...rest] = args;
  if (name === "--version" || name === "version") return show(environment, `postern ${version()}`);
  if (name === "help" || name === "--help" || name === "-h") return show(environment, await overview());
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined)
    return misused(environment, `there is no command ${JSON.stringify(name)}`, await overview());
  return runCommand(await load(), environment, rest);
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
  const exitCode = report(command, environment, outcome, parsed.values["json"] === true);
  command.ended?.(environment, exitCode);
  return exitCode;
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
  if (outcome.exitCode !== undefined) return outcome.exitCode;
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

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    "postern: a gate that enforces what a capability allows, and in which order",
    "",
    ...commands.map(({ name, summary }) => `  postern ${name.padEnd(width)}  ${summary}`),
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
