/** The command line as a user runs it: a process, its output and its exit code. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { collect, secretTokens } from "./leaks.ts";
import { BIN } from "./node-process.ts";

/** Commands that are there to print a token or a key. */
const PRINTS_SECRETS = new Set([
  "keygen",
  "mint",
  "attenuate",
  "delegate",
  "split",
  "restrict",
  "discharge",
  "vouch",
]);

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function postern(
  args: readonly string[],
  options: { stdin?: string; env?: Record<string, string>; cwd?: string } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.end(options.stdin ?? "");
  const [code] = (await once(child, "close")) as [number | null];
  const [command = ""] = args;
  collect(`\`postern ${command}\``, PRINTS_SECRETS.has(command) ? stderr : stdout + stderr);
  if (PRINTS_SECRETS.has(command)) secretTokens(stdout);
  return { code, stdout, stderr };
}

/** What `--json` printed. */
export async function json(
  args: readonly string[],
  options: { stdin?: string } = {},
): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await postern([...args, "--json"], options);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}
