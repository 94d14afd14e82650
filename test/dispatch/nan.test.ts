/**
 * A NaN that a handler has computed has the same bits on every machine, wherever it looks at them. The specification
 * leaves its sign and payload open: 0/0 is negative on x86, positive on ARM, and positive where a compiler folds it.
 */
import { describe, expect, test } from "vitest";
import { admit } from "../../src/dispatch/admission.ts";
import { admitted, guest, problemsOf } from "./guests.ts";

const CANONICAL = { f32: 0x7fc0_0000n, f64: 0x7ff8_0000_0000_0000n };
type Float = keyof typeof CANONICAL;

const x = (float: Float): string => `(global.get $zero_${float})`;

/** All that computes a NaN: of numbers, and of a NaN with another sign and payload. */
function producers(float: Float): readonly string[] {
  const odd = `(global.get $odd_${float})`;
  const other = float === "f32" ? "f64" : "f32";
  const converted = `(${float}.${float === "f32" ? "demote_f64" : "promote_f32"} (global.get $odd_${other}))`;
  const of = ["add", "sub", "mul", "div", "min", "max"].flatMap((op) => [
    `(${float}.${op} ${odd} ${x(float)})`,
    `(${float}.${op} ${x(float)} ${odd})`,
  ]);
  const unary = ["sqrt", "ceil", "floor", "trunc", "nearest"].map((op) => `(${float}.${op} ${odd})`);
  const zeros = `(${float}.div ${x(float)} ${x(float)})`;
  const root = `(${float}.sqrt (${float}.sub ${x(float)} (${float}.const 1)))`;
  const infinity = `(${float}.sub (${float}.const inf) (${float}.add ${x(float)} (${float}.const inf)))`;
  return [zeros, `(${float}.add ${zeros} ${zeros})`, root, infinity, converted, ...of, ...unary];
}

/** All ways in which the bits of a value get into an integer. */
const OBSERVERS: Readonly<Record<string, (value: string, float: Float) => string>> = {
  reinterpreted: (value, float) => bits(value, float),
  stored: (value, float) => `(${float}.store (i32.const 8) ${value}) ${loaded(float)}`,
  "in a local": (value, float) => `(local.set $${float} ${value}) ${bits(`(local.get $${float})`, float)}`,
  "in a teed local": (value, float) =>
    `(drop (local.tee $${float} ${value})) ${bits(`(local.get $${float})`, float)}`,
  "in a global": (value, float) => `(global.set $${float} ${value}) ${bits(`(global.get $${float})`, float)}`,
  "as an argument": (value, float) => `(call $bits_${float} ${value})`,
  "as an argument of an indirect call": (value, float) =>
    `(call_indirect (type $bits_${float}) ${value} (i32.const ${float === "f32" ? 0 : 1}))`,
  "as a block's result": (value, float) => bits(`(block (result ${float}) ${value})`, float),
  "as a branch's value": (value, float) => bits(`(block $b (result ${float}) (br $b ${value}))`, float),
  "as a conditional branch's value": (value, float) =>
    bits(`(block $b (result ${float}) (br_if $b ${value} (i32.eqz (local.get 0))))`, float),
  "as an if's result": (value, float) =>
    bits(`(if (result ${float}) (i32.eqz (local.get 0)) (then ${value}) (else ${x(float)}))`, float),
  "as a function's result": (value, float) => `(call $bits_${float} (call $same_${float} ${value}))`,
  selected: (value, float) => bits(`(select ${value} ${x(float)} (i32.eqz (local.get 0)))`, float),
  "with its sign taken away and given back": (value, float) =>
    bits(`(${float}.neg (${float}.neg (${float}.copysign ${value} ${value})))`, float),
};

function bits(value: string, float: Float): string {
  return float === "f32"
    ? `(i64.extend_i32_u (i32.reinterpret_f32 ${value}))`
    : `(i64.reinterpret_f64 ${value})`;
}

function loaded(float: Float): string {
  return float === "f32" ? "(i64.load32_u (i32.const 8))" : "(i64.load (i32.const 8))";
}

const MORE = (["f32", "f64"] as const)
  .map(
    (float) => `
    (global $zero_${float} (mut ${float}) (${float}.const 0))
    (global $odd_${float} (mut ${float}) (${float}.const -nan:${float === "f32" ? "0x212345" : "0x4567890123456"}))
    (global $${float} (mut ${float}) (${float}.const 0))
    (type $bits_${float} (func (param ${float}) (result i64)))
    (func $bits_${float} (type $bits_${float}) (param ${float}) (result i64) ${bits("(local.get 0)", float)})
    (func $same_${float} (param ${float}) (result ${float}) (local.get 0))`,
  )
  .join("")
  .concat("(table funcref (elem $bits_f32 $bits_f64))");

const LOCALS = ["f32", "f64"]
  .flatMap((float) => ["", "_2", "_3"].map((more) => `(local $${float}${more} ${float})`))
  .join(" ");

function run(body: string, module = admitted(source(body))): bigint {
  const { pn_handle, __pn_fuel } = new WebAssembly.Instance(module).exports;
  if (typeof pn_handle !== "function") throw new Error("no handler");
  if (__pn_fuel instanceof WebAssembly.Global) __pn_fuel.value = 1_000_000n;
  return BigInt.asUintN(64, BigInt(pn_handle(0, 0) as bigint));
}

function source(body: string): Uint8Array<ArrayBuffer> {
  return guest(`${LOCALS} ${body}`, MORE);
}

describe.each(["f32", "f64"] as const)("a computed NaN of %s is canonical", (float) => {
  test.each(Object.entries(OBSERVERS))("%s", (_name, observe) => {
    for (const value of producers(float))
      expect([value, run(observe(value, float))]).toEqual([value, CANONICAL[float]]);
  });

  test("where only its sign is copied", () => {
    for (const value of producers(float)) {
      const sign = `(i64.extend_i32_u (${float}.lt (${float}.copysign (${float}.const 1) ${value}) ${x(float)}))`;
      expect([value, run(sign)]).toEqual([value, 0n]);
    }
  });

  test("below other operands, across blocks and branches that leave it where it is", () => {
    for (const value of producers(float)) {
      const over = `(block (br_if 0 (local.get 0))) (if (local.get 0) (then (return (i64.const 1))))`;
      const body = `(i64.add ${bits(`(block (result ${float}) ${value} ${over})`, float)} (i64.const 0))`;
      expect([value, run(body)]).toEqual([value, CANONICAL[float]]);
    }
  });
});

describe("what is not computed keeps its bits", () => {
  const MOVES: Readonly<Record<string, (value: string, float: Float) => string>> = {
    ...OBSERVERS,
    "without its sign": (value, float) => bits(`(${float}.abs ${value})`, float),
    negated: (value, float) => bits(`(${float}.neg ${value})`, float),
    "through three variables": (value, float) =>
      `(local.set $${float} ${value}) (local.set $${float}_2 (local.get $${float}))
        (local.set $${float}_3 (local.get $${float}_2)) ${bits(`(local.get $${float}_3)`, float)}`,
    "with another sign": (value, float) => bits(`(${float}.copysign ${value} (${float}.const 1))`, float),
  };
  test.each(Object.entries(MOVES))("%s", (_name, observe) => {
    for (const float of ["f32", "f64"] as const) {
      const body = observe(`(global.get $odd_${float})`, float);
      const raw = run(body, new WebAssembly.Module(source(body)));
      expect(run(body)).toBe(raw);
      expect(raw & 0xffffffn).not.toBe(0n);
    }
  });
});

test("numbers are what they were, and only what is seen costs code", () => {
  const sum = "(f64.add (f64.mul (f64.const 1.5) (f64.const 4)) (f64.sqrt (f64.const 16)))";
  expect(run(bits(sum, "f64"))).toBe(0x4024_0000_0000_0000n);
  const sizes = [sum, `(f64.neg ${sum})`].map((value) => {
    const admission = admit(source(`(i64.extend_i32_u (f64.lt ${value} (f64.const 11)))`));
    return admission.ok ? admission.instrumented.length : problemsOf(admission);
  });
  // The comparison ignores which NaN it gets; `neg` does not: one check is added, not three.
  const [unseen, seen] = sizes;
  expect(Number(seen) - Number(unseen)).toBeGreaterThan(15);
  expect(Number(seen) - Number(unseen)).toBeLessThan(30);
});
