/** What a thread of this process has taken of the CPU, as Linux tells it (proc(5)); elsewhere nobody knows. */
import { readFileSync, readlinkSync } from "node:fs";

/** Of a tick, in which the system counts: it says so in sysconf, and it is this on every machine that Node runs on. */
const TICK_MS = 10;

/** Names the thread that asks; `undefined` where the system does not tell. */
export function threadName(): string | undefined {
  try {
    return readlinkSync("/proc/thread-self").split("/").at(-1);
  } catch {
    return undefined;
  }
}

/** ms so far, with a grain of 10; `undefined` where the system does not tell. */
export function cpuOfThread_ms(name: string): number | undefined {
  try {
    const text = readFileSync(`/proc/self/task/${name}/stat`, "utf8");
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return undefined;
  }
}
