/**
 * Random programs of floats show the same bits as if each of their computed NaNs were made canonical on the spot: what the
 * pass leaves out (wasm-nans.ts) cannot be seen. NaNs that are moved keep their bits in both.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { admitted, assemble } from "./guests.ts";

const LOCALS = ["$p", "$a", "$b", "$c", "$d"] as const;

type Expression =
  | { readonly kind: "get"; readonly local: string }
  | { readonly kind: "const"; readonly text: string }
  | { readonly kind: "load" | "same" | "neg" | "abs"; readonly of: Expression }
  | { readonly kind: "unary"; readonly op: string; readonly of: Expression }
  | { readonly kind: "binary"; readonly op: string; readonly of: readonly [Expression, Expression] }
  | { readonly kind: "copysign" | "select" | "if"; readonly of: readonly [Expression, Expression] };

type Statement =
  | { readonly kind: "set" | "tee" | "store"; readonly local: string; readonly value: Expression }
  | { readonly kind: "if" | "loop"; readonly body: readonly Statement[]; readonly value: Expression };

const local = fc.constantFrom(...LOCALS);
const { expression } = fc.letrec<{ expression: Expression }>((tie) => {
  const one = { of: tie("expression") };
  const two = { of: fc.tuple(tie("expression"), tie("expression")) };
  return {
    expression: fc.oneof(
      { maxDepth: 4 },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("get" as const), local }) },
      fc.record({
        kind: fc.constant("const" as const),
        text: fc.constantFrom("0", "-1", "2.5", "inf", "-nan:0x4000000000001"),
      }),
      fc.record({
        kind: fc.constantFrom("load" as const, "same" as const, "neg" as const, "abs" as const),
        ...one,
      }),
      fc.record({
        kind: fc.constant("unary" as const),
        op: fc.constantFrom("sqrt", "floor", "nearest"),
        ...one,
      }),
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant("binary" as const),
          op: fc.constantFrom("add", "sub", "mul", "div", "min"),
          ...two,
        }),
      },
      fc.record({ kind: fc.constantFrom("copysign" as const, "select" as const, "if" as const), ...two }),
    ),
  };
});
const { statements } = fc.letrec<{ statements: readonly Statement[] }>((tie) => ({
  statements: fc.array(
    fc.oneof(
      { maxDepth: 3 },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constantFrom("set" as const, "tee" as const, "store" as const),
          local,
          value: expression,
        }),
      },
      fc.record({
        kind: fc.constantFrom("if" as const, "loop" as const),
        body: tie("statements"),
        value: expression,
      }),
    ),
    { maxLength: 6 },
  ),
}));

/** @param canonical what stands around each computed value */
class Printer {
  readonly #canonical: (text: string) => string;
  #loops = 0;

  /** Declarations of their counters. */
  get counters(): string {
    return Array.from({ length: this.#loops }, (_, k) => `(local $k${k} i32)`).join(" ");
  }

  constructor(canonical: (text: string) => string) {
    this.#canonical = canonical;
  }

  value(given: Expression): string {
    switch (given.kind) {
      case "get":
        return `(local.get ${given.local})`;
      case "const":
        return `(f64.const ${given.text})`;
      case "load":
        return `(f64.load (i32.and (i32.trunc_sat_f64_s ${this.value(given.of)}) (i32.const 56)))`;
      case "same":
        return `(call $same ${this.value(given.of)})`;
      case "neg":
      case "abs":
        return `(f64.${given.kind} ${this.value(given.of)})`;
      case "unary":
        return this.#canonical(`(f64.${given.op} ${this.value(given.of)})`);
      case "binary":
        return this.#canonical(`(f64.${given.op} ${this.#both(given.of)})`);
      case "copysign":
        return `(f64.copysign ${this.#both(given.of)})`;
      case "select":
        return `(select ${this.#both(given.of)} (i32.and (local.get $n) (i32.const 1)))`;
      case "if":
      default: {
        const [a, b] = given.of;
        const arms = `(then ${this.value(a)}) (else ${this.value(b)})`;
        return `(if (result f64) (i32.and (local.get $n) (i32.const 2)) ${arms})`;
      }
    }
  }

  #both([a, b]: readonly [Expression, Expression]): string {
    return `${this.value(a)} ${this.value(b)}`;
  }

  statements(list: readonly Statement[]): string {
    return list.map((statement) => this.#statement(statement)).join(" ");
  }

  #statement(statement: Statement): string {
    const value = this.value(statement.value);
    switch (statement.kind) {
      case "set":
        return `(local.set ${statement.local} ${value})`;
      case "tee":
        return `(f64.store (i32.const 8) (local.tee ${statement.local} ${value}))`;
      case "store":
        return `(f64.store (i32.const 16) ${value})`;
      case "if":
        return `(if (f64.lt ${value} (f64.const 1)) (then ${this.statements(statement.body)}))`;
      case "loop":
      default:
        return this.#loop(`${this.statements(statement.body)} (f64.store (i32.const 24) ${value})`);
    }
  }

  /** Three rounds. */
  #loop(body: string): string {
    const k = this.#loops++;
    const again = `(local.tee $k${k} (i32.sub (local.get $k${k}) (i32.const 1)))`;
    return `(local.set $k${k} (i32.const 3)) (loop $l${k} ${body} (br_if $l${k} ${again}))`;
  }
}

/** All variables are shown at the end, too. */
function program(list: readonly Statement[], canonical: (text: string) => string): Uint8Array<ArrayBuffer> {
  const shown = LOCALS.map((name, i) => `(f64.store (i32.const ${64 + 8 * i}) (local.get ${name}))`);
  const printer = new Printer(canonical);
  const body = printer.statements(list);
  return assemble(`(module (memory (export "memory") 1)
    (func (export "pn_alloc") (param i32) (result i32) (i32.const 1024))
    (func $same (param f64) (result f64) (local.get 0))
    (func $canonical (param f64) (result f64)
      (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))
    (func $go (param $n i32) (param $p f64) (local $a f64) (local $b f64) (local $c f64) (local $d f64)
      ${printer.counters} ${body} ${shown.join(" ")})
    (func (export "pn_handle") (param $n i32) (param i32) (result i64)
      (call $go (local.get $n) (f64.const nan:0x1234567)) (i64.const 0)))`);
}

/** The memory that is left, as numbers. */
function shownBy(module: WebAssembly.Module, n: number): readonly bigint[] {
  const { memory, pn_handle, __pn_fuel } = new WebAssembly.Instance(module).exports;
  if (!(memory instanceof WebAssembly.Memory) || typeof pn_handle !== "function")
    throw new Error("no handler");
  if (__pn_fuel instanceof WebAssembly.Global) __pn_fuel.value = 1_000_000_000n;
  pn_handle(n, 0);
  return [...new BigUint64Array(memory.buffer, 0, 16)];
}

test("law: no computed NaN shows bits of its own, and none that was moved loses them", () => {
  const runs = 150 * Number(process.env["FUZZ"] ?? 1);
  fc.assert(
    fc.property(statements, fc.integer({ min: 0, max: 3 }), (list, n) => {
      const metered = admitted(program(list, (text) => text));
      const reference = new WebAssembly.Module(program(list, (text) => `(call $canonical ${text})`));
      expect(shownBy(metered, n)).toEqual(shownBy(reference, n));
    }),
    { numRuns: runs },
  );
});
