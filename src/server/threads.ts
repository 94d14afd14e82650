/**
 * Threads of this process as Linux knows them (proc(5)): what one has taken of the CPU, and how much it lets others go
 * first. Elsewhere nobody knows.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { setPriority } from "node:os";
import { TURN_THREAD_NICENESS } from "../limits.ts";

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

/** On Linux a priority is a thread's. Where it cannot be set, all threads are alike. */
export function beNice(name: string): void {
  try {
    setPriority(Number(name), TURN_THREAD_NICENESS);
  } catch {
    return;
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
