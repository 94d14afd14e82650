/**
 * The immediates of an instruction: stepped over, with the two things in them that are not admitted (a second
 * memory, a value type of a proposal) refused. Their values are the validator's business.
 */
import type { Immediate } from "./opcodes.ts";
import type { Reader } from "./wasm-reader.ts";
import { refusedType } from "./wasm-sections.ts";

/** Bit 6 of a memarg's alignment says that a memory index follows. */
const MEMARG_HAS_MEMORY = 64;

/** @returns why the instruction is refused. */
export function skipImmediate(reader: Reader, kind: Exclude<Immediate, "control">): string | undefined {
  switch (kind) {
    case "none":
      break;
    case "index":
      reader.u32();
      break;
    case "two_indices":
      reader.u32();
      reader.u32();
      break;
    case "i32":
      reader.skipSigned(32);
      break;
    case "i64":
      reader.skipSigned(64);
      break;
    case "f32":
      reader.skip(4);
      break;
    case "f64":
      reader.skip(8);
      break;
    case "memarg": {
      const alignment = reader.u32();
      reader.u32();
      return oneMemory(alignment >= MEMARG_HAS_MEMORY ? 1 : 0);
    }
    case "memory":
      return oneMemory(reader.u32());
    case "two_memories": {
      const target = reader.u32();
      return oneMemory(target + reader.u32());
    }
    case "index_memory":
      reader.u32();
      return oneMemory(reader.u32());
    case "types":
      if (reader.u32() !== 1) reader.fail("a select of several values");
      return refusedType(reader.byte());
    case "heap_type":
      return refusedType(reader.byte());
  }
  return undefined;
}

function oneMemory(index: number): string | undefined {
  return index === 0 ? undefined : "several memories are not admitted; use one";
}
