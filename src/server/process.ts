/**
 * This process by a name that no other process has, and whether a process so named has ended.
 *
 * A node that died leaves a lease that others on the same machine need not wait out: after `kill -9` a restart serves at
 * once. The name holds the machine's boot, the PID namespace, the PID and its start time (Linux, proc(5)), so that a
 * container next door or a later process of that number is not taken for it. Elsewhere nobody is known to have ended.
 */
import { readFileSync, readlinkSync } from "node:fs";

interface Name {
  readonly machine: string;
  readonly pid: string;
  readonly started: string;
}

export function processName(): string {
  const machine = machineName();
  const started = startOf(String(process.pid));
  return machine === undefined || started === undefined ? "" : `${machine} ${process.pid} ${started}`;
}

/** @returns `true` only where it is certain. */
export function processIsGone(name: string): boolean {
  const parsed = parse(name);
  if (parsed === undefined || parsed.machine !== machineName()) return false;
  return startOf(parsed.pid) !== parsed.started;
}

function parse(name: string): Name | undefined {
  const [boot, namespace, pid, started] = name.split(" ");
  if (boot === undefined || namespace === undefined || pid === undefined || started === undefined)
    return undefined;
  return { machine: `${boot} ${namespace}`, pid, started };
}

function machineName(): string | undefined {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
}

/** In clock ticks since the boot; `undefined` where there is no such process. A zombie has ended. */
function startOf(pid: string): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold spaces; state and starttime are fields 3 and 22.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
