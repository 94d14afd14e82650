/**
 * The entries of each section: what the sandbox admits of them, within its bounds.
 *
 * Each reader takes one entry from the section's window and adds it to the draft, or leaves a problem there
 * (the module is refused) or a failure in the reader (the bytes are no Wasm).
 */
import {
  WASM_EXPORTS_MAX,
  WASM_FUNCTIONS_MAX,
  WASM_GLOBALS_MAX,
  WASM_MEMORY_PAGES_MAX,
  WASM_PARAMETERS_MAX,
  WASM_RESULTS_MAX,
  WASM_SEGMENTS_MAX,
  WASM_TABLE_ELEMENTS_MAX,
  WASM_TABLES_MAX,
  WASM_TYPES_MAX,
} from "../limits.ts";
import { isValueType, OP, TYPE } from "./opcodes.ts";
import type {
  AdmissionProblem,
  Export,
  FunctionType,
  ProblemCode,
  RawEntries,
  Table,
} from "./wasm-binary.ts";
import type { Reader } from "./wasm-reader.ts";

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  data_count: 12,
} as const;

/** In which the specification wants the sections; the start section is dropped by the fuel pass. */
export const SECTION_ORDER: readonly number[] = [1, 3, 4, 5, 6, 7, 9, 12, 10, 11];

/** What was read of a module so far, and the first problem. */
export class Draft {
  readonly sections = new Map<number, RawEntries>();
  readonly types: FunctionType[] = [];
  readonly functions: number[] = [];
  readonly tables: Table[] = [];
  readonly memories: { initial: number; max: number }[] = [];
  readonly exports: Export[] = [];
  readonly bodies: { start: number; end: number }[] = [];
  start: number | undefined;
  elements = 0;
  problem: AdmissionProblem | undefined;

  refuse(code: ProblemCode, detail: string): void {
    this.problem ??= { code, detail };
  }

  /** The number of entries, 0 and a problem where there are more than `max`. */
  count(reader: Reader, max: number, what: string): number {
    const count = reader.u32();
    if (count <= max) return count;
    this.refuse("bound_exceeded", `the module has ${count} ${what}; at most ${max} are admitted`);
    return 0;
  }
}

interface EntryReader {
  readonly max: number;
  readonly what: string;
  readonly read?: (draft: Draft, reader: Reader) => void;
}

export const ENTRY_READERS: Record<number, EntryReader> = {
  [SECTION.type]: { max: WASM_TYPES_MAX, what: "types", read: readType },
  [SECTION.import]: { max: 0xffff_ffff, what: "imports", read: refuseImport },
  [SECTION.function]: {
    max: WASM_FUNCTIONS_MAX,
    what: "functions",
    read: (draft, reader) => draft.functions.push(reader.u32()),
  },
  [SECTION.table]: { max: WASM_TABLES_MAX, what: "tables", read: readTable },
  [SECTION.memory]: { max: 0xffff_ffff, what: "memories", read: readMemory },
  [SECTION.global]: { max: WASM_GLOBALS_MAX, what: "globals", read: readGlobal },
  [SECTION.export]: { max: WASM_EXPORTS_MAX, what: "exports", read: readExport },
  [SECTION.element]: { max: WASM_SEGMENTS_MAX, what: "element segments", read: readElements },
  [SECTION.code]: { max: WASM_FUNCTIONS_MAX, what: "function bodies", read: readBody },
  [SECTION.data]: { max: WASM_SEGMENTS_MAX, what: "data segments", read: readData },
  [SECTION.data_count]: { max: WASM_SEGMENTS_MAX, what: "data segments" },
};

function refuseImport(draft: Draft, reader: Reader): void {
  const module = reader.name();
  const name = reader.name();
  if (reader.failure !== undefined) return;
  const hint = module.startsWith("wasi")
    ? "build for a target without WASI (wasm32-unknown-unknown)"
    : "a handler gets everything in its message";
  draft.refuse("import_forbidden", `the module imports ${quoted(module)}.${quoted(name)}; ${hint}`);
}

/** A name from the module, safe and short enough for a detail. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}

function readType(draft: Draft, reader: Reader): void {
  const form = reader.byte();
  if (reader.failure === undefined && form !== TYPE.func) {
    return draft.refuse(
      "feature_forbidden",
      `type ${draft.types.length} is no function type; garbage-collected types are not admitted`,
    );
  }
  const what = `of type ${draft.types.length}`;
  const params = readTypes(draft, reader, WASM_PARAMETERS_MAX, `parameters ${what}`);
  draft.types.push({ params, results: readTypes(draft, reader, WASM_RESULTS_MAX, `results ${what}`) });
}

function readTypes(draft: Draft, reader: Reader, max: number, what: string): readonly number[] {
  const count = draft.count(reader, max, what);
  return Array.from({ length: count }, () => readValueType(draft, reader));
}

export function refusedType(code: number): string | undefined {
  if (isValueType(code)) return undefined;
  return code === 0x7b
    ? "the type v128 (SIMD) is not admitted; build without SIMD"
    : `the type 0x${code.toString(16)} is not admitted`;
}

function readValueType(draft: Draft, reader: Reader): number {
  const code = reader.byte();
  const refused = reader.failure === undefined ? refusedType(code) : undefined;
  if (refused !== undefined) draft.refuse("feature_forbidden", `${refused} (byte ${reader.at - 1})`);
  return code;
}

interface Limits {
  readonly initial: number;
  readonly max: number;
}

/** Limits clamped to `max`; a declared maximum below it stays. */
function readLimits(draft: Draft, reader: Reader, max: number, what: string): Limits {
  const flags = reader.byte();
  if (flags > 1) {
    const why =
      (flags & 4) !== 0
        ? "64-bit addresses are not admitted; build for wasm32"
        : "it must not be shared, nor have its own page size; build for a single thread";
    draft.refuse("feature_forbidden", `${what}: ${why}`);
    return { initial: 0, max };
  }
  const initial = reader.u32();
  if (initial > max)
    draft.refuse("bound_exceeded", `${what} starts with ${initial}; at most ${max} are admitted`);
  return { initial, max: flags === 1 ? Math.min(reader.u32(), max) : max };
}

function readTable(draft: Draft, reader: Reader): void {
  const type = reader.byte();
  if (reader.failure === undefined && type !== TYPE.funcref && type !== TYPE.externref) {
    return draft.refuse(
      "feature_forbidden",
      `table ${draft.tables.length} holds neither funcref nor externref`,
    );
  }
  const what = `table ${draft.tables.length} (elements)`;
  draft.tables.push({ type, ...readLimits(draft, reader, WASM_TABLE_ELEMENTS_MAX, what) });
}

function readMemory(draft: Draft, reader: Reader): void {
  draft.memories.push(readLimits(draft, reader, WASM_MEMORY_PAGES_MAX, "the memory (pages of 64 KiB)"));
  if (draft.memories.length > 1)
    draft.refuse("feature_forbidden", "several memories are not admitted; use one");
}

function readGlobal(draft: Draft, reader: Reader): void {
  readValueType(draft, reader);
  reader.byte();
  skipConstant(draft, reader);
}

function readExport(draft: Draft, reader: Reader): void {
  draft.exports.push({ name: reader.name(), kind: reader.byte(), index: reader.u32() });
}

function skipConstant(draft: Draft, reader: Reader): void {
  for (;;) {
    const at = reader.at;
    const code = reader.byte();
    if (reader.failure !== undefined || code === OP.end) return;
    if (code === OP.i32_const) reader.skipSigned(32);
    else if (code === OP.i64_const) reader.skipSigned(64);
    else if (code === OP.f32_const) reader.skip(4);
    else if (code === OP.f64_const) reader.skip(8);
    else if (code === OP.global_get || code === OP.ref_func) reader.u32();
    else if (code === OP.ref_null) readValueType(draft, reader);
    else {
      const what = `instruction 0x${code.toString(16)} in a constant at byte ${at}`;
      return draft.refuse("feature_forbidden", `${what} is not admitted; use a plain constant`);
    }
  }
}

/** Bit 0: not active. Bit 1: an explicit table, or declarative. Bit 2: expressions instead of indices. */
function readElements(draft: Draft, reader: Reader): void {
  const flags = reader.u32();
  if (flags > 7) return reader.fail("an element segment of unknown kind");
  if ((flags & 1) === 0) {
    if ((flags & 2) !== 0) reader.u32();
    skipConstant(draft, reader);
  }
  const expressions = (flags & 4) !== 0;
  if ((flags & 3) !== 0) reader.byte();
  const count = draft.count(reader, WASM_TABLE_ELEMENTS_MAX, "elements in one segment");
  draft.elements += count;
  if (draft.elements > WASM_TABLE_ELEMENTS_MAX) {
    const bound = `at most ${WASM_TABLE_ELEMENTS_MAX} are admitted`;
    return draft.refuse("bound_exceeded", `the element segments hold ${draft.elements} elements; ${bound}`);
  }
  for (let i = 0; i < count && reader.failure === undefined; i++) {
    if (expressions) skipConstant(draft, reader);
    else reader.u32();
  }
}

function readBody(draft: Draft, reader: Reader): void {
  const length = reader.u32();
  const start = reader.at;
  reader.skip(length);
  draft.bodies.push({ start, end: start + length });
}

function readData(draft: Draft, reader: Reader): void {
  const flags = reader.u32();
  if (flags > 2) return reader.fail("a data segment of unknown kind");
  if (flags === 2) reader.u32();
  if (flags !== 1) skipConstant(draft, reader);
  reader.skip(reader.u32());
}
