/**
 * The child of throwaway.ts: reads one task, answers it, and is not needed any more.
 *
 * It is given modules by strangers. Whatever they do to it, it has no environment, no files to write and no secret,
 * and its parent ends it where it takes too long or too much.
 */
import { setFlagsFromString } from "node:v8";
import { admit } from "../dispatch/admission.ts";
import { runTurn } from "../dispatch/sandbox.ts";
import { isRefusal } from "../errors.ts";
import type { Answer, Task } from "./throwaway.ts";

process.once("message", (task: Task) => {
  const answer = perform(task);
  process.send?.(answer, () => process.disconnect());
});

function perform(task: Task): Answer {
  const admission = admit(task.original);
  if (!admission.ok) return { kind: "admission", admission };
  process.send?.({ kind: "stage", heaviest: admission.heaviest } satisfies Answer);
  if (task.kind === "run") return run(admission.instrumented, task);
  compileWhole(admission.instrumented);
  return { kind: "admission", admission };
}

/**
 * Every function by both compilers of V8, at once: a node compiles each at its first call, and again once it is hot.
 * Modules are cached by their bytes, so the second one needs others: a custom section that means nothing.
 */
function compileWhole(instrumented: Uint8Array<ArrayBuffer>): void {
  setFlagsFromString("--no-wasm-lazy-compilation");
  void new WebAssembly.Module(instrumented);
  setFlagsFromString("--no-liftoff");
  void new WebAssembly.Module(new Uint8Array([...instrumented, 0, 2, 1, 0x78]));
}

function run(instrumented: Uint8Array<ArrayBuffer>, { turn }: Extract<Task, { kind: "run" }>): Answer {
  const module = new WebAssembly.Module(instrumented);
  const started_ms = performance.now();
  const result = runTurn(module, turn);
  const time_us = Math.round((performance.now() - started_ms) * 1000);
  if (!isRefusal(result)) return { kind: "ran", time_us, result };
  const { code, detail, facts } = result;
  return { kind: "refused", time_us, code, detail, facts };
}
