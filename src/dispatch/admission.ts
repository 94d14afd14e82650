/**
 * Admission: from bytes that somebody uploaded to a module that may run for tenants.
 *
 * An admitted module has no imports, a handler interface (wasm/handler.wit) with its exact types, only
 * whitelisted instructions, everything within its bound, and is metered. The order matters: our own pass is
 * linear for every input and comes first; then V8 validates the original, since the rewrite could make an
 * invalid reference valid; then the rewrite; then V8 validates that. Compiling is left to the caller, who
 * does it in a process that may be killed (src/cli/throwaway.ts).
 */
import { WASM_MODULE_BYTES_MAX, WASM_MODULE_SLOTS_MAX, WASM_PROBLEMS_MAX } from "../limits.ts";
import { coreModuleOf, isComponent } from "./component.ts";
import { instrument } from "./fuel.ts";
import { TYPE } from "./opcodes.ts";
import { type AdmissionProblem, type Module, readModule } from "./wasm-binary.ts";
import { type Body, slotsOf } from "./wasm-body.ts";
import { readBody } from "./wasm-code.ts";
import { nameFunction } from "./wasm-names.ts";
import { quoted } from "./wasm-sections.ts";

export { FUEL_PASS_VERSION } from "./fuel.ts";
export type { AdmissionProblem, ProblemCode } from "./wasm-binary.ts";

export type Admission =
  | {
      readonly ok: true;
      readonly instrumented: Uint8Array<ArrayBuffer>;
      /** The function that is most work to compile, for whoever finds that it is too much. */
      readonly heaviest: string;
    }
  | { readonly ok: false; readonly problems: readonly AdmissionProblem[] };

/** Names of the fuel pass; a module that has one of its own could answer for it. */
const RESERVED_PREFIX = "__pn_";

interface RequiredFunction {
  readonly name: string;
  readonly params: readonly number[];
  readonly results: readonly number[];
  readonly text: string;
  readonly optional?: true;
}

const { i32, i64 } = TYPE;

const INITIALIZE: RequiredFunction = {
  name: "_initialize",
  params: [],
  results: [],
  text: "()",
  optional: true,
};

const PLAIN_INTERFACE: readonly RequiredFunction[] = [
  { name: "pn_alloc", params: [i32], results: [i32], text: "(size: i32) -> i32" },
  { name: "pn_handle", params: [i32, i32], results: [i64], text: "(ptr: i32, len: i32) -> i64" },
  INITIALIZE,
];

/** `handle(turn) -> result<done, error>` as the canonical ABI lowers it: a string or a list is two i32. */
const CANONICAL_INTERFACE: readonly RequiredFunction[] = [
  {
    name: "handle",
    params: [...Array.from({ length: 8 }, () => i32), i64, i32, i32, i32, i32],
    results: [i32],
    text: "(turn) -> result<done, error>, of the world in wasm/handler.wit, lowered by the canonical ABI",
  },
  {
    name: "cabi_realloc",
    params: [i32, i32, i32, i32],
    results: [i32],
    text: "(old_ptr: i32, old_size: i32, alignment: i32, size: i32) -> i32",
  },
  INITIALIZE,
];

export function admit(original: Uint8Array): Admission {
  if (original.length > WASM_MODULE_BYTES_MAX) {
    const detail = `the module has ${original.length} bytes; at most ${WASM_MODULE_BYTES_MAX} are admitted`;
    return refused({ code: "module_too_large", detail });
  }
  const copy = new Uint8Array(original);
  const bytes = isComponent(copy) ? coreModuleOf(copy) : copy;
  if ("code" in bytes) return refused(bytes);
  const module = readModule(bytes);
  if ("code" in module) return refused(module);
  const { bodies, problems } = readBodies(module);
  problems.unshift(...checkInterface(module));
  if (problems.length > 0) return refused(...problems);
  const invalid = validate(bytes, "the module");
  if (invalid !== undefined) return refused(invalid);
  const instrumented = instrument(module, bodies);
  const broken = validate(instrumented, "the instrumented module");
  return broken === undefined
    ? { ok: true, instrumented, heaviest: nameHeaviest(module, bodies) }
    : refused(broken);
}

function nameHeaviest(module: Module, bodies: readonly Body[]): string {
  const [first, ...others] = bodies;
  if (first === undefined) return "none";
  const found = others.reduce((most, body) => (slotsOf(body) > slotsOf(most) ? body : most), first);
  const { index, groups_start, code_end, locals } = found;
  const size = `${code_end - groups_start} bytes of code, ${locals} locals`;
  return `${nameFunction(module, index)} at byte ${groups_start} (${size})`;
}

function refused(...problems: readonly AdmissionProblem[]): Admission {
  return { ok: false, problems: problems.slice(0, WASM_PROBLEMS_MAX) };
}

function readBodies(module: Module): { bodies: readonly Body[]; problems: AdmissionProblem[] } {
  const bodies: Body[] = [];
  const problems: AdmissionProblem[] = [];
  let slots = 0;
  for (let i = 0; i < module.functions.length && problems.length < WASM_PROBLEMS_MAX; i++) {
    const body = readBody(module, i);
    if ("code" in body) {
      problems.push(body);
      continue;
    }
    slots += slotsOf(body);
    bodies.push(body);
  }
  if (slots > WASM_MODULE_SLOTS_MAX) {
    const large = `${slots} byte-slots to compile; at most ${WASM_MODULE_SLOTS_MAX} are admitted`;
    const advice = `split functions with many locals, first ${nameHeaviest(module, bodies)}`;
    problems.push({ code: "bound_exceeded", detail: `the module's functions have ${large}: ${advice}` });
  }
  return { bodies, problems };
}

function checkInterface(module: Module): readonly AdmissionProblem[] {
  const problems: AdmissionProblem[] = [];
  for (const { name } of module.exports) {
    if (!name.startsWith(RESERVED_PREFIX)) continue;
    const detail = `the export ${quoted(name)} is reserved for the gateway: rename it`;
    problems.push({ code: "export_reserved", detail });
  }
  const memory = module.exports.find(({ name }) => name === "memory");
  if (memory?.kind !== 2)
    problems.push({ code: "export_missing", detail: "the module must export its memory as `memory`" });
  for (const required of interfaceOf(module)) {
    const found = module.exports.find(({ name }) => name === required.name);
    if (found === undefined && required.optional === true) continue;
    if (found?.kind === 0 && hasType(module, found.index, required)) continue;
    const what = found === undefined ? "must export" : "exports with another type, which must be";
    problems.push({ code: "export_missing", detail: `the module ${what}: ${required.name}${required.text}` });
  }
  return problems;
}

/** Whoever exports the function of one interface is to export the rest of it. */
function interfaceOf({ exports }: Module): readonly RequiredFunction[] {
  const has = (wanted: string): boolean => exports.some(({ name }) => name === wanted);
  return has("handle") && !has("pn_handle") ? CANONICAL_INTERFACE : PLAIN_INTERFACE;
}

function hasType(module: Module, index: number, { params, results }: RequiredFunction): boolean {
  const type = module.types[module.functions[index] ?? -1];
  return type?.params.join() === params.join() && type.results.join() === results.join();
}

function validate(bytes: Uint8Array<ArrayBuffer>, what: string): AdmissionProblem | undefined {
  if (WebAssembly.validate(bytes)) return undefined;
  return { code: "module_invalid", detail: `${what} is not valid: ${whyInvalid(bytes)}` };
}

/** Only a compilation says why. It fails where the validation did, before any code is generated. */
function whyInvalid(bytes: Uint8Array<ArrayBuffer>): string {
  try {
    void new WebAssembly.Module(bytes);
  } catch (error) {
    if (error instanceof Error) return error.message.replace(/^WebAssembly\.Module\(\): /, "");
  }
  return "the engine does not say why";
}
