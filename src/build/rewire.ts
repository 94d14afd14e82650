/**
 * A module wired anew: its imports become functions of its own, further functions and exports come behind, and its
 * memory may start as it stood in a running instance.
 *
 * Imported functions have the lowest indices, so a stub that takes an import's place leaves every index as it was.
 */
import { OP, TYPE } from "../dispatch/opcodes.ts";
import type { FunctionType } from "../dispatch/wasm-binary.ts";
import { Writer } from "../dispatch/wasm-reader.ts";
import { SECTION, SECTION_ORDER } from "../dispatch/wasm-sections.ts";
import type { ImportedFunction, Parts } from "./parts.ts";

/** Locals and code of one function, as the code section has it. */
export type Code = Writer;

export interface NewFunction {
  readonly name: string;
  readonly type: FunctionType;
  readonly code: Code;
}

export interface Image {
  /** All of linear memory; a whole number of pages. */
  readonly memory: Uint8Array;
  /** The value of the module's only global, the stack pointer of C. */
  readonly stack_pointer: number;
}

export interface Wiring {
  readonly stub: (imported: ImportedFunction, type: FunctionType) => Code;
  /** Each is exported by its name. */
  readonly functions: readonly NewFunction[];
  /** Exports of the module that stay, by name: its memory always does. */
  readonly kept: readonly string[];
  readonly image?: Image;
}

const PAGE_BYTES = 65_536;
/** A hole of zeros shorter than this costs less inside a segment than the next segment's head and start. */
const HOLE_BYTES_MIN = 256;

export function rewire(parts: Parts, wiring: Wiring): Uint8Array<ArrayBuffer> {
  const out = new Writer(1024 * 1024).byte(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  for (const id of SECTION_ORDER) {
    // With an image, start function and active segments have done their work.
    if (id === SECTION.element && parts.start !== undefined && wiring.image === undefined)
      out.byte(SECTION.start).sized(new Writer().u32(parts.start));
    const section = emitSection(id, parts, wiring);
    if (section !== undefined) out.byte(id).sized(section);
  }
  return out.view().slice();
}

function emitSection(id: number, parts: Parts, wiring: Wiring): Writer | undefined {
  const { imports, types } = parts;
  const { functions, image } = wiring;
  const { count, bytes } = parts.sections.get(id) ?? { count: 0, bytes: new Uint8Array() };
  switch (id) {
    case SECTION.type: {
      const out = new Writer().u32(count + functions.length).raw(bytes);
      for (const { type } of functions)
        out
          .byte(TYPE.func)
          .u32(type.params.length)
          .byte(...type.params)
          .u32(type.results.length)
          .byte(...type.results);
      return out;
    }
    case SECTION.function: {
      const out = new Writer().u32(imports.length + count + functions.length);
      for (const { type } of imports) out.u32(type);
      out.raw(bytes);
      for (const index of functions.keys()) out.u32(types.length + index);
      return out;
    }
    case SECTION.memory:
      if (image === undefined) break;
      return new Writer()
        .u32(1)
        .byte(0)
        .u32(image.memory.length / PAGE_BYTES);
    case SECTION.global:
      if (image === undefined) break;
      return new Writer().u32(1).byte(TYPE.i32, 1, OP.i32_const).s64(image.stack_pointer).byte(OP.end);
    case SECTION.export:
      return emitExports(parts, wiring);
    case SECTION.code: {
      const out = new Writer(bytes.length * 2).u32(imports.length + count + functions.length);
      for (const imported of imports)
        out.sized(wiring.stub(imported, types[imported.type] ?? { params: [], results: [] }));
      out.raw(bytes);
      for (const { code } of functions) out.sized(code);
      return out;
    }
    case SECTION.data:
      if (image === undefined) break;
      return emitData(segmentsOf(image.memory));
    case SECTION.data_count:
      if (image === undefined) break;
      return new Writer().u32(segmentsOf(image.memory).length);
  }
  return count === 0 ? undefined : new Writer(bytes.length + 8).u32(count).raw(bytes);
}

function emitExports({ functions, function_types }: Parts, wiring: Wiring): Writer {
  const kept = wiring.kept.flatMap((name) => {
    const index = functions.get(name);
    return index === undefined ? [] : [{ name, index }];
  });
  const out = new Writer()
    .u32(1 + kept.length + wiring.functions.length)
    .name("memory")
    .byte(2)
    .u32(0);
  for (const { name, index } of kept) out.name(name).byte(0).u32(index);
  for (const [at, { name }] of wiring.functions.entries())
    out
      .name(name)
      .byte(0)
      .u32(function_types.length + at);
  return out;
}

interface Segment {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** What is not zero in a memory, without its longer holes. */
function segmentsOf(memory: Uint8Array): readonly Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  while (at < memory.length) {
    while (at < memory.length && memory[at] === 0) at++;
    const start = at;
    let end = at;
    for (; at < memory.length && at - end < HOLE_BYTES_MIN; at++) if (memory[at] !== 0) end = at + 1;
    if (end > start) segments.push({ at: start, bytes: memory.subarray(start, end) });
  }
  return segments;
}

function emitData(segments: readonly Segment[]): Writer {
  const out = new Writer(1024 * 1024).u32(segments.length);
  for (const { at, bytes } of segments)
    out.byte(0, OP.i32_const).s64(at).byte(OP.end).u32(bytes.length).raw(bytes);
  return out;
}
