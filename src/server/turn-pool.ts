/**
 * Turns on threads of their own: a slow one never delays the gate, and a hostile one no other tenant.
 *
 * Each thread has one turn at a time; what waits, waits here, where it can be refused, and in a fair order
 * (`turn-queue.ts`). A thread that dies fails its turn and is replaced. Nothing here stops a turn that fuel does not stop:
 * the supervisor is told what is under way, and ends the process.
 */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { fromUtf8 } from "../bytes.ts";
import { inputDocument, type Turn, type TurnResult } from "../dispatch/sandbox.ts";
import type { Allowance, Handler, Turns } from "../dispatch/turns.ts";
import { isRefusal, late, Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { TURN_THREAD_HEAP_MB, TURN_THREAD_RETRY_MS, TURN_THREADS_MAX } from "../limits.ts";
import type { TurnReport } from "./supervision.ts";
import { cpuOfThread_ms } from "./threads.ts";
import { TurnQueue, type Waiting } from "./turn-queue.ts";
import type { Answer, Ended, Job, Manner, Ready, Result } from "./turn-thread.ts";

export interface TurnPoolOptions {
  readonly threads: number;
  /** Monotonic. */
  readonly now_ms: () => number;
  /** Of each thread; only tests need another one. */
  readonly heap_mb?: number;
}

interface Work extends Waiting {
  readonly hash: string;
  readonly deadline_ms: number;
  /** @param knows whether the thread has met the module */
  readonly job: (knows: boolean) => Job;
  readonly settle: (result: Result | Refusal) => void;
}

interface UnderWay {
  readonly work: Work;
  readonly since_ms: number;
  beats: number;
  /** Of its thread, at the first beat. */
  cpu_ms: number | undefined;
}

interface Thread {
  readonly worker: Worker;
  /** It is kept for tenants whose turns are brief. */
  readonly isKept: boolean;
  /** Hashes of modules. */
  readonly met: Set<string>;
  /** As the system names it; `undefined` until it is ready, and where the system does not. */
  name: string | undefined;
  isReady: boolean;
  at: UnderWay | undefined;
}

/**
 * One core is the gate's. Two threads at least, however few the cores: one is kept for brief turns, and with it alone whoever
 * comes after a long one waits for its end.
 */
export function usualThreads(): number {
  return Math.min(Math.max(2, availableParallelism() - 1), TURN_THREADS_MAX);
}

export class TurnPool implements Turns {
  readonly #options: TurnPoolOptions;
  readonly #queue = new TurnQueue<Work>();
  readonly #threads = new Set<Thread>();
  #closed = false;

  constructor(options: TurnPoolOptions) {
    this.#options = options;
    for (let i = 0; i < options.threads; i++) this.#start(i === 0 && options.threads > 1);
  }

  /** What the threads are at, in no order that matters; to be asked for at each heartbeat. */
  beat(): readonly TurnReport[] {
    return [...this.#threads].flatMap(({ at, name }) => {
      if (at === undefined) return [];
      const cpu_ms = name === undefined ? undefined : cpuOfThread_ms(name);
      if (at.beats++ === 0) at.cpu_ms = cpu_ms;
      const had_ms = cpu_ms === undefined || at.cpu_ms === undefined ? undefined : cpu_ms - at.cpu_ms;
      return [{ hash: at.work.hash, tenant: at.work.tenant, beats: at.beats, cpu_ms: had_ms }];
    });
  }

  async compile(hash: string, bytes: Uint8Array<ArrayBuffer>, tenant: string): Promise<Handler | Refusal> {
    const deadline_ms = Number.POSITIVE_INFINITY;
    const job = () => ({ compile: bytes });
    const result = await this.#ask({ hash, tenant, deadline_ms, bytes: bytes.length, job });
    if (isRefusal(result)) return result;
    if ("module" in result) return { hash, module: result.module };
    const why = "broken" in result ? result.broken : "unknown error";
    return refuse("store_unavailable", `the handler does not compile: ${why}`);
  }

  async run(
    { hash, module }: Handler,
    tenant: string,
    turn: Turn,
    { fuel, deadline_ms }: Allowance,
  ): Promise<TurnResult | Refusal> {
    const input = inputDocument(turn);
    const job = (knows: boolean): Job => ({ hash, module: knows ? undefined : module, input, fuel });
    const result = await this.#ask({ hash, tenant, deadline_ms, bytes: input.length, job });
    if (isRefusal(result)) return result;
    if ("ended" in result) return read(result.ended);
    if ("refused" in result) {
      const { code, detail, facts } = result.refused;
      return new Refusal(code, detail, facts);
    }
    throw new Error("broken" in result ? result.broken : "a turn was answered with a module");
  }

  /** Nothing may be under way that anybody waits for. What no thread can be stopped at goes on until the process ends. */
  async close(): Promise<void> {
    this.#closed = true;
    const idle = [...this.#threads].filter(({ at }) => at === undefined);
    await Promise.all(idle.map(({ worker }) => worker.terminate()));
  }

  #ask(work: Omit<Work, "settle">): Promise<Result | Refusal> {
    return new Promise((settle) => {
      const full = this.#queue.push({ ...work, settle });
      if (full === undefined) this.#feed();
      else settle(full);
    });
  }

  #feed(): void {
    for (const thread of this.#threads) {
      const work = thread.at === undefined ? this.#nextInTime(thread.isKept) : undefined;
      if (work !== undefined) this.#send(thread, work);
    }
  }

  #nextInTime(isKept: boolean): Work | undefined {
    for (;;) {
      const now_ms = this.#options.now_ms();
      const work = this.#queue.next(now_ms, isKept);
      if (work === undefined || now_ms < work.deadline_ms) return work;
      this.#queue.done(work, 0, now_ms);
      work.settle(late());
    }
  }

  #send(thread: Thread, work: Work): void {
    const job = work.job(thread.met.has(work.hash));
    thread.at = { work, since_ms: this.#options.now_ms(), beats: 0, cpu_ms: undefined };
    // Only what somebody waits for keeps the process alive.
    thread.worker.ref();
    thread.worker.postMessage(job, "input" in job ? [job.input.buffer] : []);
    if ("input" in job) thread.met.add(work.hash);
  }

  #finish(thread: Thread, result: Result | Refusal, took_us: number): void {
    const { at } = thread;
    if (at === undefined) return;
    thread.at = undefined;
    thread.worker.unref();
    this.#queue.done(at.work, took_us, this.#options.now_ms());
    at.work.settle(result);
  }

  #start(isKept: boolean): void {
    // It stands beside this file, in the sources and in the build.
    const script = new URL(import.meta.url.replace(/turn-pool(?=\.\w+$)/, "turn-thread"));
    const { heap_mb = TURN_THREAD_HEAP_MB } = this.#options;
    const worker = new Worker(script, {
      env: {},
      workerData: { isNice: !isKept && this.#options.threads > 1 } satisfies Manner,
      resourceLimits: { maxOldGenerationSizeMb: heap_mb },
    });
    const thread: Thread = { worker, isKept, met: new Set(), name: undefined, isReady: false, at: undefined };
    this.#threads.add(thread);
    worker.unref();
    worker.on("message", (said: Ready | Answer) => {
      if ("thread" in said) {
        thread.isReady = true;
        thread.name = said.thread;
      } else {
        this.#finish(thread, said.result, said.took_us);
        this.#feed();
      }
    });
    let why: Refusal = refuse("handler_trapped", "the thread of the handler's turn has ended");
    worker.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ERR_WORKER_OUT_OF_MEMORY")
        why = refuse("handler_memory", "the handler's answer takes more memory to read than a turn may");
    });
    worker.on("exit", () => {
      this.#threads.delete(thread);
      const since_ms = thread.at?.since_ms ?? 0;
      this.#finish(thread, why, (this.#options.now_ms() - since_ms) * 1000);
      this.#replace(thread);
    });
  }

  #replace({ isKept, isReady }: Thread): void {
    const start = (): void => {
      if (this.#closed) return;
      this.#start(isKept);
      this.#feed();
    };
    if (isReady) start();
    else setTimeout(start, TURN_THREAD_RETRY_MS).unref();
  }
}

/** The thread has read the handler's document, and has written these texts itself. */
function read({ reply, state, ...rest }: Ended): TurnResult {
  return { ...rest, reply: JSON.parse(textOf(reply)) as Json, state: state && textOf(state) };
}

function textOf(bytes: Uint8Array): string {
  const text = fromUtf8(bytes);
  if (text === undefined) throw new Error("a thread has sent what is no UTF-8");
  return text;
}
