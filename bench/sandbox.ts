/**
 * Sandbox rows: what a turn costs beside other fresh things and by the size of its state, and what metering costs code
 * that computes.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { admit } from "../src/dispatch/admission.ts";
import { FUEL_EXPORT } from "../src/dispatch/fuel.ts";
import { inputDocument, runTurn, type Turn } from "../src/dispatch/sandbox.ts";
import { DEPOSIT, expectDone } from "./callers.ts";
import { ROOT } from "./children.ts";
import { assemblyScriptKernels, cKernels } from "./compiled-kernels.ts";
import {
  compare,
  type Measure,
  measureAll,
  quantile,
  type Row,
  type Spec,
  timed,
  timedAsync,
  withMore,
} from "./harness.ts";
import { handlerOf, type Kernel, kernels } from "./kernels.ts";

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

const deposit = (module: WebAssembly.Module): unknown => expectDone(runTurn(module, DEPOSIT_TURN));

export async function freshVersusBare(seconds: number): Promise<readonly Row[]> {
  const raw = new WebAssembly.Module(accountBytes());
  const metered = admitted(accountBytes());
  const ours = timed(() => deposit(metered), INSTANCES_BATCH_MS);
  const theirs = timed(() => new WebAssembly.Instance(raw), INSTANCES_BATCH_MS);
  const what =
    "a whole turn (runTurn of account.deposit), against a bare `new WebAssembly.Instance` that runs nothing";
  const spec = { id: "sandbox.fresh_vs_bare_instance", unit: "µs", better: "lower", what, seconds } as const;
  const row = await compare(spec, ours, theirs);
  const { p50_us, p99_us, per_core_second } = latencies(() => deposit(metered), seconds);
  const rate = `${Math.round(per_core_second)} fresh, metered turns for each second of a core's time (collection included)`;
  const note = `${rate}; one by one: p50 ${p50_us.toFixed(0)} µs, p99 ${p99_us.toFixed(0)} µs`;
  return [withMore(row, { p50_us, p99_us, turns_per_core_second: per_core_second }, note)];
}

/** Calls one by one: how long each took, and how many the processor's own time would do. */
function latencies(
  work: () => unknown,
  seconds: number,
): { p50_us: number; p99_us: number; per_core_second: number } {
  const each_us: number[] = [];
  const before = process.cpuUsage();
  const end_ms = performance.now() + Math.min(seconds, 3) * 1000;
  for (let at_ms = performance.now(); at_ms < end_ms; ) {
    work();
    const now_ms = performance.now();
    each_us.push((now_ms - at_ms) * 1000);
    at_ms = now_ms;
  }
  const { user, system } = process.cpuUsage(before);
  const per_core_second = (each_us.length * 1e6) / (user + system);
  return { p50_us: quantile(each_us, 0.5), p99_us: quantile(each_us, 0.99), per_core_second };
}

/** What both sides answer where they are compared with each other. */
const DOCUMENT = '{"reply":{"balance":1001}}';

function answeringBytes(document: string): Uint8Array<ArrayBuffer> {
  const text = document.replaceAll('"', String.raw`\22`);
  const span = (16n << 32n) | BigInt(document.length);
  return handlerOf("answer", `(i64.const ${span})`, `(data (i32.const 16) "${text}")`);
}

/** A fresh plugin for each call, as each of our turns is; the plugin that is kept is told beside it. */
export async function versusExtism(seconds: number): Promise<readonly Row[]> {
  const module = admitted(answeringBytes(DOCUMENT));
  const input = new TextDecoder().decode(inputDocument(DEPOSIT_TURN));
  // Loaded here: Node warns of what it is built on.
  const { ExtismSide } = await import("./extism.ts");
  const extism = await ExtismSide.of(DOCUMENT);
  const ours = timedAsync(async () => deposit(module));
  const what =
    "a fresh, metered turn that answers one document, against a fresh plugin of Extism's JS SDK (not metered)";
  const spec = { id: "sandbox.vs_extism", unit: "µs", better: "lower", what, seconds } as const;
  const row = await compare(
    spec,
    ours,
    timedAsync(() => extism.fresh(input)),
  );
  const kept_us = await timedAsync(() => extism.kept(input))();
  await extism.close();
  return [
    withMore(
      row,
      { extism_kept_us: kept_us },
      `a plugin that is kept from call to call: ${kept_us.toFixed(1)} µs`,
    ),
  ];
}

/** The other way to have something fresh: a thread, with a heap of its own. */
export async function versusWorker(seconds: number): Promise<readonly Row[]> {
  const module = admitted(accountBytes());
  const ours = timed(() => deposit(module), INSTANCES_BATCH_MS);
  const theirs = timedAsync(async () => {
    const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1)", { eval: true });
    await once(worker, "message");
    await worker.terminate();
  });
  const what = "a fresh turn, against a worker thread that starts, answers one message and ends";
  const spec = { id: "sandbox.vs_worker", unit: "µs", better: "lower", what, seconds } as const;
  return [await compare(spec, ours, theirs)];
}

/**
 * A handler that answers its whole input: `{"reply":` before it, `}` behind it. It has no more memory than it needs: what an
 * instance has at its start is counted against the heap, so ten times as much is collected ten times as often.
 */
function echoBytes(state_bytes: number): Uint8Array<ArrayBuffer> {
  const pages = 1 + Math.ceil((state_bytes + 2048) / 65_536);
  const echo = `(i32.store16 (i32.sub (local.get $n) (i32.const 9)) (i32.const 0x227b))
    (i64.store (i32.sub (local.get $n) (i32.const 8)) (i64.const 0x3a22796c70657222))
    (i32.store8 (i32.add (local.get $n) (local.get $length)) (i32.const 0x7d))
    (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get $n) (i32.const 9))) (i64.const 32))
      (i64.extend_i32_u (i32.add (local.get $length) (i32.const 10))))`;
  return handlerOf("echo", echo, "", String(pages));
}

/** Writes to every page of 16 MiB, which is all that a turn can have. */
function touchBytes(): Uint8Array<ArrayBuffer> {
  const fill = "(memory.fill (i32.const 1024) (i32.const 1) (i32.const 16776192))";
  const span = (16n << 32n) | BigInt(DOCUMENT.length);
  const data = `(data (i32.const 16) "${DOCUMENT.replaceAll('"', String.raw`\22`)}")`;
  return handlerOf("touch", `${fill} (i64.const ${span})`, data, "256");
}

const STATE_BYTES = [1024, 16 * 1024, 256 * 1024, 1000 * 1024] as const;

/** What a state costs that goes in and out, by its size, and a memory that is used up. */
export async function stateCost(seconds: number): Promise<readonly Row[]> {
  const sides = STATE_BYTES.map((bytes) => {
    const echo = admitted(echoBytes(bytes));
    const turn = { ...DEPOSIT_TURN, state: JSON.stringify("x".repeat(bytes - 2)) };
    return {
      spec: specOf(
        `sandbox.state_${bytes / 1024}k`,
        `a turn that is given ${bytes / 1024} KiB of state and answers it`,
      ),
      measure: timed(() => expectDone(runTurn(echo, turn)), INSTANCES_BATCH_MS),
    };
  });
  const touch = admitted(touchBytes());
  const all = {
    spec: specOf("sandbox.memory_16m", "a turn that writes all of its 16 MiB of memory"),
    measure: timed(() => deposit(touch), INSTANCES_BATCH_MS),
  };
  return measureAll([...sides, all], seconds);
}

export const STATE_IDS: readonly string[] = [
  ...STATE_BYTES.map((bytes) => `sandbox.state_${bytes / 1024}k`),
  "sandbox.memory_16m",
];

function specOf(id: string, what: string): Spec {
  return { id, unit: "µs", better: "lower", what, seconds: 0 };
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
  const what = `metered against raw code of the worst kernel: ${name}`;
  return compare({ id: "sandbox.fuel_slowdown", unit: "µs", better: "lower", what, seconds }, ours, theirs);
}

export async function fuelSlowdown(seconds: number): Promise<readonly Row[]> {
  const rows: { readonly name: string; readonly row: Row }[] = [];
  const inC = cKernels();
  const all = [...kernels(), ...inC, ...(await assemblyScriptKernels())];
  for (const kernel of all)
    rows.push({ name: kernel.name, row: await slowdownOf(kernel, seconds / all.length) });
  const sorted = rows.toSorted((a, b) => (b.row.ratio ?? 0) - (a.row.ratio ?? 0));
  const [worst] = sorted;
  if (worst === undefined) return [];
  const details = sorted.map(
    ({ name, row }) => [`${name.replaceAll(/\W+/g, "_")}_ratio`, row.ratio ?? 0] as const,
  );
  const note = sorted.map(({ name, row }) => `${name} ×${row.ratio?.toFixed(2)}`).join(", ");
  const leftOut = inC.length > 0 ? [] : ["kernels in C are left out: clang and lld are not installed"];
  return [withMore(worst.row, Object.fromEntries(details), note, ...leftOut)];
}
