/**
 * One bounded pass over the sections of a core Wasm module.
 *
 * `readModule` answers what admission and the fuel pass need to know, or the first problem. It takes time
 * linear in the bytes for every input, valid or not, so it runs before V8 sees them. It refuses what the
 * sandbox does not admit; whether the module is valid is left to `WebAssembly.validate`.
 */
import { Reader } from "./wasm-reader.ts";
import { Draft, ENTRY_READERS, SECTION } from "./wasm-sections.ts";

export type ProblemCode =
  | "module_too_large"
  | "module_invalid"
  | "import_forbidden"
  | "export_missing"
  | "export_reserved"
  | "feature_forbidden"
  | "bound_exceeded"
  | "component_unsupported"
  /** Of whoever compiles it: it took too long, or too much memory, or ended the process. */
  | "compile_time"
  | "compile_memory"
  | "compile_crashed";

export interface AdmissionProblem {
  readonly code: ProblemCode;
  readonly detail: string;
}

export interface FunctionType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

export interface Table {
  readonly type: number;
  readonly initial: number;
  readonly max: number;
}

export interface Export {
  readonly name: string;
  /** 0 function, 1 table, 2 memory, 3 global. */
  readonly kind: number;
  readonly index: number;
}

/** A vector section as it stands in the module: how many entries, and their bytes. */
export interface RawEntries {
  readonly count: number;
  readonly start: number;
  readonly end: number;
}

export interface Module {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sections: ReadonlyMap<number, RawEntries>;
  readonly types: readonly FunctionType[];
  /** The type of each function, by its index. */
  readonly functions: readonly number[];
  readonly tables: readonly Table[];
  readonly memory: { readonly initial: number; readonly max: number };
  readonly exports: readonly Export[];
  readonly start: number | undefined;
  /** Where each function's code stands: its locals, then its instructions. */
  readonly bodies: readonly { readonly start: number; readonly end: number }[];
}

export function readModule(bytes: Uint8Array<ArrayBuffer>): Module | AdmissionProblem {
  const reader = new Reader(bytes);
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  if (!magic.every((byte) => reader.byte() === byte)) {
    return {
      code: "module_invalid",
      detail: "not a Wasm module of version 1, nor a component of the present version",
    };
  }
  const draft = new Draft();
  while (!reader.done && draft.problem === undefined) {
    const id = reader.byte();
    const length = reader.u32();
    const section = new Reader(bytes, reader.at, Math.min(reader.at + length, bytes.length));
    reader.skip(length);
    if (reader.failure === undefined && id !== SECTION.custom) readSection(draft, id, section);
    reader.failure ??= section.failure;
    if (reader.failure !== undefined) break;
  }
  if (draft.problem !== undefined) return draft.problem;
  if (reader.failure !== undefined) return { code: "module_invalid", detail: reader.failure };
  return finish(draft, bytes);
}

function finish(draft: Draft, bytes: Uint8Array<ArrayBuffer>): Module | AdmissionProblem {
  const [memory, second] = draft.memories;
  if (memory === undefined)
    return {
      code: "export_missing",
      detail: "the module has no memory; define one and export it as `memory`",
    };
  if (second !== undefined)
    return { code: "feature_forbidden", detail: "the module has several memories; exactly one is admitted" };
  if (draft.bodies.length !== draft.functions.length)
    return { code: "module_invalid", detail: "the function and code sections differ in length" };
  const { sections, types, functions, tables, exports, start, bodies } = draft;
  return { bytes, sections, types, functions, tables, memory, exports, start, bodies };
}

function readSection(draft: Draft, id: number, reader: Reader): void {
  if (draft.sections.has(id)) return reader.fail(`section ${id} stands twice`);
  if (id === SECTION.start) {
    draft.start = reader.u32();
    return;
  }
  const entries = ENTRY_READERS[id];
  if (entries === undefined) {
    return draft.refuse(
      "feature_forbidden",
      `section ${id} at byte ${reader.at} is not admitted (13 is exceptions, 14 is stringref)`,
    );
  }
  const count = draft.count(reader, entries.max, entries.what);
  const start = reader.at;
  draft.sections.set(id, { count, start, end: reader.end });
  if (entries.read === undefined) return;
  for (let i = 0; i < count && reader.failure === undefined && draft.problem === undefined; i++)
    entries.read(draft, reader);
  if (reader.failure === undefined && draft.problem === undefined && !reader.done)
    reader.fail(`section ${id} is longer than its entries`);
}
