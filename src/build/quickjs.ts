/**
 * QuickJS as a handler: the engine's module wired anew, its memory as it stands once it has read the handler.
 *
 * The two functions of the handler interface are written here, over the C functions that the engine exports.
 */
import { OP, TYPE } from "../dispatch/opcodes.ts";
import { Writer } from "../dispatch/wasm-reader.ts";
import { type ImportedFunction, type Parts, takeApart } from "./parts.ts";
import { type Code, type Image, type NewFunction, rewire } from "./rewire.ts";

/** Pointers to values of the engine that are in its memory. */
export interface Values {
  /** The function that runs a turn, text to text. */
  readonly turn: number;
  readonly none: number;
}

const I64_LOAD32_U = 0x35;
const I32_STORE = 0x36;
const I64_OR = 0x84;
/** Alignment 4, offset 0. */
const WORD = [2, 0] as const;

/** @returns the handler, or what is wrong with the engine */
export function quickjsHandler(
  engine: Uint8Array<ArrayBuffer>,
  image: Image,
  values: Values,
): Uint8Array<ArrayBuffer> | string {
  const parts = takeApart(engine);
  if (typeof parts === "string") return parts;
  return rewire(parts, { stub, functions: [alloc(parts), handle(parts, values)], kept: [], image });
}

/** Of what the engine imports, a handler reaches the offset of the local time, which is none, and `import()`. */
function stub({ name }: ImportedFunction): Code {
  return name === "host_get_timezone_offset"
    ? new Writer().byte(0, OP.i32_const, 0, OP.end)
    : new Writer().byte(0, OP.unreachable, OP.end);
}

/** Source: interface.c of quickjs-wasi: wasm_malloc(size) */
function alloc(parts: Parts): NewFunction {
  const code = new Writer().byte(0, OP.local_get, 0);
  call(code, parts, "wasm_malloc").byte(OP.end);
  return { name: "pn_alloc", type: { params: [TYPE.i32], results: [TYPE.i32] }, code };
}

/**
 * qjs_new_string(ptr, length), qjs_call(function, this, argc, argv), qjs_get_string_len(value, &length); values are
 * pointers. The runner catches what handlers throw: where the engine itself gives up, what comes is no text, and
 * says so where it is read.
 */
function handle(parts: Parts, { turn, none }: Values): NewFunction {
  const [ptr, length, cell] = [0, 1, 2];
  const code = new Writer().byte(1, 1, TYPE.i32);
  code.byte(OP.i32_const, 4);
  call(code, parts, "wasm_malloc").byte(OP.local_tee, cell, OP.local_get, ptr, OP.local_get, length);
  call(code, parts, "qjs_new_string").byte(I32_STORE, ...WORD);
  code.byte(OP.i32_const).s64(turn).byte(OP.i32_const).s64(none).byte(OP.i32_const, 1, OP.local_get, cell);
  call(code, parts, "qjs_call").byte(OP.local_get, cell);
  call(code, parts, "qjs_get_string_len").byte(OP.i64_extend_i32_u, OP.i64_const, 32, OP.i64_shl);
  code.byte(OP.local_get, cell, I64_LOAD32_U, ...WORD, I64_OR, OP.end);
  return { name: "pn_handle", type: { params: [TYPE.i32, TYPE.i32], results: [TYPE.i64] }, code };
}

/** @throws where the engine is another one than this is written for: a bug of ours */
function call(code: Writer, { functions }: Parts, name: string): Writer {
  const index = functions.get(name);
  if (index === undefined) throw new TypeError(`the engine exports no ${name}`);
  return code.byte(OP.call).u32(index);
}
