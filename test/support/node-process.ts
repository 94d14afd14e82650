/** A node as users run it: `postern serve` in a process of its own, that can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/bytes.ts";
import { MASTER } from "./gate.ts";
import { collect } from "./leaks.ts";

export const BIN = fileURLToPath(new URL("../../src/bin.js", import.meta.url));

export interface NodeProcess {
  readonly url: string;
  /** The supervisor, which leads a process group. */
  readonly child: ChildProcess;
  /** The node itself, as it was started first. */
  readonly pid: number;
  /** Resolves with the exit code once the process is gone; `null` where a signal ended it. */
  readonly exited: Promise<number | null>;
  /** What it has written to standard error. */
  complaint(): string;
  /** Ends it and its supervisor at once, as a crash of the machine would, and waits until they are gone. */
  kill(): Promise<void>;
  /** Sends both a signal. */
  signal(signal: NodeJS.Signals): void;
  /** Sends the signal and resolves with the exit code. */
  end(signal: "SIGTERM" | "SIGINT"): Promise<number | null>;
}

/** It ended before it listened. */
export class NotStarted extends Error {
  readonly code: number | null;

  constructor(code: number | null, complaint: string) {
    super(`the node did not start: ${complaint}`);
    this.code = code;
  }
}

/** Nodes still up when the tests' own process ends, as after a failed assertion, end with it. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) signalGroup(child, "SIGKILL");
});

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid !== undefined) process.kill(-pid, signal);
}

/**
 * @param store a directory, or the URL of a store elsewhere
 * @param onLine told each line of its standard output
 * @param script what takes the command in place of `postern`
 */
export async function startNodeProcess(
  store: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
  onLine: (line: string) => void = () => {},
  script = BIN,
): Promise<NodeProcess> {
  const command = [
    script,
    "serve",
    "--policies",
    "policies/demo",
    "--store",
    store.startsWith("s3:") ? store : `file:${store}`,
    "--port",
    "0",
  ];
  const child = spawn(process.execPath, [...command, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    env: { ...process.env, POSTERN_MASTER_KEY: toHex(MASTER.expose()), ...env },
  });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  running.add(child);
  const exited = once(child, "exit").then(([code]) => {
    running.delete(child);
    collect("`postern serve`", complaint);
    return code as number | null;
  });
  const started = await listening(child, onLine);
  if (started === undefined) throw new NotStarted(await exited, complaint);
  return {
    ...started,
    child,
    exited,
    complaint: () => complaint,
    kill: async () => {
      if (running.has(child)) signalGroup(child, "SIGKILL");
      await exited;
    },
    signal: (signal) => signalGroup(child, signal),
    end: (signal) => {
      child.kill(signal);
      return exited;
    },
  };
}

type Listening = Pick<NodeProcess, "url" | "pid">;

/** @returns `undefined` where it ended before */
function listening(child: ChildProcess, onLine: (line: string) => void): Promise<Listening | undefined> {
  const { promise, resolve } = Promise.withResolvers<Listening | undefined>();
  if (child.stdout === null) throw new Error("the output is not piped");
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    collect("`postern serve`", line);
    onLine(line);
    if (!line.includes('"event":"listening"')) return;
    const { url, pid } = JSON.parse(line) as Listening;
    resolve({ url, pid });
  });
  lines.once("close", () => resolve(undefined));
  return promise;
}
