/**
 * Guests for the sandbox's tests: written as text (through binaryen, which is here with AssemblyScript), or
 * byte by byte where no assembler would write what a hostile author does.
 */
import binaryen from "binaryen";
import { type Admission, admit } from "../../src/dispatch/admission.ts";
import { runTurn, type Turn, type TurnBounds, type TurnResult } from "../../src/dispatch/sandbox.ts";
import { Writer } from "../../src/dispatch/wasm-reader.ts";
import type { Refusal } from "../../src/errors.ts";

export const TURN: Turn = {
  state: undefined,
  message: "go",
  args: {},
  now_ms: 1_767_225_600_000,
  seed: "00112233445566778899aabbccddeeff",
  actor: "guest/1",
};

/** Text to binary, any proposal allowed and nothing validated. */
export function assemble(wat: string): Uint8Array<ArrayBuffer> {
  const module = binaryen.parseText(wat);
  try {
    module.setFeatures(binaryen.Features.All);
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}

/** A handler whose `pn_handle` has that body; `more` goes beside it, `alloc` is pn_alloc's body. */
export function guest(
  body: string,
  more = "",
  memory = "1",
  alloc = "(i32.const 1024)",
): Uint8Array<ArrayBuffer> {
  return assemble(`(module
    (memory (export "memory") ${memory})
    (func (export "pn_alloc") (param i32) (result i32) ${alloc})
    (func $handle (export "pn_handle") (param i32 i32) (result i64) ${body})
    ${more})`);
}

/** The body of a handler that answers that document. It stands at address 16. */
export function answering(document: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(document);
  const text = [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  return guest(answer(16, bytes.length), `(data (i32.const 16) "${text}")`);
}

export function answer(ptr: number, length: number): string {
  return `(i64.const ${(BigInt(ptr) << 32n) | BigInt(length)})`;
}

/** As it is published. */
export function instrumented(original: Uint8Array): Uint8Array<ArrayBuffer> {
  const admission = admit(original);
  if (!admission.ok) throw new Error(JSON.stringify(admission.problems));
  return admission.instrumented;
}

export function admitted(original: Uint8Array): WebAssembly.Module {
  return new WebAssembly.Module(instrumented(original));
}

export function run(original: Uint8Array, turn: Turn = TURN, bounds?: TurnBounds): TurnResult | Refusal {
  return runTurn(admitted(original), turn, bounds);
}

export function problemsOf(admission: Admission): readonly { code: string; detail: string }[] {
  return admission.ok ? [] : admission.problems;
}

export const I32 = 0x7f;
export const I64 = 0x7e;

/** What a handler module is made of, each section's entries as bytes; the interface is always there. */
export interface Parts {
  readonly types?: readonly (readonly number[])[];
  /** Further functions, from index 2 on: type index and body (locals and code). */
  readonly functions?: readonly { readonly type: number; readonly body: readonly number[] | Uint8Array }[];
  readonly memory?: readonly number[];
  readonly tables?: readonly (readonly number[])[];
  readonly globals?: readonly (readonly number[])[];
  readonly exports?: readonly (readonly [name: string, kind: number, index: number])[];
  readonly start?: number;
  readonly elements?: readonly (readonly number[])[];
  readonly handle?: readonly number[] | Uint8Array;
  /** Sections as they are, by id. */
  readonly sections?: ReadonlyMap<number, readonly number[]>;
}

/** Types 0 to 2 are pn_alloc's, pn_handle's and `() -> ()`; functions 0 and 1 are those exports. */
export function bytesOf(parts: Parts): Uint8Array<ArrayBuffer> {
  const types = [[0x60, 1, I32, 1, I32], [0x60, 2, I32, I32, 1, I64], [0x60, 0, 0], ...(parts.types ?? [])];
  const more = parts.functions ?? [];
  const exports = [
    ["memory", 2, 0],
    ["pn_alloc", 0, 0],
    ["pn_handle", 0, 1],
    ...(parts.exports ?? []),
  ] as const;
  const bodies = [[0, 0x41, 16, 0x0b], parts.handle ?? [0, 0x42, 0, 0x0b], ...more.map(({ body }) => body)];
  const sections = new Map<number, Writer>([
    [1, vector(types.map((type) => new Writer().byte(...type)))],
    [3, vector([0, 1, ...more.map(({ type }) => type)].map((type) => new Writer().u32(type)))],
    [5, vector([new Writer().byte(...(parts.memory ?? [0, 1]))])],
    [7, vector(exports.map(([name, kind, index]) => new Writer().name(name).byte(kind).u32(index)))],
    [10, vector(bodies.map((body) => new Writer().sized(new Writer().raw(new Uint8Array(body)))))],
  ]);
  const lists = [[4, parts.tables] as const, [6, parts.globals] as const, [9, parts.elements] as const];
  for (const [id, list] of lists)
    if (list !== undefined) sections.set(id, vector(list.map((entry) => new Writer().byte(...entry))));
  if (parts.start !== undefined) sections.set(8, new Writer().u32(parts.start));
  for (const [id, bytes] of parts.sections ?? []) sections.set(id, new Writer().byte(...bytes));
  const out = new Writer().byte(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
  for (const id of [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11, 0]) {
    const section = sections.get(id);
    if (section !== undefined) out.byte(id).sized(section);
  }
  return out.view().slice();
}

function vector(entries: readonly Writer[]): Writer {
  const out = new Writer().u32(entries.length);
  for (const entry of entries) out.raw(entry.view());
  return out;
}

/** Unsigned LEB128. */
export function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(Math.floor(value / 128))];
}

/** `head`, then `part` so many times, then `tail`. */
export function repeated(
  head: readonly number[],
  part: readonly number[],
  times: number,
  tail: readonly number[],
) {
  const out = new Uint8Array(head.length + part.length * times + tail.length);
  out.set(head);
  for (let i = 0; i < times; i++) out.set(part, head.length + i * part.length);
  out.set(tail, out.length - tail.length);
  return out;
}
