/**
 * A thread that runs turns, one at a time: the far side of `turn-pool.ts`.
 *
 * It holds no secret and has no store: what it is sent is a compiled module and one input. The handler's answer is read
 * here, so that the gate's thread is spared what a hostile document costs.
 */
import { parentPort, workerData } from "node:worker_threads";
import { utf8 } from "../bytes.ts";
import { runDocument, type TurnResult } from "../dispatch/sandbox.ts";
import { isRefusal, type Refusal, type RefusalFacts } from "../errors.ts";
import { TURN_OUTPUT_BYTES_MAX } from "../limits.ts";
import { beNice, threadName } from "./threads.ts";

/** What a thread is asked for. */
export type Job =
  | { readonly compile: Uint8Array<ArrayBuffer> }
  | {
      readonly hash: string;
      /** Where this thread has not met it. */
      readonly module: WebAssembly.Module | undefined;
      readonly input: Uint8Array<ArrayBuffer>;
      readonly fuel: number;
    };

/** Of a turn that ended well. Reply and state are JSON as UTF-8: bytes change threads without being copied. */
export interface Ended extends Omit<TurnResult, "reply" | "state"> {
  readonly reply: Uint8Array<ArrayBuffer>;
  readonly state: Uint8Array<ArrayBuffer> | undefined;
}

export type Result =
  | { readonly module: WebAssembly.Module }
  | { readonly ended: Ended }
  /** A Refusal does not survive the way between threads as what it is. */
  | {
      readonly refused: {
        readonly code: Refusal["code"];
        readonly detail: string;
        readonly facts: RefusalFacts;
      };
    }
  /** Something was thrown: what does not compile, or a bug. */
  | { readonly broken: string };

/** What a thread is started with. */
export interface Manner {
  /** It lets the gate go first, and the thread that is kept for brief turns. */
  readonly isNice: boolean;
}

/** The first thing that a thread says. */
export interface Ready {
  /** As the system names it, where it does. */
  readonly thread: string | undefined;
}

export interface Answer {
  readonly result: Result;
  /** Of this thread's CPU, µs. */
  readonly took_us: number;
}

const modules = new Map<string, WebAssembly.Module>();

const ready: Ready = { thread: threadName() };
if ((workerData as Manner).isNice && ready.thread !== undefined) beNice(ready.thread);
parentPort?.postMessage(ready);

parentPort?.on("message", (job: Job) => {
  const before = process.threadCpuUsage();
  const result = resultOf(job);
  const { user, system } = process.threadCpuUsage(before);
  const answer: Answer = { result, took_us: user + system };
  parentPort?.postMessage(answer, "ended" in result ? buffersOf(result.ended) : []);
});

function resultOf(job: Job): Result {
  try {
    return "compile" in job ? { module: new WebAssembly.Module(job.compile) } : run(job);
  } catch (error) {
    return { broken: error instanceof Error ? error.message : "unknown error" };
  }
}

function run({ hash, module: sent, input, fuel }: Exclude<Job, { readonly compile: unknown }>): Result {
  if (sent !== undefined) modules.set(hash, sent);
  const module = modules.get(hash);
  if (module === undefined) throw new Error(`the module ${hash} is not known to this thread`);
  const outcome = runDocument(module, input, { fuel, output_bytes: TURN_OUTPUT_BYTES_MAX });
  if (isRefusal(outcome)) {
    const { code, detail, facts } = outcome;
    return { refused: { code, detail, facts } };
  }
  const { reply, state, ...rest } = outcome;
  return {
    ended: {
      ...rest,
      reply: utf8(JSON.stringify(reply)),
      state: state === undefined ? undefined : utf8(state),
    },
  };
}

function buffersOf({ reply, state }: Ended): ArrayBuffer[] {
  return state === undefined ? [reply.buffer] : [reply.buffer, state.buffer];
}
