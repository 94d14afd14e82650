/**
 * What is left of WASI in a module that was built with a C library, answered inside of it: there are no files, no
 * clock and no randomness, so every call fails with ENOSYS.
 */
import { OP, TYPE } from "../dispatch/opcodes.ts";
import type { FunctionType } from "../dispatch/wasm-binary.ts";
import { Writer } from "../dispatch/wasm-reader.ts";
import { takeApart } from "./parts.ts";
import { type Code, rewire } from "./rewire.ts";

const WASI = /^wasi_(snapshot_preview1|unstable)$/;
/** Source: wasi_snapshot_preview1, `errno`. */
const ENOSYS = 52;

/** @returns the module without imports, or what it imports beside WASI */
export function stubWasi(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | string {
  const parts = takeApart(bytes);
  if (typeof parts === "string") return parts;
  if (parts.imports.length === 0) return bytes;
  const stranger = parts.imports.find(({ module }) => !WASI.test(module));
  if (stranger !== undefined)
    return `it imports ${stranger.module}.${stranger.name}; a handler gets everything in its message`;
  return rewire(parts, { stub: (_imported, type) => refusing(type), functions: [], kept: HANDLER_EXPORTS });
}

export const HANDLER_EXPORTS: readonly string[] = ["pn_alloc", "pn_handle", "_initialize"];

/** Functions of WASI answer an errno, but for `proc_exit`, which does not return. */
function refusing({ results }: FunctionType): Code {
  const answers = results.length === 1 && results[0] === TYPE.i32;
  return answers
    ? new Writer().byte(0, OP.i32_const).s64(ENOSYS).byte(OP.end)
    : new Writer().byte(0, OP.unreachable, OP.end);
}
