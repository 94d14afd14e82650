/** A real gateway in a process of its own, for the demo: started by the same command that a user types. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface DemoGateway {
  readonly url: string;
  /** Holds the store, and whatever the demo writes; removed with the gateway. */
  readonly directory: string;
  readonly store: string;
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Throws with the gateway's own words where it does not start. */
export async function startDemoGateway(): Promise<DemoGateway> {
  const directory = mkdtempSync(join(tmpdir(), "postern-demo-"));
  const store = `file:${join(directory, "store")}`;
  const args = [
    join(ROOT, "src/bin.js"),
    "serve",
    "--policies",
    join(ROOT, "policies/demo"),
    "--store",
    store,
  ];
  const child = spawn(process.execPath, [...args, "--port", "0"], { stdio: ["ignore", "pipe", "pipe"] });
  const url = await listeningUrl(child);
  return {
    url,
    directory,
    store,
    stop: async () => {
      const exited = once(child, "exit");
      child.kill("SIGINT");
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function listeningUrl(child: ChildProcess): Promise<string> {
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  if (child.stdout === null) throw new Error("the gateway has no output");
  // Reading goes on, so that the gateway is never blocked by a full pipe.
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { event?: string; url?: string };
    if (event.event !== "listening" || event.url === undefined) continue;
    child.stdout.resume();
    return event.url;
  }
  throw new Error(`the gateway did not start: ${complaint.trim()}`);
}
