/** Which process has ended: certain on Linux, and elsewhere nobody is taken for dead. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { processIsGone, processName } from "../../src/server/process.ts";

const onLinux = existsSync("/proc/self/ns/pid") ? describe : describe.skip;

/** The name that another process gives itself. */
async function started(): Promise<{ name: string; end: () => Promise<void>; pid: number }> {
  const url = new URL("../../src/server/process.ts", import.meta.url).href;
  const script = `import { processName } from ${JSON.stringify(url)}; console.log(processName()); setInterval(() => {}, 1e6);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  onTestFinished(end);
  const [chunk] = (await once(child.stdout, "data")) as [Buffer];
  return { name: chunk.toString().trim(), end, pid: child.pid ?? 0 };
}

onLinux("a process", () => {
  it("is not gone as long as it runs, and is when it has ended", async () => {
    const other = await started();
    expect(other.name).not.toBe(processName());
    expect(processIsGone(other.name)).toBe(false);
    await other.end();
    expect(processIsGone(other.name)).toBe(true);
  });

  it("has one name as long as it runs", () => {
    expect(processName()).toBe(processName());
    expect(processName().split(" ")).toHaveLength(4);
    expect(processIsGone(processName())).toBe(false);
  });

  it("is gone where another one has its number: that one began later", () => {
    const [boot, namespace, pid, start] = processName().split(" ");
    expect(processIsGone(`${boot} ${namespace} ${pid} ${Number(start) - 1}`)).toBe(true);
  });

  it("whose parent has not noticed that it has ended is gone: a zombie writes nothing", async () => {
    // A shell that starts a process and does not wait for it; that one's name is its own start time.
    const script = "sleep 0.1 & echo $!; exec sleep 60";
    const shell = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
    onTestFinished(() => void shell.kill("SIGKILL"));
    const [chunk] = (await once(shell.stdout, "data")) as [Buffer];
    const pid = chunk.toString().trim();
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    const [boot, namespace] = processName().split(" ");
    const name = `${boot} ${namespace} ${pid} ${start}`;
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) await new Promise(setImmediate);
    expect(processIsGone(name)).toBe(true);
  });

  it("of another machine, another boot or another container is not gone, as far as is known here", () => {
    const [boot, namespace, , start] = processName().split(" ");
    expect(processIsGone(`${boot} pid:[1] 999999999 ${start}`)).toBe(false);
    expect(processIsGone(`another-boot ${namespace} 999999999 ${start}`)).toBe(false);
    expect(processIsGone(`${boot} ${namespace} 999999999 ${start}`)).toBe(true);
  });
});

it("a name that says nothing is nobody's death", () => {
  for (const name of ["", " ", "a b", "a b c"]) expect(processIsGone(name), JSON.stringify(name)).toBe(false);
});
