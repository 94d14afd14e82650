/**
 * What the walk over one function found: what admission bounds, and what the fuel pass changes.
 *
 * Offsets are into the original module; nothing is copied before the module is written anew. The edits stand
 * in the order of their places, so that the fuel pass copies what lies between them. What V8 may spend to compile
 * a function is estimated here too, since it follows from these numbers alone.
 */
import { WASM_FUNCTION_SLOTS_MAX } from "../limits.ts";
import type { FunctionType } from "./wasm-binary.ts";

/** A change at a byte offset: something inserted there, `removed` bytes of the original dropped. */
export interface Edit {
  readonly kind: "charge" | "return" | "bytes" | "elements" | "grow" | "nan32" | "nan64";
  readonly at: number;
  readonly removed: number;
  /** Of a charge: its fuel. Of a return: how many blocks it leaves. Of a NaN: 1 where its bits can be seen. */
  value: number;
}

/** A charge of nothing, and a NaN that nobody looks at. */
export function isNeedless({ kind, value }: Edit): boolean {
  return value === 0 && (kind === "charge" || kind === "nan32" || kind === "nan64");
}

export interface Body {
  readonly index: number;
  readonly type: FunctionType;
  readonly local_groups: number;
  /** Where the groups of declared locals stand, then the code. */
  readonly groups_start: number;
  readonly code_start: number;
  readonly code_end: number;
  /** Parameters and declared locals. */
  readonly locals: number;
  /** Deepest operand stack. */
  readonly stack: number;
  /** How often it pays, its entry aside. */
  readonly charges: number;
  /** Floats that may be a NaN whose bits can be seen. */
  readonly nans: number;
  /** Does it call other functions? Then its frame counts. */
  readonly calls: boolean;
  /** What its entry pays, its own frame included. */
  readonly entry_cost: number;
  readonly edits: readonly Edit[];
}

/** A charge is a branch, and at a loop header V8 keeps and spills every slot: as much as so many bytes of other code. */
const CHARGE_BYTES = 24;
/** A comparison, a constant and a choice. */
const NAN_BYTES = 24;

/** What V8 may spend to compile the function (see `WASM_FUNCTION_SLOTS_MAX`). */
export function slotsOf(body: Body): number {
  const bytes = body.code_end - body.groups_start;
  return (bytes + CHARGE_BYTES * body.charges + NAN_BYTES * body.nans) * (body.locals + body.stack);
}

/** What makes one function too much to compile. */
export function whyTooHeavy(body: Body): string | undefined {
  if (slotsOf(body) <= WASM_FUNCTION_SLOTS_MAX) return undefined;
  const code = `${body.code_end - body.groups_start} bytes of code (${body.charges} branches)`;
  const slots = `${body.locals} locals and ${body.stack} operands`;
  return `${code} for ${slots} take too long to compile: split the function`;
}

export const NO_VALUES: FunctionType = { params: [], results: [] };

/** A block that the walk is in. */
export interface Frame {
  /** Its opcode. */
  readonly kind: number;
  readonly type: FunctionType;
  /** Operands below the block. */
  readonly base: number;
}
