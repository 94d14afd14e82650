/** What is admitted, and what is refused with which code: each refusal says what, where, and what to do. */
import { describe, expect, test } from "vitest";
import { admit, FUEL_PASS_VERSION } from "../../src/dispatch/admission.ts";
import * as limits from "../../src/limits.ts";
import { answer, answering, assemble, bytesOf, guest, I32, leb, problemsOf, repeated } from "./guests.ts";

const END = 0x0b;
/** `i64.const 0 end`: a pn_handle that answers nothing. */
const TAIL = [0x42, 0, END];

function refusalOf(bytes: Uint8Array): { code: string; detail: string } {
  const [problem] = problemsOf(admit(bytes));
  return problem ?? { code: "admitted", detail: "" };
}

describe("an admitted module", () => {
  test("is instrumented, and keeps no custom section and no start section", () => {
    const admission = admit(bytesOf({ functions: [{ type: 2, body: [0, END] }], start: 2 }));
    if (!admission.ok) throw new Error(JSON.stringify(admission.problems));
    const module = new WebAssembly.Module(admission.instrumented);
    const names = WebAssembly.Module.exports(module).map(({ name }) => name);
    expect(names).toEqual([
      "memory",
      "pn_alloc",
      "pn_handle",
      "__pn_fuel",
      "__pn_stack",
      "__pn_oom",
      "__pn_start",
    ]);
    expect(WebAssembly.Module.imports(module)).toEqual([]);
    expect(Number.isInteger(FUEL_PASS_VERSION)).toBe(true);
  });

  test("is the same for the same bytes, and the original is left alone", () => {
    const original = answering('{"reply":null}');
    const copy = original.slice();
    expect(admit(original)).toEqual(admit(original));
    expect(original).toEqual(copy);
  });

  test("has its memory and tables clamped", () => {
    const admission = admit(guest("(i64.const 0)", '(table (export "t") 1 funcref)', "1 65536"));
    if (!admission.ok) throw new Error(JSON.stringify(admission.problems));
    const { memory, t } = new WebAssembly.Instance(new WebAssembly.Module(admission.instrumented)).exports;
    if (!(memory instanceof WebAssembly.Memory && t instanceof WebAssembly.Table))
      throw new Error("no exports");
    expect(() => memory.grow(limits.WASM_MEMORY_PAGES_MAX)).toThrow(RangeError);
    expect(memory.grow(limits.WASM_MEMORY_PAGES_MAX - 1)).toBe(1);
    expect(() => t.grow(limits.WASM_TABLE_ELEMENTS_MAX)).toThrow(RangeError);
  });

  test.each([
    ["sign extension", "(i64.extend_i32_u (i32.extend8_s (i32.const 200)))"],
    ["saturating conversion", "(i64.trunc_sat_f64_u (f64.const 1e300))"],
    ["bulk memory", "(memory.fill (i32.const 0) (i32.const 1) (i32.const 9)) (i64.const 0)"],
    ["reference types", "(drop (ref.func $handle)) (i64.const 0)", "(elem declare func $handle)"],
  ])("may use %s", (_name, body, more = "") => {
    expect(problemsOf(admit(guest(body, more)))).toEqual([]);
  });

  test("may use several results", () => {
    const pair = [0x60, 0, 2, I32, I32];
    const body = [0, 0x41, 1, 0x41, 2, END];
    expect(problemsOf(admit(bytesOf({ types: [pair], functions: [{ type: 3, body }] })))).toEqual([]);
  });
});

describe("the interface", () => {
  test.each([
    [
      "an import",
      '(module (import "env" "f" (func)) (memory (export "memory") 1))',
      "import_forbidden",
      "env",
    ],
    ["WASI", '(module (import "wasi_snapshot_preview1" "fd_write" (func)))', "import_forbidden", "WASI"],
    ["no memory", "(module (func))", "export_missing", "memory"],
    ["memory not exported", "(module (memory 1))", "export_missing", "memory"],
    ["no pn_alloc", '(module (memory (export "memory") 1))', "export_missing", "pn_alloc"],
    [
      "a function exported as memory",
      '(module (memory 1) (func (export "memory")))',
      "export_missing",
      "memory",
    ],
  ])("%s", (_name, wat, code, word) => {
    const refusal = refusalOf(assemble(wat));
    expect(refusal.code).toBe(code);
    expect(refusal.detail).toContain(word);
  });

  test.each([
    ["pn_alloc as a global", '(global (export "pn_alloc") i32 (i32.const 0))'],
    ["pn_alloc of another type", '(func (export "pn_alloc") (param i64) (result i32) (i32.const 0))'],
  ])("%s", (_name, alloc) => {
    const handle = '(func (export "pn_handle") (param i32 i32) (result i64) (i64.const 0))';
    const refusal = refusalOf(assemble(`(module (memory (export "memory") 1) ${alloc} ${handle})`));
    expect(refusal).toEqual({
      code: "export_missing",
      detail: "the module exports with another type, which must be: pn_alloc(size: i32) -> i32",
    });
  });

  test("_initialize is optional, but has its type", () => {
    expect(problemsOf(admit(guest("(i64.const 0)", '(func (export "_initialize"))')))).toEqual([]);
    const wrong = '(func (export "_initialize") (param i32))';
    expect(refusalOf(guest("(i64.const 0)", wrong)).code).toBe("export_missing");
  });

  test.each(["__pn_fuel", "__pn_stack", "__pn_oom", "__pn_start", "__pn_other"])(
    "forged export %s",
    (name) => {
      const forged = `(global (export "${name}") (mut i64) (i64.const 1000))`;
      expect(refusalOf(guest("(i64.const 0)", forged)).code).toBe("export_reserved");
    },
  );
});

describe("a feature that is not admitted", () => {
  test.each([
    ["SIMD", [0, 0xfd, 0x0c, ...Array.from({ length: 16 }, () => 0), 0x1a, ...TAIL], "simd"],
    ["a v128 local", [1, 1, 0x7b, ...TAIL], "SIMD"],
    ["an atomic", [0, 0xfe, 0x03, 0, ...TAIL], "thread"],
    ["a GC instruction", [0, 0xfb, 0, 0, ...TAIL], "garbage"],
    ["throw", [0, 0x08, 0, ...TAIL], "exceptions"],
    ["try", [0, 0x06, 0x40, END, ...TAIL], "exceptions"],
    ["try_table", [0, 0x1f, 0x40, 0, END, ...TAIL], "exceptions"],
    ["return_call", [0, 0x41, 0, 0x41, 0, 0x12, 1, END], "tail"],
    ["return_call_indirect", [0, 0x41, 0, 0x41, 0, 0x41, 0, 0x13, 1, 0, END], "tail"],
    ["call_ref", [0, 0x14, 0, ...TAIL], "references"],
    ["an unknown instruction", [0, 0xff, ...TAIL], "none of"],
    ["an unknown bulk instruction", [0, 0xfc, 99, ...TAIL], "none of"],
    ["a second memory in a load", [0, 0x41, 0, 0x28, 0x42, 1, 0, 0x1a, ...TAIL], "memories"],
    ["a second memory in memory.size", [0, 0x3f, 1, 0x1a, ...TAIL], "memories"],
  ])("%s", (_name, handle, word) => {
    const refusal = refusalOf(bytesOf({ handle }));
    expect(refusal.code).toBe("feature_forbidden");
    expect(refusal.detail).toContain(word);
    expect(refusal.detail).toMatch(/^function 1 "pn_handle" at byte \d+: /);
  });

  test.each([
    ["a shared memory", bytesOf({ memory: [3, 1, 2] }), "shared"],
    ["a 64-bit memory", bytesOf({ memory: [4, 1] }), "wasm32"],
    ["a 64-bit table", bytesOf({ tables: [[0x70, 4, 1]] }), "wasm32"],
    ["a second memory", bytesOf({ sections: new Map([[5, [2, 0, 1, 0, 1]]]) }), "memories"],
    ["a tag section", bytesOf({ sections: new Map([[13, [1, 0, 2]]]) }), "exceptions"],
    ["a struct type", bytesOf({ types: [[0x5f, 0]] }), "garbage"],
    ["a table of other references", bytesOf({ tables: [[0x6e, 0, 1]] }), "neither funcref nor externref"],
    ["a global of another type", bytesOf({ globals: [[0x6e, 0, 0xd0, 0x6e, END]] }), "0x6e is not admitted"],
    ["a section of another proposal", new Uint8Array([...bytesOf({}), 14, 1, 0]), "section 14"],
    ["a v128 parameter", bytesOf({ types: [[0x60, 1, 0x7b, 0]] }), "SIMD"],
    ["an extended constant", bytesOf({ globals: [[I32, 0, 0x41, 1, 0x41, 1, 0x6a, END]] }), "constant"],
  ])("%s", (_name, bytes, word) => {
    const refusal = refusalOf(bytes);
    expect(refusal.code).toBe("feature_forbidden");
    expect(refusal.detail).toContain(word);
  });

  test("every function's first problem is reported, not only the first function's", () => {
    const simd = [0, 0xfd, 0x0c, END];
    const functions = [
      { type: 2, body: simd },
      { type: 2, body: [0, END] },
      { type: 2, body: simd },
    ];
    const details = problemsOf(admit(bytesOf({ functions }))).map(({ detail }) => detail.slice(0, 10));
    expect(details).toEqual(["function 2", "function 4"]);
  });
});

describe("a bound", () => {
  const blocks = (times: number): Uint8Array =>
    repeated([0, ...Array.from({ length: times }, () => [0x02, 0x40]).flat()], [END], times, TAIL);

  test.each([
    [
      "50,000 locals in 32 KB",
      bytesOf({ handle: repeated([1, ...leb(50_000), I32], [0x02, 0x40, END], 10_900, TAIL) }),
    ],
    [
      "locals in groups that add up",
      bytesOf({ handle: [3, ...leb(4000), I32, ...leb(4000), I32, 1, I32, ...TAIL] }),
    ],
    ["2^32 - 1 locals", bytesOf({ handle: [1, 0xff, 0xff, 0xff, 0xff, 0x0f, I32, ...TAIL] })],
    [
      "locals × branches",
      bytesOf({ handle: repeated([1, ...leb(4000), I32], [0x02, 0x40, END], 8000, TAIL) }),
    ],
    ["locals × loops", bytesOf({ handle: repeated([1, ...leb(4000), I32], [0x03, 0x40, END], 4000, TAIL) })],
    [
      "operands × branches",
      bytesOf({
        handle: repeated(Array.from(repeated([0], [0x41, 0], 4000, [])), [0x02, 0x40, END], 8000, [0, END]),
      }),
    ],
    ["a function of more than 256 KiB", bytesOf({ handle: repeated([0], [0x01], 256 * 1024, TAIL) })],
    ["deep blocks", bytesOf({ handle: blocks(limits.WASM_BLOCK_NESTING_MAX) })],
    ["a long br_table", bytesOf({ handle: repeated([0, 0x41, 0, 0x0e, ...leb(9000)], [0], 9001, TAIL) })],
    ["a large memory", bytesOf({ memory: [0, ...leb(limits.WASM_MEMORY_PAGES_MAX + 1)] })],
    ["a large table", bytesOf({ tables: [[0x70, 0, ...leb(limits.WASM_TABLE_ELEMENTS_MAX + 1)]] })],
    ["many tables", bytesOf({ tables: Array.from({ length: 5 }, () => [0x70, 0, 1]) })],
    ["many parameters", bytesOf({ types: [[0x60, 65, ...Array.from({ length: 65 }, () => I32), 0]] })],
    ["many results", bytesOf({ types: [[0x60, 0, 17, ...Array.from({ length: 17 }, () => I32)]] })],
    ["many types", bytesOf({ types: Array.from({ length: 4096 }, () => [0x60, 0, 0]) })],
    ["many globals", bytesOf({ globals: Array.from({ length: 1025 }, () => [I32, 0, 0x41, 0, END]) })],
    [
      "many exports",
      bytesOf({ exports: Array.from({ length: 1024 }, (_, i): [string, number, number] => [`e${i}`, 0, 0]) }),
    ],
    [
      "many functions",
      bytesOf({ functions: Array.from({ length: 20_000 }, () => ({ type: 2, body: [0, END] })) }),
    ],
    ["a count that is not there", bytesOf({ sections: new Map([[3, [0xff, 0xff, 0xff, 0xff, 0x0f]]]) })],
    [
      "many elements",
      bytesOf({
        elements: [
          [1, 0, ...leb(6000), ...repeated([], [0], 6000, [])],
          [1, 0, ...leb(6000), ...repeated([], [0], 6000, [])],
        ],
      }),
    ],
    [
      "many elements in one segment",
      bytesOf({ elements: [[1, 0, ...leb(10_001), ...repeated([], [0], 10_001, [])]] }),
    ],
    ["many element segments", bytesOf({ elements: Array.from({ length: 4097 }, () => [1, 0, 0]) })],
    ["many segments announced", bytesOf({ sections: new Map([[12, leb(4097)]]) })],
    ["many data segments", bytesOf({ sections: new Map([[11, [...leb(4097)]]]) })],
  ])("%s", (_name, bytes) => {
    const refusal = refusalOf(bytes);
    expect(refusal.code).toBe("bound_exceeded");
  });

  test("blocks just within the bound are admitted", () => {
    expect(refusalOf(bytesOf({ handle: blocks(limits.WASM_BLOCK_NESTING_MAX - 1) })).code).toBe("admitted");
  });

  test("many functions, each within its bound, exceed the module's", () => {
    const body = repeated([1, ...leb(4000), I32], [0x02, 0x40, END], 5000, [END]);
    const functions = Array.from({ length: 5 }, () => ({ type: 2, body }));
    expect(refusalOf(bytesOf({ functions })).detail).toContain("functions");
  });

  test("a module of more than 4 MiB", () => {
    expect(refusalOf(new Uint8Array(limits.WASM_MODULE_BYTES_MAX + 1)).code).toBe("module_too_large");
  });
});

describe("an invalid module", () => {
  test.each([
    ["no bytes", new Uint8Array()],
    ["a component of another version", new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x0c, 0x00, 0x01, 0x00])],
    ["a type error", bytesOf({ handle: [0, 0x41, 0, END] })],
    ["a section twice", new Uint8Array([...bytesOf({}), 3, 1, 0])],
    ["a section past the end", new Uint8Array([...bytesOf({}), 11, 100, 0])],
    ["code after the end", bytesOf({ handle: [0, 0x42, 0, END, END] })],
    ["code without its end", bytesOf({ handle: [0, 0x42, 0] })],
    ["an else without an if", bytesOf({ handle: [0, 0x05, ...TAIL] })],
    ["more functions than bodies", bytesOf({ sections: new Map([[3, [3, 0, 1, 2]]]) })],
    [
      "a select of several values",
      bytesOf({ handle: [0, 0x42, 0, 0x42, 0, 0x41, 0, 0x1c, 2, 0x7e, 0x7e, END] }),
    ],
    ["an unknown kind of element segment", bytesOf({ elements: [[8, 0]] })],
    ["an unknown kind of data segment", bytesOf({ sections: new Map([[11, [1, 3, 0]]]) })],
    ["a name that is not UTF-8", bytesOf({ sections: new Map([[7, [1, 1, 0xff, 0, 0]]]) })],
    ["an unknown type", bytesOf({ functions: [{ type: 99, body: [0, END] }] })],
    // What follows exists after the rewrite, and must not before it.
    ["__pn_fuel by its coming index", bytesOf({ handle: [0, 0x42, 0x7f, 0x24, 0, ...TAIL] })],
    [
      "__pn_fuel beside an own global",
      bytesOf({ globals: [[I32, 0, 0x41, 0, END]], handle: [0, 0x42, 0, 0x24, 1, ...TAIL] }),
    ],
    ["a helper's coming index", bytesOf({ handle: [0, 0x41, 0, 0x10, 2, 0x1a, ...TAIL] })],
    ["the added type's coming index", bytesOf({ handle: [0, 0x41, 0, 0x02, 3, END, 0x1a, ...TAIL] })],
    ["the scratch local's coming index", bytesOf({ handle: [0, 0x20, 2, END] })],
    ["a start function with a parameter", bytesOf({ start: 0 })],
    ["a start function that does not exist", bytesOf({ start: 9 })],
    ["an export of a helper", bytesOf({ exports: [["charge", 0, 2]] })],
    ["an export of __pn_fuel under another name", bytesOf({ exports: [["fuel", 3, 0]] })],
  ])("%s", (_name, bytes) => {
    expect(refusalOf(bytes).code).toBe("module_invalid");
  });

  test("cut anywhere, it is refused and nothing throws", () => {
    const whole = answering('{"reply":1}');
    for (let length = 0; length < whole.length; length++)
      expect(admit(whole.subarray(0, length)).ok).toBe(false);
  });

  test("with any one byte changed, the rewrite never breaks what was valid", () => {
    const whole = guest(`(memory.fill (i32.const 0) (i32.const 1) (i32.const 9)) ${answer(0, 2)}`);
    const broken: string[] = [];
    for (let at = 0; at < whole.length; at++) {
      for (const change of [1, 2, 0x10, 0x80, 0xff]) {
        const changed = whole.slice();
        changed[at] = (changed[at] ?? 0) ^ change;
        const details = problemsOf(admit(changed)).map(({ detail }) => detail);
        broken.push(...details.filter((detail) => detail.includes("instrumented")));
      }
    }
    expect(broken).toEqual([]);
  });
});
