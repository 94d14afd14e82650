/**
 * What a function is called, for people: by the name section that compilers write, or by its export.
 *
 * Names come from whoever wrote the module: they are quoted and cut. A name section that makes no sense has no names.
 */
import type { Module } from "./wasm-binary.ts";
import { Reader } from "./wasm-reader.ts";
import { quoted, SECTION } from "./wasm-sections.ts";

const FUNCTION_NAMES = 1;

/** `function 7`, or `function 7 "parse"`. Takes time linear in the module. */
export function nameFunction({ bytes, exports }: Module, index: number): string {
  const name =
    findName(bytes, index) ??
    exports.find(({ kind, index: exported }) => kind === 0 && exported === index)?.name;
  return name === undefined ? `function ${index}` : `function ${index} ${quoted(name)}`;
}

function findName(bytes: Uint8Array<ArrayBuffer>, wanted: number): string | undefined {
  const reader = new Reader(bytes, 8);
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.u32();
    const section = new Reader(bytes, reader.at, Math.min(reader.at + length, bytes.length));
    reader.skip(length);
    if (id === SECTION.custom && section.name() === "name") return findIn(section, wanted);
  }
  return undefined;
}

/** The subsections stand in the order of their ids: the module's own name, then the functions'. */
function findIn(section: Reader, wanted: number): string | undefined {
  while (!section.done) {
    const id = section.byte();
    const length = section.u32();
    if (id !== FUNCTION_NAMES) {
      section.skip(length);
      continue;
    }
    for (let left = section.u32(); left > 0 && section.failure === undefined; left--) {
      const index = section.u32();
      const name = section.name();
      if (index === wanted && section.failure === undefined) return name;
    }
    return undefined;
  }
  return undefined;
}
