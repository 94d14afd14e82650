/**
 * Sandbox rows: what a turn costs beside a bare instance, and what metering costs code that computes.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { admit } from "../src/dispatch/admission.ts";
import { FUEL_EXPORT } from "../src/dispatch/fuel.ts";
import { runTurn, type Turn } from "../src/dispatch/sandbox.ts";
import { DEPOSIT, expectDone } from "./callers.ts";
import { ROOT } from "./children.ts";
import { compare, type Measure, type Row, timed, withMore } from "./harness.ts";
import { type Kernel, kernels } from "./kernels.ts";

export const DEPOSIT_TURN: Turn = {
  state: '{"owner":"Bench","balance":1000}',
  message: "deposit",
  args: DEPOSIT,
  now_ms: 1_767_225_600_000,
  seed: "00112233445566778899aabbccddeeff",
  actor: "account/42",
};

export function accountBytes(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(ROOT, "wasm/account/account.wasm")));
}

export function admitted(bytes: Uint8Array): WebAssembly.Module {
  const admission = admit(bytes);
  if (!admission.ok) throw new Error(`the module is not admitted: ${JSON.stringify(admission.problems)}`);
  return new WebAssembly.Module(admission.instrumented);
}

/** Instances are garbage after one call, and their memories cost most when they are collected. */
export const INSTANCES_BATCH_MS = 150;

export async function freshVersusBare(seconds: number): Promise<readonly Row[]> {
  const raw = new WebAssembly.Module(accountBytes());
  const metered = admitted(accountBytes());
  const ours = timed(() => expectDone(runTurn(metered, DEPOSIT_TURN)), INSTANCES_BATCH_MS);
  const theirs = timed(() => new WebAssembly.Instance(raw), INSTANCES_BATCH_MS);
  const what =
    "a whole turn (runTurn of account.deposit), against a bare `new WebAssembly.Instance` that runs nothing";
  const spec = { id: "sandbox.fresh_vs_bare_instance", unit: "µs", better: "lower", what, seconds } as const;
  return [await compare(spec, ours, theirs)];
}

/** One instance, called again and again: only the kernel's own code is measured. */
function kernelMeasure(bytes: Uint8Array<ArrayBuffer>, metered: boolean, n: number): [Measure, () => bigint] {
  const module = metered ? admitted(bytes) : new WebAssembly.Module(bytes);
  const { exports } = new WebAssembly.Instance(module);
  const handle = exports["pn_handle"] as (n: number, unused: number) => bigint;
  const fuel = exports[FUEL_EXPORT];
  const plenty = 1n << 60n;
  const run = (): bigint => {
    if (fuel instanceof WebAssembly.Global) fuel.value = plenty;
    return handle(n, 0);
  };
  return [timed(run), run];
}

async function slowdownOf({ name, n, bytes }: Kernel, seconds: number): Promise<Row> {
  const [ours, runMetered] = kernelMeasure(bytes, true, n);
  const [theirs, runRaw] = kernelMeasure(bytes, false, n);
  if (runMetered() !== runRaw()) throw new Error(`${name} computes another result when it is metered`);
  const what = `metered against raw code of the worst of five kernels: ${name}`;
  return compare({ id: "sandbox.fuel_slowdown", unit: "µs", better: "lower", what, seconds }, ours, theirs);
}

export async function fuelSlowdown(seconds: number): Promise<readonly Row[]> {
  const rows: { readonly name: string; readonly row: Row }[] = [];
  const all = kernels();
  for (const kernel of all)
    rows.push({ name: kernel.name, row: await slowdownOf(kernel, seconds / all.length) });
  const sorted = rows.toSorted((a, b) => (b.row.ratio ?? 0) - (a.row.ratio ?? 0));
  const [worst] = sorted;
  if (worst === undefined) return [];
  const details = sorted.map(
    ({ name, row }) => [`${name.replaceAll(/\W+/g, "_")}_ratio`, row.ratio ?? 0] as const,
  );
  const note = sorted.map(({ name, row }) => `${name} ×${row.ratio?.toFixed(2)}`).join(", ");
  return [withMore(worst.row, Object.fromEntries(details), note)];
}
