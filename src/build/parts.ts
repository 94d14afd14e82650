/**
 * A core module taken apart for the build: its sections, types, imports and exports.
 *
 * This is for modules that a build wires anew, on the machine of whoever wrote them. It trusts nothing to be
 * whole: what is cut off or unknown is an answer, not an exception. What comes out is admitted like any upload.
 */
import type { FunctionType } from "../dispatch/wasm-binary.ts";
import { Reader } from "../dispatch/wasm-reader.ts";
import { SECTION } from "../dispatch/wasm-sections.ts";

export interface Entries {
  readonly count: number;
  /** The entries without their count. */
  readonly bytes: Uint8Array;
}

export interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  /** Index of its type. */
  readonly type: number;
}

export interface Parts {
  readonly sections: ReadonlyMap<number, Entries>;
  readonly types: readonly FunctionType[];
  readonly imports: readonly ImportedFunction[];
  /** Exported functions: their indices, imports counted. */
  readonly functions: ReadonlyMap<string, number>;
  /** Type of each function, imports first. */
  readonly function_types: readonly number[];
  readonly start: number | undefined;
}

/** What a module may import so that it can be wired anew: functions, and nothing else. */
const IMPORT_KINDS = ["function", "table", "memory", "global", "tag"];

/** @returns what is wrong with it, as text */
export function takeApart(bytes: Uint8Array<ArrayBuffer>): Parts | string {
  if (!WebAssembly.validate(bytes)) return "it is no valid core module";
  const reader = new Reader(bytes);
  reader.skip(8);
  const sections = new Map<number, Entries>();
  let start: number | undefined;
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.u32();
    const window = new Reader(bytes, reader.at, reader.at + length);
    reader.skip(length);
    if (id === SECTION.custom) continue;
    const count = window.u32();
    if (id === SECTION.start) start = count;
    else sections.set(id, { count, bytes: bytes.subarray(window.at, window.end) });
  }
  const types = readEntries(sections.get(SECTION.type), readType);
  const imports: ImportedFunction[] = [];
  for (const found of readEntries(sections.get(SECTION.import), readImport)) {
    if (typeof found === "string") return found;
    imports.push(found);
  }
  const declared = readEntries(sections.get(SECTION.function), (entry) => entry.u32());
  const exports = readEntries(sections.get(SECTION.export), readExport);
  const functions = new Map(exports.filter(({ kind }) => kind === 0).map(({ name, index }) => [name, index]));
  const function_types = [...imports.map(({ type }) => type), ...declared];
  return { sections, types, imports, functions, function_types, start };
}

function readEntries<T>(entries: Entries | undefined, read: (reader: Reader) => T): readonly T[] {
  if (entries === undefined) return [];
  const reader = new Reader(new Uint8Array(entries.bytes));
  return Array.from({ length: entries.count }, () => read(reader));
}

function readType(reader: Reader): FunctionType {
  reader.byte();
  const params = Array.from({ length: reader.u32() }, () => reader.byte());
  return { params, results: Array.from({ length: reader.u32() }, () => reader.byte()) };
}

function readImport(reader: Reader): ImportedFunction | string {
  const module = reader.name();
  const name = reader.name();
  const kind = reader.byte();
  if (kind !== 0) return `it imports the ${IMPORT_KINDS[kind] ?? "thing"} ${module}.${name}`;
  return { module, name, type: reader.u32() };
}

function readExport(reader: Reader): { name: string; kind: number; index: number } {
  return { name: reader.name(), kind: reader.byte(), index: reader.u32() };
}
