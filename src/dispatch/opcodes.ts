/**
 * The instructions that a handler may use, and no others: MVP, sign extension, saturating conversions,
 * multi-value, bulk memory and reference types.
 *
 * Each has the shape of its immediates, how many values it pops and pushes, and its fuel weight. One unit of
 * fuel buys about as much as one simple machine operation, so a weight is an upper bound of the work up to
 * one constant factor. What bulk instructions and memory.grow cost is charged when they run (fuel.ts).
 */

export type Immediate =
  | "none"
  | "index"
  | "two_indices"
  | "memarg"
  | "memory"
  | "two_memories"
  | "index_memory"
  | "i32"
  | "i64"
  | "f32"
  | "f64"
  | "types"
  | "heap_type"
  /** Read by the walk over the body itself. */
  | "control";

export interface Instruction {
  readonly immediate: Immediate;
  readonly pops: number;
  readonly pushes: number;
  readonly fuel: number;
  /** Where it computes a float: the result may be a NaN whose sign and payload the specification leaves open. */
  readonly nan?: "nan32" | "nan64";
  /** It treats all NaNs alike, so those that it pops need not have the same bits everywhere. */
  readonly ignores_nan?: true;
}

export const OP = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  br_if: 0x0d,
  br_table: 0x0e,
  return: 0x0f,
  call: 0x10,
  call_indirect: 0x11,
  select: 0x1b,
  local_get: 0x20,
  local_set: 0x21,
  local_tee: 0x22,
  global_get: 0x23,
  global_set: 0x24,
  memory_grow: 0x40,
  i32_const: 0x41,
  i64_const: 0x42,
  f32_const: 0x43,
  f64_const: 0x44,
  i32_eq: 0x46,
  i32_gt_u: 0x4b,
  i64_lt_s: 0x53,
  f32_eq: 0x5b,
  f64_eq: 0x61,
  i64_add: 0x7c,
  i64_sub: 0x7d,
  i64_shl: 0x86,
  i64_shr_u: 0x88,
  i64_extend_i32_u: 0xad,
  f32_convert_i32_s: 0xb2,
  f32_convert_i64_u: 0xb5,
  f64_convert_i32_s: 0xb7,
  f64_convert_i64_u: 0xba,
  ref_null: 0xd0,
  ref_func: 0xd2,
  prefix_fc: 0xfc,
} as const;

export const TYPE = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  funcref: 0x70,
  externref: 0x6f,
  func: 0x60,
  empty: 0x40,
} as const;

const VALUE_TYPES: ReadonlySet<number> = new Set([
  TYPE.i32,
  TYPE.i64,
  TYPE.f32,
  TYPE.f64,
  TYPE.funcref,
  TYPE.externref,
]);

export function isValueType(code: number): boolean {
  return VALUE_TYPES.has(code);
}

/** A call: the frame, the arguments, the signature check of an indirect one. */
const CALL = 8;
/** Division, remainder, square root: 10 to 40 cycles where an addition takes one. */
const DIVISION = 8;
/** To give a NaN its one form: a comparison and a choice. What computes pays for it, wherever it stands. */
const CANONICAL = 2;
/** Instructions that V8 runs as a call into a builtin. */
const BUILTIN = 16;
type Row = readonly [
  first: number,
  last: number,
  immediate: Immediate,
  pops: number,
  pushes: number,
  fuel: number,
];

const ROWS: readonly Row[] = [
  [0x00, 0x00, "control", 0, 0, 1], // unreachable
  [0x01, 0x01, "none", 0, 0, 0], // nop
  [0x02, 0x02, "control", 0, 0, 0], // block
  [0x03, 0x03, "control", 0, 0, 2], // loop: the charge itself
  [0x04, 0x04, "control", 1, 0, 1], // if
  [0x05, 0x05, "control", 0, 0, 1], // else
  [0x0b, 0x0b, "control", 0, 0, 0], // end
  [0x0c, 0x0c, "control", 0, 0, 1], // br
  [0x0d, 0x0d, "control", 1, 0, 1], // br_if
  [0x0e, 0x0e, "control", 1, 0, 4], // br_table
  [0x0f, 0x0f, "control", 0, 0, 1], // return
  [0x10, 0x11, "control", 0, 0, CALL], // call, call_indirect
  [0x1a, 0x1a, "none", 1, 0, 1], // drop
  [0x1b, 0x1b, "none", 3, 1, 1], // select
  [0x1c, 0x1c, "types", 3, 1, 1], // select t
  [0x20, 0x20, "index", 0, 1, 1], // local.get
  [0x21, 0x21, "index", 1, 0, 1], // local.set
  [0x22, 0x22, "index", 1, 1, 1], // local.tee
  [0x23, 0x23, "index", 0, 1, 1], // global.get
  [0x24, 0x24, "index", 1, 0, 1], // global.set
  [0x25, 0x25, "index", 1, 1, BUILTIN], // table.get
  [0x26, 0x26, "index", 2, 0, BUILTIN], // table.set
  [0x28, 0x35, "memarg", 1, 1, 1], // loads
  [0x36, 0x3e, "memarg", 2, 0, 1], // stores
  [0x3f, 0x3f, "memory", 0, 1, 1], // memory.size
  [0x40, 0x40, "memory", 1, 1, CALL], // memory.grow
  [0x41, 0x41, "i32", 0, 1, 1],
  [0x42, 0x42, "i64", 0, 1, 1],
  [0x43, 0x43, "f32", 0, 1, 1],
  [0x44, 0x44, "f64", 0, 1, 1],
  [0x45, 0x45, "none", 1, 1, 1], // i32.eqz
  [0x46, 0x4f, "none", 2, 1, 1], // i32 comparisons
  [0x50, 0x50, "none", 1, 1, 1], // i64.eqz
  [0x51, 0x66, "none", 2, 1, 1], // i64, f32, f64 comparisons
  [0x67, 0x69, "none", 1, 1, 1], // i32 clz, ctz, popcnt
  [0x6a, 0x6c, "none", 2, 1, 1], // i32 add, sub, mul
  [0x6d, 0x70, "none", 2, 1, DIVISION],
  [0x71, 0x78, "none", 2, 1, 1], // i32 and .. rotr
  [0x79, 0x7b, "none", 1, 1, 1], // i64 clz, ctz, popcnt
  [0x7c, 0x7e, "none", 2, 1, 1], // i64 add, sub, mul
  [0x7f, 0x82, "none", 2, 1, DIVISION],
  [0x83, 0x8a, "none", 2, 1, 1], // i64 and .. rotr
  [0x8b, 0x8c, "none", 1, 1, 2], // f32 abs, neg
  [0x8d, 0x90, "none", 1, 1, 2 + CANONICAL], // f32 ceil .. nearest
  [0x91, 0x91, "none", 1, 1, DIVISION + CANONICAL], // f32.sqrt
  [0x92, 0x94, "none", 2, 1, 1 + CANONICAL], // f32 add, sub, mul
  [0x95, 0x95, "none", 2, 1, DIVISION + CANONICAL],
  [0x96, 0x97, "none", 2, 1, 4 + CANONICAL], // f32 min, max
  [0x98, 0x98, "none", 2, 1, 4], // f32.copysign
  [0x99, 0x9a, "none", 1, 1, 2], // f64 abs, neg
  [0x9b, 0x9e, "none", 1, 1, 2 + CANONICAL], // f64 ceil .. nearest
  [0x9f, 0x9f, "none", 1, 1, DIVISION + CANONICAL], // f64.sqrt
  [0xa0, 0xa2, "none", 2, 1, 1 + CANONICAL], // f64 add, sub, mul
  [0xa3, 0xa3, "none", 2, 1, DIVISION + CANONICAL],
  [0xa4, 0xa5, "none", 2, 1, 4 + CANONICAL], // f64 min, max
  [0xa6, 0xa6, "none", 2, 1, 4], // f64.copysign
  [0xa7, 0xb5, "none", 1, 1, 2], // conversions
  [0xb6, 0xb6, "none", 1, 1, 2 + CANONICAL], // f32.demote_f64
  [0xb7, 0xba, "none", 1, 1, 2], // conversions
  [0xbb, 0xbb, "none", 1, 1, 2 + CANONICAL], // f64.promote_f32
  [0xbc, 0xbf, "none", 1, 1, 2], // reinterpretations
  [0xc0, 0xc4, "none", 1, 1, 1], // sign extension
  [0xd0, 0xd0, "heap_type", 0, 1, 1], // ref.null
  [0xd1, 0xd1, "none", 1, 1, 1], // ref.is_null
  [0xd2, 0xd2, "index", 0, 1, BUILTIN], // ref.func
];

const ROWS_FC: readonly Row[] = [
  [0, 7, "none", 1, 1, 4], // saturating conversions
  [8, 8, "index_memory", 3, 0, CALL], // memory.init
  [9, 9, "index", 0, 0, BUILTIN], // data.drop
  [10, 10, "two_memories", 3, 0, CALL], // memory.copy
  [11, 11, "memory", 3, 0, CALL], // memory.fill
  [12, 12, "two_indices", 3, 0, CALL], // table.init
  [13, 13, "index", 0, 0, BUILTIN], // elem.drop
  [14, 14, "two_indices", 3, 0, CALL], // table.copy
  [15, 15, "index", 2, 1, CALL], // table.grow
  [16, 16, "index", 0, 1, 1], // table.size
  [17, 17, "index", 3, 0, CALL], // table.fill
];

function tableOf(
  rows: readonly Row[],
  floats: (code: number) => Pick<Instruction, "nan" | "ignores_nan">,
): readonly (Instruction | undefined)[] {
  const table = Array.from<Instruction | undefined>({ length: 256 });
  for (const [first, last, immediate, pops, pushes, fuel] of rows)
    for (let code = first; code <= last; code++)
      table[code] = { immediate, pops, pushes, fuel, ...floats(code) };
  return table;
}

type Span = readonly [first: number, last: number];
const within = (spans: readonly Span[], code: number): boolean =>
  spans.some(([first, last]) => first <= code && code <= last);

/** ceil .. max and demote, ceil .. max and promote. abs, neg and copysign move bits: they compute nothing. */
const NAN32: readonly Span[] = [
  [0x8d, 0x97],
  [0xb6, 0xb6],
];
const NAN64: readonly Span[] = [
  [0x9b, 0xa5],
  [0xbb, 0xbb],
];
/** drop, comparisons, conversions to integers: these trap or answer 0, whatever the NaN is. */
const NAN_IGNORED: readonly Span[] = [
  [0x1a, 0x1a],
  [0x5b, 0x66],
  [0xa8, 0xab],
  [0xae, 0xb1],
];

export const INSTRUCTIONS = tableOf(ROWS, (code) => {
  if (within(NAN32, code)) return { nan: "nan32", ignores_nan: true };
  if (within(NAN64, code)) return { nan: "nan64", ignores_nan: true };
  return within(NAN_IGNORED, code) ? { ignores_nan: true } : {};
});
/** Behind the prefix 0xfc, by the number that follows it. */
export const INSTRUCTIONS_FC = tableOf(ROWS_FC, (code) => (code <= 7 ? { ignores_nan: true } : {}));

/** Which dynamic charge a bulk instruction needs: its length is on top of the stack. */
export function bulkUnit(code: number): "bytes" | "elements" | undefined {
  if (code === 8 || code === 10 || code === 11) return "bytes";
  return code === 12 || code === 14 || code === 15 || code === 17 ? "elements" : undefined;
}

/** Why an instruction that is not in the tables is refused, and what its author can do. */
export function explainForbidden(code: number): string {
  switch (code) {
    case 0xfd:
      return "SIMD is not admitted; build without it (clang -mno-simd128, rustc -C target-feature=-simd128)";
    case 0xfe:
      return "threads and atomics are not admitted; build for a single thread";
    case 0xfb:
    case 0xd3:
    case 0xd4:
    case 0xd5:
    case 0xd6:
      return "garbage-collected types are not admitted; build for linear memory";
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x18:
    case 0x19:
    case 0x1f:
      return "exceptions are not admitted; build without them (clang -fno-exceptions, rustc -C panic=abort)";
    case 0x12:
    case 0x13:
      return "tail calls are not admitted; build without them (clang -mno-tail-call)";
    case 0x14:
    case 0x15:
      return "typed function references are not admitted; call through a table";
    default:
      return "it is none of MVP, sign extension, saturating conversions, multi-value, bulk memory, reference types";
  }
}
