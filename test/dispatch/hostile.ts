/**
 * The hostile corpus: modules of an attacker, and how each ends. A sandbox, on a node or at the edge, is measured by it.
 *
 * Those of `NOT_ADMITTED` are refused before anything of theirs is compiled. Those of `ADMITTED` are valid handlers, and
 * each turn of theirs ends within its bounds with that code, whatever the message. None is awaited by a clock.
 */
import type { ProblemCode } from "../../src/dispatch/wasm-binary.ts";
import type { Code } from "../../src/errors.ts";
import {
  JSON_DEPTH_MAX,
  JSON_VALUES_MAX,
  STATE_BYTES_MAX,
  TURN_OUTPUT_BYTES_MAX,
  WASM_BLOCK_NESTING_MAX,
  WASM_MEMORY_PAGES_MAX,
  WASM_TABLE_ELEMENTS_MAX,
} from "../../src/limits.ts";
import { answer, answering, bytesOf, guest, I32, repeated } from "./guests.ts";

export interface Attack<C extends Code | ProblemCode = Code> {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How it ends. */
  readonly code: C;
  /** What the refusal says, among other things. */
  readonly says?: string | undefined;
}

const NOTHING = "(i64.const 0)";
const END = 0x0b;
/** `i64.const 0 end`: a pn_handle that answers nothing. */
const TAIL = [0x42, 0, END];

const TABLE = "(table $t 8 100 funcref) (elem $e (i32.const 0) func $f $f) (elem $p func $f) (func $f)";
/** Calls itself twice, `n` deep: 2^n calls on a short stack. */
const TREE = `(func $f (param $n i32) (if (local.get $n) (then
  (call $f (i32.sub (local.get $n) (i32.const 1))) (call $f (i32.sub (local.get $n) (i32.const 1))))))`;
const forever = (body: string): string => `(loop $l ${body} (br $l))`;

const ENDLESS: readonly (readonly [name: string, body: string, more?: string, alloc?: string])[] = [
  ["an empty loop", "(loop $l (br $l))"],
  ["an arithmetic loop", forever("(local.set 0 (i32.add (local.get 0) (i32.const 1)))")],
  [
    "a loop of divisions",
    forever("(local.set 0 (i32.div_u (local.get 0) (i32.or (local.get 1) (i32.const 1))))"),
  ],
  [
    "a loop of square roots",
    "(local $x f64) (loop $l (local.set $x (f64.sqrt (f64.add (local.get $x) (f64.const 2)))) (br $l))",
  ],
  ["a loop of loads and stores", forever("(i64.store (i32.const 8) (i64.load (i32.const 16)))")],
  ["a loop by br_table", "(loop $l (br_table $l $l (local.get 0)))"],
  ["a loop in a loop", "(loop $a (loop $b (br_if $b (i32.eqz (local.get 0)))) (br $a))"],
  ["a loop in an arm", "(if (i32.eqz (i32.const 0)) (then (loop $l (br $l)))) "],
  ["direct calls", forever("(call $f)"), "(func $f)"],
  ["indirect calls", forever("(call_indirect (i32.const 0))"), TABLE],
  ["a tree of calls", "(call $f (i32.const 200))", TREE],
  ["memory.fill", forever("(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))")],
  ["memory.fill of nothing", forever("(memory.fill (i32.const 0) (i32.const 1) (i32.const 0))")],
  ["memory.copy", forever("(memory.copy (i32.const 0) (i32.const 1) (i32.const 65535))")],
  ["memory.init", forever("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 4))"), '(data $d "abcd")'],
  ["table.fill", forever("(table.fill $t (i32.const 0) (ref.func $f) (i32.const 8))"), TABLE],
  ["table.copy", forever("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 7))"), TABLE],
  ["table.init", forever("(table.init $t $p (i32.const 0) (i32.const 0) (i32.const 1))"), TABLE],
  ["table.set", forever("(table.set $t (i32.const 0) (table.get $t (i32.const 1)))"), TABLE],
  ["table.grow past its bound", forever("(drop (table.grow $t (ref.func $f) (i32.const 100)))"), TABLE],
  ["memory.grow of nothing", forever("(drop (memory.grow (i32.const 0)))")],
  ["memory.grow past all bounds", forever("(drop (memory.grow (i32.const -1)))")],
  ["one memory.fill that is too long", "(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))"],
  ["an endless start function", "", "(start $s) (func $s (loop $l (br $l)))"],
  ["an endless _initialize", "", '(func (export "_initialize") (loop $l (br $l)))'],
  ["an endless pn_alloc", "", "", "(loop $l (br $l)) (i32.const 0)"],
];

const RECURSION = "(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))";
const wide = (locals: number): string => `(func $f (param i32) (result i32) ${"(local i64)".repeat(locals)}
  (i32.add (i32.const 1) (call $f (local.get 0))))`;
const IN_TURN = `(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $g (local.get 0))))
  (func $g (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))`;
const THROUGH_TABLE = `(table 1 funcref) (elem (i32.const 0) func $f) (type $t (func (param i32) (result i32)))
  (func $f (type $t) (param i32) (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (i32.const 0))))`;

const TRAPS: readonly (readonly [name: string, body: string, more: string, says: string])[] = [
  ["unreachable", "(unreachable)", "", "unreachable"],
  ["a division by zero", "(drop (i32.div_u (local.get 0) (i32.const 0)))", "", "divide by zero"],
  ["an integer overflow", "(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))", "", "unrepresentable"],
  ["a NaN as an integer", "(drop (i32.trunc_f64_s (f64.const nan)))", "", "unrepresentable"],
  ["a load outside memory", "(drop (i32.load (i32.const -4)))", "", "out of bounds"],
  [
    "a store at the largest offset",
    "(i64.store offset=4294967295 (i32.const -1) (i64.const 1))",
    "",
    "out of bounds",
  ],
  ["an empty table slot", "(call_indirect (i32.const 0))", "(table 1 funcref)", "null function"],
  ["a call of another type", "(call_indirect (param i64) (i64.const 0) (i32.const 0))", TABLE, "signature"],
  ["a call past the table", "(call_indirect (i32.const 8))", TABLE, "out of bounds"],
  ["recursion", "(drop (call $f (i32.const 0)))", RECURSION, "too deep"],
  ["recursion of two functions", "(drop (call $f (i32.const 0)))", IN_TURN, "too deep"],
  ["recursion through a table", "(drop (call $f (i32.const 0)))", THROUGH_TABLE, "too deep"],
  ["recursion of large frames", "(drop (call $f (i32.const 0)))", wide(2000), "too deep"],
  ["recursion in the start function", "", "(start $s) (func $s (call $s))", "too deep"],
  ["a start function that traps", "", "(start $s) (func $s unreachable)", "unreachable"],
  ["a data segment outside memory", "", '(data (i32.const 65535) "abc")', "cannot start"],
  [
    "an element segment outside its table",
    "",
    "(table 1 funcref) (elem (i32.const 1) func $handle)",
    "cannot start",
  ],
];

const HUNGRY = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))) unreachable)";

const MEMORY: readonly (readonly [name: string, body: string, more?: string, alloc?: string])[] = [
  ["a memory bomb, page by page", HUNGRY],
  ["a memory bomb at once", "(drop (memory.grow (i32.const 70000))) unreachable"],
  ["a memory bomb in the start function", "", `(start $s) (func $s ${HUNGRY})`],
  [
    "an allocator that answers 0 once it was denied",
    "",
    "",
    "(drop (memory.grow (i32.const 300))) (i32.const 0)",
  ],
  ["an allocator that answers what it was told", "", "", "(memory.grow (i32.const 300))"],
];

const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

/** `{"reply":[0,0,…]}`, built in the guest. */
function wideBomb(): Uint8Array<ArrayBuffer> {
  const end = 26 + 2 * (JSON_VALUES_MAX + 10);
  const loop = `(local $p i32) (local.set $p (i32.const 26))
    (loop $l (i32.store16 (local.get $p) (i32.const 0x2c30)) (local.set $p (i32.add (local.get $p) (i32.const 2)))
      (br_if $l (i32.lt_u (local.get $p) (i32.const ${end}))))
    (i32.store (local.get $p) (i32.const 0x007d5d30)) ${answer(16, end - 16 + 3)}`;
  return guest(loop, String.raw`(data (i32.const 16) "{\22reply\22:[")`, "20");
}

/** `{"reply":0,"state":"aaa…"}`, built in the guest. */
function largeState(): Uint8Array<ArrayBuffer> {
  const size = STATE_BYTES_MAX;
  const head = String.raw`(data (i32.const 16) "{\22reply\22:0,\22state\22:\22")`;
  const fill = `(memory.fill (i32.const 36) (i32.const 97) (i32.const ${size}))
    (i32.store16 (i32.const ${36 + size}) (i32.const 0x7d22)) ${answer(16, 20 + size + 2)}`;
  return guest(fill, head, "20");
}

const bytesAt = (text: string): string => `(data (i32.const 16) "${text}")`;

const OUTPUTS: readonly (readonly [name: string, bytes: Uint8Array<ArrayBuffer>, says?: string])[] = [
  ["output behind the memory", guest(answer(65_536, 1)), "outside its memory"],
  ["output across the memory's end", guest(answer(65_530, 7)), "outside its memory"],
  ["an output pointer with its sign bit set", guest(answer(0xffff_ffff, 2)), "outside its memory"],
  ["an output longer than its cap", guest(answer(0, TURN_OUTPUT_BYTES_MAX + 1)), "at most"],
  ["an output length with its sign bit set", guest(answer(0, 0xffff_ffff)), "at most"],
  ["no output", guest(answer(0, 0))],
  ["zero bytes", guest(answer(0, 4))],
  ["input outside memory", guest("unreachable", "", "1", "(i32.const -1)"), "outside its memory"],
  ["input at the memory's end", guest("unreachable", "", "1", "(i32.const 65535)"), "outside its memory"],
  ["invalid UTF-8", guest(answer(16, 3), bytesAt(String.raw`\22\ff\22`))],
  ["UTF-8 of half a surrogate pair", guest(answer(16, 5), bytesAt(String.raw`\22\ed\a0\80\22`))],
  ["overlong UTF-8", guest(answer(16, 4), bytesAt(String.raw`\22\c0\80\22`))],
  ["a deep bomb", answering(`{"reply":${nested(30_000)}}`)],
  ["a document that is just too deep", answering(`{"reply":${nested(JSON_DEPTH_MAX)}}`)],
  ["a wide bomb", wideBomb(), "values"],
  ["a number that is none", answering('{"reply":1e400}')],
  ["a member twice", answering('{"reply":1,"reply":2}')],
  ["__proto__", answering('{"reply":{"__proto__":1}}')],
  ["a state over its bound", largeState(), "state"],
];

export const ADMITTED: readonly Attack[] = [
  ...ENDLESS.map(([name, body, more = "", alloc]) => ({
    name,
    bytes: guest(`${body} ${NOTHING}`, more, "1", alloc),
    code: "handler_fuel" as const,
  })),
  ...TRAPS.map(([name, body, more, says]) => ({
    name,
    bytes: guest(`${body} ${NOTHING}`, more),
    code: "handler_trapped" as const,
    says,
  })),
  ...MEMORY.map(([name, body, more = "", alloc]) => ({
    name,
    bytes: guest(`${body} ${NOTHING}`, more, "1", alloc),
    code: "handler_memory" as const,
  })),
  ...OUTPUTS.map(([name, bytes, says]) => ({
    name,
    bytes,
    code: "handler_invalid" as const,
    says,
  })),
];

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(Math.floor(value / 128))];
}

const blocks = (times: number): Uint8Array<ArrayBuffer> =>
  repeated([0, ...Array.from({ length: times }, () => [0x02, 0x40]).flat()], [END], times, TAIL);

type Refused = Omit<Attack<ProblemCode>, "code">;
const of = (code: ProblemCode, attacks: readonly Refused[]): readonly Attack<ProblemCode>[] =>
  attacks.map((attack) => ({ ...attack, code }));

export const NOT_ADMITTED: readonly Attack<ProblemCode>[] = [
  ...of("bound_exceeded", [
    {
      name: "a compile bomb: 50,000 locals in 32 KB of branches",
      bytes: bytesOf({ handle: repeated([1, ...leb(50_000), I32], [0x02, 0x40, END], 10_900, TAIL) }),
    },
    {
      name: "a compile bomb of locals and loops",
      bytes: bytesOf({ handle: repeated([1, ...leb(4000), I32], [0x03, 0x40, END], 4000, TAIL) }),
    },
    {
      name: "a compile bomb of locals and NaNs",
      bytes: bytesOf({
        handle: repeated([1, ...leb(1000), 0x7c, 0x20, 2], [0x9f, 0x9a], 4000, [0x1a, ...TAIL]),
      }),
    },
    {
      name: "a compile bomb of many functions",
      bytes: bytesOf({
        functions: Array.from({ length: 5 }, () => ({
          type: 2,
          body: repeated([1, ...leb(4000), I32], [0x02, 0x40, END], 5000, [END]),
        })),
      }),
    },
    { name: "2^32 - 1 locals", bytes: bytesOf({ handle: [1, 0xff, 0xff, 0xff, 0xff, 0x0f, I32, ...TAIL] }) },
    { name: "deep blocks", bytes: bytesOf({ handle: blocks(WASM_BLOCK_NESTING_MAX) }) },
    {
      name: "a huge br_table",
      bytes: bytesOf({ handle: repeated([0, 0x41, 0, 0x0e, ...leb(9000)], [0], 9001, TAIL) }),
    },
    {
      name: "a memory that is large from its start",
      bytes: bytesOf({ memory: [0, ...leb(WASM_MEMORY_PAGES_MAX + 1)] }),
    },
    { name: "a table bomb", bytes: bytesOf({ tables: [[0x70, 0, ...leb(WASM_TABLE_ELEMENTS_MAX + 1)]] }) },
    { name: "many tables", bytes: bytesOf({ tables: Array.from({ length: 5 }, () => [0x70, 0, 1]) }) },
    {
      name: "a count of what is not there",
      bytes: bytesOf({ sections: new Map([[3, [0xff, 0xff, 0xff, 0xff, 0x0f]]]) }),
    },
  ]),
  ...of("feature_forbidden", [
    {
      name: "an endless tail call",
      bytes: bytesOf({ handle: [0, 0x20, 0, 0x20, 1, 0x12, 1, END] }),
      says: "tail",
    },
    {
      name: "an endless indirect tail call",
      bytes: bytesOf({ tables: [[0x70, 0, 1]], handle: [0, 0x20, 0, 0x20, 1, 0x41, 0, 0x13, 1, 0, END] }),
      says: "tail",
    },
    // Only another thread could change an output while it is read: there is no memory that two share.
    { name: "a shared memory", bytes: bytesOf({ memory: [3, 1, 2] }), says: "shared" },
    {
      name: "an atomic wait",
      bytes: bytesOf({ handle: [0, 0x41, 0, 0x41, 0, 0x42, 0x7f, 0xfe, 1, 2, 0, 0x1a, ...TAIL] }),
      says: "thread",
    },
    { name: "a memory of 64-bit addresses", bytes: bytesOf({ memory: [4, 1] }), says: "wasm32" },
    // Some of its instructions may differ from machine to machine.
    { name: "relaxed SIMD", bytes: bytesOf({ handle: [0, 0xfd, 0x80, 0x02, 0x1a, ...TAIL] }), says: "SIMD" },
    {
      name: "an endless exception handler",
      bytes: bytesOf({ handle: [0, 0x06, 0x40, END, ...TAIL] }),
      says: "exceptions",
    },
  ]),
  ...of("module_invalid", [
    { name: "the fuel, by its coming index", bytes: bytesOf({ handle: [0, 0x42, 0x7f, 0x24, 0, ...TAIL] }) },
    {
      name: "a helper of the pass, by its coming index",
      bytes: bytesOf({ handle: [0, 0x41, 0, 0x10, 2, 0x1a, ...TAIL] }),
    },
    {
      name: "a type of the pass, by its coming index",
      bytes: bytesOf({ handle: [0, 0x41, 0, 0x02, 3, END, 0x1a, ...TAIL] }),
    },
    { name: "the pass's own local, by its coming index", bytes: bytesOf({ handle: [0, 0x20, 2, END] }) },
    { name: "the fuel as an export", bytes: bytesOf({ exports: [["fuel", 3, 0]] }) },
    { name: "code behind a function's end", bytes: bytesOf({ handle: [0, 0x42, 0, END, END] }) },
  ]),
  ...of("export_reserved", [
    {
      name: "a meter of its own",
      bytes: guest(NOTHING, '(global (export "__pn_fuel") (mut i64) (i64.const 1000))'),
    },
  ]),
  ...of("import_forbidden", [
    { name: "an import", bytes: bytesOf({ sections: new Map([[2, [1, 1, 0x61, 1, 0x66, 0, 2]]]) }) },
  ]),
];
