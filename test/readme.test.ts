/** Every command of the README, run as it is written; what it prints must be what the README shows. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(ROOT, "README.md"), "utf8");

/** `$ command` with the lines that follow it, from all console blocks. */
const steps = [...readme.matchAll(/```console\n([\s\S]*?)```/g)]
  .flatMap(([, block = ""]) => block.split(/^\$ /m).slice(1))
  .map((step) => {
    const [command = "", ...output] = step.trimEnd().split("\n");
    return { command, output: output.join("\n") };
  });

// A checkout of its own, so that the tour's store is empty and nothing of the user's is touched.
const checkout = mkdtempSync(join(tmpdir(), "postern-tour-"));
let gateway: ChildProcess;

beforeAll(async () => {
  for (const name of ["package.json", "src", "policies", "wasm", "node_modules"])
    symlinkSync(join(ROOT, name), join(checkout, name));
  gateway = spawn("npm", ["start"], { cwd: checkout, stdio: ["ignore", "pipe", "inherit"], detached: true });
  await new Promise<void>((resolve) => {
    gateway.stdout?.on("data", (chunk: Buffer) => chunk.includes("listening") && resolve());
  });
});

afterAll(async () => {
  const exited = once(gateway, "exit");
  process.kill(-(gateway.pid as number), "SIGINT");
  await exited;
  rmSync(checkout, { recursive: true, force: true });
});

async function run(command: string): Promise<string> {
  // npm's own warnings about this machine's npm are no part of the tour.
  const env = { ...process.env, npm_config_loglevel: "error" };
  const shell = spawn("bash", ["-c", command], { cwd: checkout, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [shell.stdout, shell.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await once(shell, "close");
  return output.trimEnd();
}

/** `…` stands for anything on its line. */
function pattern(shown: string): RegExp {
  const literal = shown.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${literal.join(".*")}$`);
}

it("the README has a tour", () => {
  expect(steps.length).toBeGreaterThan(10);
});

it.each(steps)("$command", async ({ command, output }) => {
  expect(await run(command)).toMatch(pattern(output));
});

it("every npm script that the README names exists", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const named = [...readme.matchAll(/npm run ([\w:]+)/g)].map(([, name = ""]) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});
