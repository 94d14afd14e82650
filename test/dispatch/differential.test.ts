/** The fuel pass changes nothing but the fuel: every program does the same with it and without it. */
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { admitted, bytesOf, guest, I32, I64 } from "./guests.ts";
import { program } from "./programs.ts";

interface Observed {
  readonly result: string;
  readonly memory: Uint8Array;
  readonly fuel: bigint;
  /** Call stack still taken at the end: 0 after a turn that did not trap. */
  readonly stack: bigint;
}

type Call = (instance: Record<string, CallableFunction>, memory: WebAssembly.Memory) => unknown;

/** What the caller sees: the result or the trap, and every byte of memory. */
function observe(module: WebAssembly.Module, fuel: bigint | undefined, call: Call): Observed {
  const { exports } = new WebAssembly.Instance(module);
  const { memory, __pn_fuel, __pn_stack, __pn_start } = exports;
  if (!(memory instanceof WebAssembly.Memory)) throw new Error("no memory");
  const meter = __pn_fuel instanceof WebAssembly.Global ? __pn_fuel : undefined;
  if (meter !== undefined && fuel !== undefined) meter.value = fuel;
  const stack = (): bigint => (__pn_stack instanceof WebAssembly.Global ? BigInt(__pn_stack.value) : 0n);
  const stack_before = stack();
  let result: string;
  try {
    if (typeof __pn_start === "function") __pn_start();
    result = String(call(exports as Record<string, CallableFunction>, memory));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    result = `trap: ${error.message}`;
  }
  return {
    result,
    memory: new Uint8Array(memory.buffer),
    fuel: (fuel ?? 0n) - BigInt(meter?.value ?? 0n),
    stack: stack_before - stack(),
  };
}

/** Loops within loops can take for ever: what needs more is left out, and the meter is what finds it. */
const PLENTY = 3_000_000n;

/** What the pass changed: "nothing", or "too long" where the program was not compared. */
function difference(original: Uint8Array<ArrayBuffer>, call: Call): string {
  const module = admitted(original);
  const metered = observe(module, PLENTY, call);
  if (metered.fuel > PLENTY) return "too long";
  const raw = observe(new WebAssembly.Module(original), undefined, call);
  if (metered.result !== raw.result) return `${raw.result} became ${metered.result}`;
  if (Buffer.compare(metered.memory, raw.memory) !== 0) return "the memory";
  if (metered.stack !== 0n && !metered.result.startsWith("trap")) return "the stack";
  return observe(module, PLENTY, call).fuel === metered.fuel ? "nothing" : "the fuel, from run to run";
}

function handle(a: number, b: number): Call {
  return ({ pn_handle }) => pn_handle?.(a, b);
}

const decisions = fc.array(fc.nat(9999), { minLength: 20, maxLength: 900, size: "max" });

test("random programs do the same, and use the same fuel each time", () => {
  fc.assert(
    fc.property(decisions, fc.integer(), (list, a) => {
      const original = program(list);
      expect(WebAssembly.validate(original)).toBe(true);
      const changed = difference(original, handle(a, 7));
      fc.pre(changed !== "too long");
      expect(changed).toBe("nothing");
    }),
    { numRuns: 600 },
  );
});

test("with exactly the fuel it uses a random program ends the same, with less it ends earlier", () => {
  fc.assert(
    fc.property(decisions, (list) => {
      const module = admitted(program(list));
      const full = observe(module, PLENTY, handle(3, 7));
      fc.pre(full.fuel <= PLENTY);
      const exact = observe(module, full.fuel, handle(3, 7));
      expect(exact.result).toBe(full.result);
      const short = observe(module, full.fuel - 1n, handle(3, 7));
      expect(short.result).toBe("trap: unreachable");
      expect(short.fuel).toBeGreaterThanOrEqual(full.fuel);
    }),
    { numRuns: 200 },
  );
});

describe("by hand", () => {
  const add = "(i64.add (local.get $x) (i64.const 1))";
  test.each([
    ["an early return", "(if (local.get 0) (then (return (i64.const 5)))) (i64.const 6)"],
    ["a return under values", "(i64.add (i64.const 1) (return (call $inc (i64.const 5))))"],
    [
      "a return in a loop in a block",
      "(block (loop $l (br_if $l (i32.eqz (local.tee 0 (i32.or (local.get 0) (i32.const 1))))) (return (call $inc (i64.const 8))))) (i64.const 1)",
    ],
    ["a branch to the function", "(br 0 (call $inc (i64.const 5)))"],
    ["a branch to the function from inside", "(block (loop (br 2 (call $inc (i64.const 5))))) (i64.const 1)"],
    ["br_if to the function", "(br_if 0 (call $inc (i64.const 5)) (local.get 0))"],
    [
      "br_table to the function",
      "(block $b (result i64) (br_table $b 1 $b (call $inc (i64.const 5)) (local.get 0)))",
    ],
    [
      "a call after each",
      "(if (local.get 0) (then (br 1 (i64.const 5)))) (call $inc (call $inc (i64.const 0)))",
    ],
    ["select and drop", "(drop (i32.const 1)) (select (i64.const 1) (i64.const 2) (local.get 0))"],
    ["memory.grow", "(drop (memory.grow (i32.const 2))) (i64.extend_i32_u (memory.size))"],
  ])("%s", (_name, body) => {
    const original = guest(body, `(func $inc (param $x i64) (result i64) ${add})`);
    for (const a of [0, 1, 2, -1]) expect(difference(original, handle(a, 0))).toBe("nothing");
  });

  test("calls come back with the stack as it was: hundreds in a row, a hundred deep", () => {
    const deep =
      "(func $d (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.add (i32.const 1) (call $d (i32.sub (local.get 0) (i32.const 1))))) (else (return (i32.const 0)))))";
    const loop =
      "(local $i i32) (local.set $i (i32.const 500)) (loop $l (drop (call $d (i32.const 100))) (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))";
    expect(
      difference(guest(`${loop} (i64.extend_i32_u (call $d (i32.const 100)))`, deep), handle(0, 0)),
    ).toBe("nothing");
  });

  test("several results by return, by branch and by falling through", () => {
    const pair = [0x60, 1, I32, 2, I32, I64];
    // local.get 0, if: return (1, 2); local.get 0 … br 0 with (3, 4) when it is negative; (5, 6), and a call to count.
    const body = [
      0, 0x20, 0, 0x41, 1, 0x46, 0x04, 0x40, 0x41, 1, 0x42, 2, 0x0f, 0x0b, 0x41, 3, 0x42, 4, 0x20, 0, 0x41, 0,
      0x48, 0x0d, 0, 0x1a, 0x1a, 0x10, 3, 0x41, 5, 0x42, 6, 0x0b,
    ];
    // pn_handle: (a, b) -> call pair(a); i64 * 100 + i32
    const sum = [1, 1, I64, 0x20, 0, 0x10, 2, 0x21, 2, 0xad, 0x20, 2, 0x42, 0xe4, 0, 0x7e, 0x7c, 0x0b];
    const functions = [
      { type: 3, body },
      { type: 2, body: [0, 0x0b] },
    ];
    const original = bytesOf({ types: [pair], handle: sum, functions });
    for (const a of [0, 1, -1]) expect(difference(original, handle(a, 0))).toBe("nothing");
    expect(observe(new WebAssembly.Module(original), undefined, handle(1, 0)).result).toBe("201");
  });
});

test("the account handler, built by a real compiler, answers the same bytes", () => {
  const original = new Uint8Array(readFileSync(new URL("../../wasm/account/account.wasm", import.meta.url)));
  const state = { owner: 'Ä "quoted" \\ 😀', balance: 10 };
  for (const message of ["open", "deposit", "withdraw", "balance", "close", "unknown"]) {
    const input = utf8(
      JSON.stringify({ state, message, args: { amount: 7 }, caps: [], now: 1, seed: "0", actor: "a/b" }),
    );
    const changed = difference(original, ({ pn_alloc, pn_handle }, memory) => {
      const ptr: unknown = pn_alloc?.(input.length);
      new Uint8Array(memory.buffer).set(input, Number(ptr));
      return pn_handle?.(ptr, input.length);
    });
    expect(changed).toBe("nothing");
  }
});
