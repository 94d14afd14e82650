/** What runs is paid for, and what does not run is hardly paid for: also where branches pass code by. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { admitted, guest } from "./guests.ts";
import { COUNTED_FUEL, program } from "./programs.ts";

const PLENTY = 50_000_000n;

/** Fuel used and the module's global `steps`, however the call ends. */
function use(module: WebAssembly.Module, a: number): { fuel: number; steps: number } {
  const { pn_handle, __pn_fuel, steps } = new WebAssembly.Instance(module).exports;
  if (!(__pn_fuel instanceof WebAssembly.Global) || typeof pn_handle !== "function")
    throw new Error("no exports");
  __pn_fuel.value = PLENTY;
  try {
    pn_handle(a, 7);
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  }
  return {
    fuel: Number(PLENTY - BigInt(__pn_fuel.value)),
    steps: steps instanceof WebAssembly.Global ? Number(steps.value) : 0,
  };
}

test("a random program pays for every statement that it runs", () => {
  const decisions = fc.array(fc.nat(9999), { minLength: 20, maxLength: 900, size: "max" });
  let most = 0;
  fc.assert(
    fc.property(decisions, fc.integer(), (list, a) => {
      const { fuel, steps } = use(admitted(program(list, true)), a);
      expect(fuel).toBeGreaterThanOrEqual(steps * COUNTED_FUEL);
      most = Math.max(most, steps);
    }),
    { numRuns: 600 },
  );
  // By chance the longest of them is once in a while no longer than 20.
  expect(most).toBeGreaterThan(5);
});

describe("code that is passed by is hardly paid for", () => {
  const work = (units: number): string => "(drop (i32.const 0)) ".repeat(units / 2);
  const fuelOf = (body: string, a: number): number => use(admitted(guest(`${body} (i64.const 0)`)), a).fuel;

  test("an interpreter pays for one case at each step, not for all of them", () => {
    const cases = 200;
    const labels = Array.from({ length: cases }, (_, i) => `$${i}`);
    const dispatch = `(br_table ${labels.join(" ")} (i32.rem_u (local.get 0) (i32.const ${cases})))`;
    const next = "(local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $next (local.get 0)) (br $done)";
    const body = labels.reduce((inside, label) => `(block ${label} ${inside}) ${work(50)} ${next}`, dispatch);
    const fuel = fuelOf(`(block $done (loop $next ${body}))`, 1000);
    expect(fuel / 1000).toBeGreaterThan(50);
    expect(fuel / 1000).toBeLessThan(150);
  });

  test.each([
    ["an if", (code: string) => `(if (local.get 0) (then ${code}))`],
    ["an else", (code: string) => `(if (i32.eqz (local.get 0)) (then (nop)) (else ${code}))`],
    ["what a br_if jumps over", (code: string) => `(block $b (br_if $b (i32.eqz (local.get 0))) ${code})`],
    [
      "what follows an early end",
      (code: string) => `(block $b (block (br_if $b (i32.eqz (local.get 0)))) ${code})`,
    ],
  ])("%s", (_name, around) => {
    const passed = fuelOf(around(work(1000)), 0);
    expect(passed).toBeLessThan(100);
    expect(fuelOf(around(work(1000)), 1)).toBeGreaterThanOrEqual(1000);
  });

  test("but small branches get no charge of their own", () => {
    const small = fuelOf(`(if (local.get 0) (then ${work(10)}))`, 0);
    expect(small).toBe(fuelOf(`(if (local.get 0) (then ${work(10)}))`, 1));
  });
});
