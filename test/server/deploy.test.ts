/**
 * The systemd unit and the Dockerfile, as far as this machine can tell: both are linted by their own tools where those are
 * there, and what they start is started, with what they copy and nothing else, and ended as they end it.
 */
import { execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { DRAIN_GRACE_MS, DRAIN_NOTICE_MS, NODE_END_MS_MAX, PLACE_PATIENCE_MS } from "../../src/limits.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const unit = read("src/server/postern.service");
const dockerfile = read("src/server/Dockerfile").replaceAll("\\\n", " ");
const folder = mkdtempSync(join(tmpdir(), "postern-deploy-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** `it`, or a skipped one with a line on why. */
function itWhere(isThere: boolean, missing: string) {
  if (!isThere) console.warn(`LEFT OUT: ${missing}`);
  return isThere ? it : it.skip;
}

function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

const setting = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1] ?? "";

interface Started {
  readonly url: string;
  /** @returns the exit code */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
}

async function start(command: readonly string[], options: SpawnOptions): Promise<Started> {
  const [program = "", ...args] = command;
  const env = { ...process.env, POSTERN_MASTER_KEY: "07".repeat(32) };
  const child = spawn(program, args, { ...options, env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit").then(([code]) => code as number | null);
  if (child.stdout === null) throw new Error("the output is not piped");
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, url } = JSON.parse(line) as { event?: string; url?: string };
    if (event !== "listening" || url === undefined) continue;
    child.stdout.resume();
    const end = (signal: NodeJS.Signals): Promise<number | null> => {
      child.kill(signal);
      return exited;
    };
    return { url, end };
  }
  throw new Error("it did not listen");
}

const isAlive = async (url: string): Promise<boolean> => (await fetch(`${url}/livez`)).ok;

describe("the systemd unit", () => {
  itWhere(
    works("systemd-analyze", "--version"),
    "systemd-analyze is not installed: the unit is not verified",
  )("is one that systemd takes", () => {
    const path = join(folder, "postern.service");
    // Where postern is installed is not here.
    writeFileSync(path, unit.replace("/usr/bin/env postern", process.execPath));
    const output = execFileSync("systemd-analyze", ["verify", "--man=no", path], { encoding: "utf8" });
    expect(output).toBe("");
  });

  it("starts a node, and ends it as systemd does", async () => {
    const [env, name, ...args] = setting("ExecStart").split(" ");
    expect([env, name]).toEqual(["/usr/bin/env", "postern"]);
    const here = args
      .filter((arg) => !arg.startsWith("$"))
      .map((arg) => arg.replace("/var/lib/postern", join(folder, "state")).replace("8787", "0"));
    const node = await start([process.execPath, join(ROOT, "src/bin.js"), ...here], {});
    expect(await isAlive(node.url.replace("0.0.0.0", "127.0.0.1"))).toBe(true);
    expect(await node.end(setting("KillSignal") as NodeJS.Signals)).toBe(0);
  });

  it("waits for longer than a node may take to drain", () => {
    const longest_ms = DRAIN_NOTICE_MS + PLACE_PATIENCE_MS + DRAIN_GRACE_MS + NODE_END_MS_MAX;
    expect(Number(setting("TimeoutStopSec")) * 1000).toBeGreaterThan(longest_ms);
    expect(setting("KillMode")).toBe("mixed");
  });

  it("bounds no address space, and forbids no code that is compiled", () => {
    expect(unit).not.toMatch(/^(?:LimitAS|MemoryDenyWriteExecute)=/m);
  });
});

describe("the Dockerfile", () => {
  const last = dockerfile.slice(dockerfile.lastIndexOf("FROM "));
  const listOf = (instruction: string): readonly string[] => {
    const [, list = "[]"] = new RegExp(`^${instruction} (\\[.*\\])$`, "m").exec(last) ?? [];
    return JSON.parse(list) as string[];
  };

  itWhere(works("docker", "info"), "no container engine runs here: the image is not built")(
    "builds",
    () => {
      execFileSync("docker", ["build", "--check", "-f", "src/server/Dockerfile", "."], { cwd: ROOT });
      expect(works("docker", "build", "-q", "-f", "src/server/Dockerfile", ".")).toBe(true);
    },
    600_000,
  );

  it("is of the Node that the project is tested with, and runs as nobody special", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: { node: string } };
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(bases).toEqual(Array(2).fill(`node:${devDependencies.node.split(".")[0]}-bookworm-slim`));
    expect(last).toMatch(/^USER node$/m);
  });

  it("starts a node with what it copies and nothing else, tells that it is healthy, and ends it", async () => {
    const image = join(folder, "image");
    installProduction(join(image, "node_modules"));
    for (const [, from = ""] of last.matchAll(/^COPY ((?!--from)\S+) /gm))
      cpSync(join(ROOT, from), join(image, from), { recursive: true });
    const onThisMachine = (arg: string): string =>
      arg.replace("file:/data", `file:${join(folder, "data")}`).replace("8787", "0");
    const command = [...listOf("ENTRYPOINT"), ...listOf("CMD")];
    const node = await start([process.execPath, ...command.slice(1).map(onThisMachine)], { cwd: image });
    const url = node.url.replace("0.0.0.0", "127.0.0.1");
    const [, check = ""] = /CMD \["node", "-e", "(.*)"\]/.exec(last) ?? [];
    const healthy = (where: string): boolean =>
      works(process.execPath, "-e", check.replace("http://127.0.0.1:8787", where));
    expect(healthy(url)).toBe(true);
    const [, signal = ""] = /^STOPSIGNAL (\w+)$/m.exec(last) ?? [];
    expect(await node.end(signal as NodeJS.Signals)).toBe(0);
    expect(healthy(url)).toBe(false);
  });
});

/** What `npm ci --omit=dev` would install, linked from what is installed here. */
function installProduction(target: string): void {
  const { packages } = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean; peer?: boolean }>;
  };
  for (const [path, { dev, devOptional, optional, peer }] of Object.entries(packages)) {
    if (path.lastIndexOf("node_modules/") !== 0 || dev || devOptional || optional || peer) continue;
    const name = path.slice("node_modules/".length);
    mkdirSync(dirname(join(target, name)), { recursive: true });
    symlinkSync(join(ROOT, path), join(target, name));
  }
}
