/**
 * A Ceph RGW of the test file's own (`rgw.sh`), on free ports, that ends with this process however it ends.
 *
 * Where it is not installed, its tests are left out and the run says so: a green run must not look like more than it is.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AwsV4Signer } from "aws4fetch";
import { fetch } from "undici";
import { describe } from "vitest";
import { toHex } from "../../src/bytes.ts";
import type { Store } from "../../src/store/contract.ts";
import { s3Store } from "../../src/store/s3.ts";
import { random } from "./gate.ts";
import { s3Options } from "./s3-options.ts";

const SCRIPT = fileURLToPath(new URL("rgw.sh", import.meta.url));
const BUCKET = "postern-test";

export interface Rgw {
  /** What a process needs to reach it. */
  readonly env: Readonly<Record<string, string>>;
  /** A store's URL below a prefix that nobody has used. */
  freshUrl(): string;
  open(url: string): Store;
  stop(): Promise<void>;
}

/** `describe`, or a skipped one with a line on why. */
export function describeOnRgw(name: string, tests: () => void): void {
  const installed = isRgwInstalled();
  if (!installed) console.warn(`LEFT OUT: ${name}: ${RGW_MISSING}`);
  const suite = installed ? describe : describe.skip;
  suite(name, tests);
}

export const RGW_MISSING =
  "Ceph's RGW is not installed. `apt-get install --no-install-recommends radosgw ceph-mon ceph-osd` (Debian, Ubuntu) " +
  "installs it; it is started where it is needed.";

export function isRgwInstalled(): boolean {
  try {
    for (const tool of ["radosgw", "ceph-mon", "ceph-osd"])
      execFileSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export async function startRgw(): Promise<Rgw> {
  const [port, monPort] = await freePorts();
  const directory = mkdtempSync(join(tmpdir(), "postern-rgw-"));
  const child = spawn("bash", [SCRIPT, "hold", directory], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, RGW_PORT: String(port), RGW_MON_PORT: String(monPort) },
  });
  const exited = once(child, "exit");
  const env = await printed(child);
  await createBucket(env);
  return {
    env,
    freshUrl: () => `s3://${BUCKET}/${toHex(random(8))}`,
    open: (url) => s3Store(s3Options(url, env)),
    stop: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

/** The assignments that the script prints before `ready`. */
async function printed(child: ChildProcess): Promise<Record<string, string>> {
  let output = "";
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  for await (const chunk of child.stdout ?? []) {
    output += String(chunk);
    if (/^ready$/m.test(output))
      return Object.fromEntries(
        Array.from(output.matchAll(/^(\w+)=(.*)$/gm), ([, name, value]) => [name, value]),
      );
  }
  throw new Error(`RGW did not start: ${complaint}`);
}

async function createBucket(env: Readonly<Record<string, string>>): Promise<void> {
  const url = `${env["AWS_ENDPOINT_URL_S3"]}/${BUCKET}`;
  const { headers } = await new AwsV4Signer({
    method: "PUT",
    url,
    service: "s3",
    region: "us-east-1",
    accessKeyId: env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: env["AWS_SECRET_ACCESS_KEY"] ?? "",
  }).sign();
  const { status } = await fetch(url, { method: "PUT", headers: Object.fromEntries(headers) });
  if (status !== 200) throw new Error(`the bucket was not created: ${status}`);
}

/** Held at once, so that they differ; another process could take one before RGW does, and then RGW says so. */
export async function freePorts(): Promise<number[]> {
  const servers = [createServer(), createServer()];
  const ports = [];
  for (const server of servers) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ports.push((server.address() as { port: number }).port);
  }
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}
