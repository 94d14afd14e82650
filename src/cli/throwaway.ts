/**
 * Modules of strangers are admitted, compiled and tried in a process that is thrown away after.
 *
 * A module can be made to take a compiler minutes or gigabytes. The child's own limits are not enough: V8's compilers
 * take memory outside of its heap, and they do not stop. So the parent looks at the child's memory and processor time
 * and kills it, with SIGKILL, past its bounds. RLIMIT_AS is no help: V8 reserves address space that it never uses.
 */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { setInterval } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Admission, ProblemCode } from "../dispatch/admission.ts";
import type { Turn, TurnResult } from "../dispatch/sandbox.ts";
import type { Code, RefusalFacts } from "../errors.ts";
import {
  ADMISSION_CPU_MS_MAX,
  ADMISSION_HEAP_BYTES_MAX,
  ADMISSION_LOOK_MS,
  ADMISSION_RSS_BYTES_MAX,
  ADMISSION_WALL_MS_MAX,
} from "../limits.ts";

export type Task =
  | { readonly kind: "admit"; readonly original: Uint8Array }
  | { readonly kind: "run"; readonly original: Uint8Array; readonly turn: Turn };

export type Ran =
  | { readonly kind: "ran"; readonly time_us: number; readonly result: TurnResult }
  | {
      readonly kind: "refused";
      readonly time_us: number;
      readonly code: Code;
      readonly detail: string;
      readonly facts: RefusalFacts;
    };

/** What the child says. */
export type Answer =
  | { readonly kind: "admission"; readonly admission: Admission }
  | { readonly kind: "stage"; readonly heaviest: string }
  | Ran;

/** What one child may take. */
export interface ChildBounds {
  readonly cpu_ms: number;
  readonly wall_ms: number;
  readonly rss_bytes: number;
}

export const CHILD_BOUNDS: ChildBounds = {
  cpu_ms: ADMISSION_CPU_MS_MAX,
  wall_ms: ADMISSION_WALL_MS_MAX,
  rss_bytes: ADMISSION_RSS_BYTES_MAX,
};

/** Admits a module as `admit` does, and shows that every function of it can be compiled within bounds. */
export async function admitInChild(original: Uint8Array, bounds = CHILD_BOUNDS): Promise<Admission> {
  const answer = await inChild({ kind: "admit", original }, bounds);
  return answer.kind === "admission" ? answer.admission : wrongAnswer(answer);
}

/** One turn of a module that is admitted first. */
export async function runInChild(
  original: Uint8Array,
  turn: Turn,
  bounds = CHILD_BOUNDS,
): Promise<Ran | Extract<Admission, { ok: false }>> {
  const answer = await inChild({ kind: "run", original, turn }, bounds);
  if (answer.kind === "ran" || answer.kind === "refused") return answer;
  return answer.kind === "admission" && !answer.admission.ok ? answer.admission : wrongAnswer(answer);
}

function wrongAnswer({ kind }: Answer): never {
  throw new Error(`the child answered ${kind} to another question`);
}

type Ending = Extract<ProblemCode, "compile_time" | "compile_memory" | "compile_crashed">;

async function inChild(task: Task, bounds: ChildBounds): Promise<Answer> {
  const child = start();
  let answer: Answer | undefined;
  let heaviest: string | undefined;
  const done = new AbortController();
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  child.on("message", (said: Answer) => {
    if (said.kind === "stage") heaviest = said.heaviest;
    else answer = said;
  });
  child.send(task);
  const watch = watchOver(child, bounds, done.signal);
  const end = await ended;
  done.abort();
  const killed = await watch;
  if (answer !== undefined) return answer;
  // V8 ends the process with SIGABRT or SIGTRAP where its heap or a compiler's zone is full.
  const crash: Killed = /^SIG(ABRT|TRAP|ILL)$/.test(end)
    ? { code: "compile_memory", what: `more than ${mebibytes(ADMISSION_HEAP_BYTES_MAX)} of heap` }
    : { code: "compile_crashed", what: `what ended the process (${end})` };
  return { kind: "admission", admission: refusedBy(killed ?? crash, heaviest) };
}

/** No environment: the master key stays here. No files but the program's own, and none to write. */
function start(): ChildProcess {
  // It stands beside this file, in the sources and in the build.
  const script = new URL(import.meta.url.replace(/throwaway(?=\.\w+$)/, "throwaway-child"));
  const program = fileURLToPath(new URL("../..", import.meta.url));
  const heap_mb = ADMISSION_HEAP_BYTES_MAX / (1024 * 1024);
  return fork(fileURLToPath(script), {
    execArgv: [`--max-old-space-size=${heap_mb}`, "--permission", `--allow-fs-read=${program}`],
    env: {},
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
}

interface Killed {
  readonly code: Ending;
  readonly what: string;
}

/** @returns why it killed the child; `undefined` where that ended by itself */
async function watchOver(
  child: ChildProcess,
  { cpu_ms, wall_ms, rss_bytes }: ChildBounds,
  signal: AbortSignal,
): Promise<Killed | undefined> {
  let looks = 0;
  try {
    for await (const _ of setInterval(ADMISSION_LOOK_MS, undefined, { signal })) {
      const used = usageOf(child.pid);
      looks++;
      let killed: Killed | undefined;
      if (used.rss_bytes > rss_bytes)
        killed = { code: "compile_memory", what: `more than ${mebibytes(rss_bytes)} of memory` };
      else if (used.cpu_ms > cpu_ms)
        killed = { code: "compile_time", what: `more than ${cpu_ms / 1000} s of processor time` };
      else if (looks * ADMISSION_LOOK_MS > wall_ms)
        killed = { code: "compile_time", what: `more than ${wall_ms / 1000} s` };
      if (killed === undefined) continue;
      child.kill("SIGKILL");
      return killed;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return undefined;
}

const CLOCK_TICK_MS = 10;
const PAGE_BYTES = 4096;

/** From proc(5); where there is none, only time and heap are bounded. */
function usageOf(pid: number | undefined): { readonly cpu_ms: number; readonly rss_bytes: number } {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold spaces; utime, stime and rss are fields 14, 15 and 24.
    const fields = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const [user = 0, system = 0, rss = 0] = [fields[11], fields[12], fields[21]];
    return { cpu_ms: (user + system) * CLOCK_TICK_MS, rss_bytes: rss * PAGE_BYTES };
  } catch {
    return { cpu_ms: 0, rss_bytes: 0 };
  }
}

function refusedBy({ code, what }: Killed, heaviest: string | undefined): Extract<Admission, { ok: false }> {
  const detail =
    heaviest === undefined
      ? `to read the module took ${what}: make it smaller`
      : `to compile the module took ${what}: split its largest function, ${heaviest}, or make the module smaller`;
  return { ok: false, problems: [{ code, detail }] };
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / (1024 * 1024))} MiB`;
}
