/**
 * Child processes of the bench, and an end for each of them.
 *
 * Whatever happens (a failed row, Ctrl-C, a bug) no child and no temporary folder outlives the bench. A server's
 * output goes to a file, not through a pipe: nobody has to read it while the machine is being measured.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const START_MS_MAX = 15_000;
const STOP_MS_MAX = 5_000;

const running = new Set<ChildProcess>();
const folders = new Set<string>();

export interface ServerProcess {
  readonly url: string;
  /** Of the server itself: a node is not the process that was started, but its child. */
  readonly pid: number;
  readonly child: ChildProcess;
}

/** Removed by `stopAll`, or before by `removeFolder`. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
  folders.add(folder);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

/** A real gateway, by the command that a user types, on a store in that folder. */
export function startPostern(store: string, ...options: readonly string[]): Promise<ServerProcess> {
  return startPublished(store, "--policies", join(ROOT, "policies/demo"), ...options);
}

/** The same for what that store holds already. */
export function startPublished(store: string, ...options: readonly string[]): Promise<ServerProcess> {
  const where = ["--store", `file:${store}`, "--port", "0"];
  return startServer([join(ROOT, "src/bin.js"), "serve", ...where, ...options]);
}

/** The node of bench/slow-node.ts; it answers each message with how many puts its store has taken. */
export function startSlowNode(
  store: string,
  latency_ms: number,
  window: number,
  env: NodeJS.ProcessEnv,
): Promise<ServerProcess> {
  const args = [join(ROOT, "bench/slow-node.ts"), store, String(latency_ms), String(window)];
  return startServer(args, { ...process.env, ...env });
}

/** One of the servers of bench/servers.ts. */
export function startOther(name: "echo" | "naive", ...args: readonly string[]): Promise<ServerProcess> {
  return startServer([join(ROOT, "bench/servers.ts"), name, ...args]);
}

/** Runs `node …args`, which writes `{"event":"listening","url":…}` on a line of its own once it listens. */
async function startServer(args: readonly string[], env = process.env): Promise<ServerProcess> {
  const folder = temporaryFolder();
  const output = join(folder, "stdout");
  const complaints = join(folder, "stderr");
  const files = [openSync(output, "w"), openSync(complaints, "w")] as const;
  // A node and its supervisor are a group of their own, so that both can be signalled.
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", ...files, "ipc"], detached: true });
  for (const file of files) closeSync(file);
  running.add(child);
  const listening = await listeningLine(child, output);
  if (listening === undefined || child.pid === undefined)
    throw new Error(`${args.join(" ")} did not start: ${readFileSync(complaints, "utf8").trim()}`);
  return { pid: child.pid, ...listening, child };
}

type Listening = { readonly url: string; readonly pid?: number };

async function listeningLine(child: ChildProcess, output: string): Promise<Listening | undefined> {
  const deadline_ms = performance.now() + START_MS_MAX;
  while (child.exitCode === null && performance.now() < deadline_ms) {
    const line = readFileSync(output, "utf8")
      .split("\n")
      .find((text) => text.includes('"listening"') && text.endsWith("}"));
    if (line !== undefined) return JSON.parse(line) as Listening;
    await setTimeout(20);
  }
  return undefined;
}

/** A child, and what it has started. */
export function signalAll({ pid, exitCode, signalCode }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, signal);
}

/** A child with a channel, for bench/load.ts. */
export function forkChild(file: string): ChildProcess {
  const child = fork(join(ROOT, file), {
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    detached: true,
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    // One that was stopped hears nothing else.
    signalAll(child, "SIGCONT");
    child.kill("SIGINT");
    const timer = new AbortController();
    const late = setTimeout(STOP_MS_MAX, "late", { signal: timer.signal }).catch(() => "stopped");
    if ((await Promise.race([exited, late])) === "late") signalAll(child, "SIGKILL");
    timer.abort();
    await exited;
  }
  running.delete(child);
}

/** After each group of rows, whether it was measured or failed. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop));
  for (const folder of folders) removeFolder(folder);
}

/** To be called once, first: from here on every way out of this process stops its children. */
export function guardChildren(): void {
  process.once("exit", () => {
    for (const child of running) signalAll(child, "SIGKILL");
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
}

/** CPU time of a process so far, in ms with a grain of 10; `undefined` where the system does not tell (not Linux). */
export function cpuOf_ms(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15, in ticks of 1/100 s.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return undefined;
  }
}
