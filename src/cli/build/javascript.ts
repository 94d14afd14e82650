/**
 * A handler in JavaScript or TypeScript, to one plain module: QuickJS as it stands once it has read the source.
 *
 * The engine runs the handler's top level here, at the build; its memory becomes the module's data. So a turn starts
 * with the handler compiled, in a module like any other: no imports, admitted and metered.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { EvalFlags, type JSValueHandle, QuickJS } from "quickjs-wasi";
import { quickjsHandler } from "../../build/quickjs.ts";
import { JS_STACK_BYTES_MAX } from "../../limits.ts";
import { messageOf } from "../inputs.ts";
import type { Source } from "./native.ts";
import { BuildProblem } from "./tools.ts";

/** The module that runs turns, and how it names the handler. */
const RUNNER = new URL("../../../wasm/lib/quickjs.js", import.meta.url);
const HANDLER = "postern:handler";

export async function buildJavaScript({ main }: Source): Promise<Uint8Array | BuildProblem> {
  const engine = new Uint8Array(
    await readFile(fileURLToPath(import.meta.resolve("quickjs-wasi/quickjs.wasm"))),
  );
  const folder = dirname(dirname(main));
  const vm = await QuickJS.create({
    wasm: engine,
    // The same source gives the same module: no clock and no randomness of this machine.
    wasi: () => ({ clock_time_get: () => 0, random_get: () => 0 }),
    timezoneOffset: 0,
    maxStackSize: JS_STACK_BYTES_MAX,
    moduleLoader: {
      normalize: (from, name) => (name === HANDLER ? relative(folder, main) : resolveName(from, name)),
      load: (name) => load(resolve(folder, name)),
    },
  });
  try {
    const turn = await evaluate(vm, await readFile(RUNNER, "utf8"));
    if (turn instanceof BuildProblem) return turn;
    const none = vm.undefined;
    vm.runGC();
    const { memory, stackPointer } = vm.snapshot();
    const values = { turn: turn.ptr, none: none.ptr };
    const built = quickjsHandler(engine, { memory, stack_pointer: stackPointer }, values);
    return typeof built === "string" ? new BuildProblem(`quickjs-wasi: ${built}`) : built;
  } catch (error) {
    return new BuildProblem(messageOf(error));
  }
}

async function evaluate(vm: QuickJS, runner: string): Promise<JSValueHandle | BuildProblem> {
  const promise = vm.evalCode(runner, "postern:runner", EvalFlags.TYPE_MODULE);
  vm.executePendingJobs();
  // A top-level await that waits for what never comes would never settle.
  const settled = await Promise.race([vm.resolvePromise(promise), Promise.resolve()]);
  if (settled === undefined) return new BuildProblem("its top level awaits something that does not come");
  if ("value" in settled) return settled.value.getProp("turn");
  return new BuildProblem(`${settled.error.toString()}\n${settled.error.getProp("stack").toString()}`.trim());
}

/** Names are relative to the folder above the handler's: no path of this machine gets into the module. */
function resolveName(from: string, name: string): string {
  if (!/^\.{1,2}\//.test(name))
    throw new Error(
      `${from} imports ${JSON.stringify(name)}: only files beside it can be imported; bundle packages`,
    );
  return relative("/", resolve("/", dirname(from), name));
}

function load(path: string): string {
  const source = readFileSync(path, "utf8");
  try {
    return /\.[cm]?ts$/.test(path) ? stripTypeScriptTypes(source) : source;
  } catch (error) {
    throw new Error(`${path}: ${messageOf(error)}`, { cause: error });
  }
}
