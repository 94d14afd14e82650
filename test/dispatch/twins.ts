/**
 * Any module, raw and metered, side by side: whatever the fuel pass changes shows as a difference between the two.
 *
 * The modules here are no handlers: they export what they like. Two metered instances run beside the raw one, so that
 * fuel that is not the same from run to run is a difference, too.
 */
import { FUEL_EXPORT, instrument, STACK_EXPORT, START_EXPORT } from "../../src/dispatch/fuel.ts";
import { type Module, readModule } from "../../src/dispatch/wasm-binary.ts";
import type { Body } from "../../src/dispatch/wasm-body.ts";
import { readBody } from "../../src/dispatch/wasm-code.ts";
import { Reader, Writer } from "../../src/dispatch/wasm-reader.ts";
import { SECTION } from "../../src/dispatch/wasm-sections.ts";
import { TURN_FUEL_MAX } from "../../src/limits.ts";

export type Value = number | bigint | null | undefined;

/** What came out of a call: values, or why it did not end. */
export type Outcome = readonly unknown[] | string;

/** The module with that memory, in place of its own where it has one. */
function withMemory(
  bytes: Uint8Array<ArrayBuffer>,
  { initial, max }: Module["memory"],
): Uint8Array<ArrayBuffer> {
  const reader = new Reader(bytes);
  reader.skip(8);
  let [start, end] = [bytes.length, bytes.length];
  while (!reader.done) {
    const at = reader.at;
    const id = reader.byte();
    reader.skip(reader.u32());
    if (id === SECTION.memory) [start, end] = [at, reader.at];
    else if (id > SECTION.memory && at < start) [start, end] = [at, at];
  }
  const memory = new Writer().byte(1, 1).u32(initial).u32(max);
  const out = new Writer().raw(bytes.subarray(0, start)).byte(SECTION.memory).sized(memory);
  return out.raw(bytes.subarray(end)).view().slice();
}

interface Pair {
  readonly raw: WebAssembly.Module;
  readonly metered: WebAssembly.Module;
}

/**
 * The module raw and metered, or why the sandbox does not admit such a one. The sandbox wants a memory, and bounds it: both
 * have the same one. Throws where the pass has broken a valid module.
 */
function pairOf(original: Uint8Array<ArrayBuffer>): Pair | string {
  let bytes = original;
  let module = readModule(bytes);
  if ("code" in module && module.code === "export_missing") {
    bytes = withMemory(original, { initial: 0, max: 0 });
    module = readModule(bytes);
  }
  if ("code" in module) return module.code;
  const bodies: Body[] = [];
  for (let i = 0; i < module.functions.length; i++) {
    const body = readBody(module, i);
    if ("code" in body) return body.code;
    bodies.push(body);
  }
  if (!WebAssembly.validate(bytes)) return "module_invalid";
  const raw = new WebAssembly.Module(withMemory(bytes, module.memory));
  return { raw, metered: new WebAssembly.Module(instrument(module, bodies)) };
}

/** Types of the parameters of each exported function, in the order in which they are exported. */
export function parametersOf(bytes: Uint8Array<ArrayBuffer>): ReadonlyMap<string, readonly number[]> {
  const module = readModule(bytes);
  if ("code" in module) throw new Error(module.detail);
  const functions = module.exports.filter(({ kind }) => kind === 0);
  return new Map(
    functions.map(({ name, index }) => [name, module.types[module.functions[index] ?? -1]?.params ?? []]),
  );
}

/** A reference is compared by what it is, since each instance has its own functions. */
function comparable(value: unknown): unknown {
  return typeof value === "function" ? "a function" : value;
}

function attempt(work: () => unknown): Outcome {
  try {
    const result = work();
    if (result === undefined) return [];
    return (Array.isArray(result) ? (result as readonly unknown[]) : [result]).map(comparable);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) return `trap: ${error.message}`;
    if (error instanceof RangeError) return "trap: too deep";
    throw error;
  }
}

class Metered {
  readonly exports: WebAssembly.Exports;
  readonly #fuel: number;

  constructor(module: WebAssembly.Module, fuel: number) {
    this.exports = new WebAssembly.Instance(module).exports;
    this.#fuel = fuel;
  }

  /** @returns the outcome and what it has cost; "exhausted" where it was ended by the meter */
  do(work: (exports: WebAssembly.Exports) => unknown): { readonly outcome: Outcome; readonly fuel: number } {
    const { [FUEL_EXPORT]: meter, [STACK_EXPORT]: stack } = this.exports;
    if (!(meter instanceof WebAssembly.Global && stack instanceof WebAssembly.Global))
      throw new Error("no meter");
    meter.value = BigInt(this.#fuel);
    const before: unknown = stack.value;
    let outcome = attempt(() => work(this.exports));
    if (meter.value < 0n) outcome = "exhausted";
    else if (stack.value < 0n) outcome = "trap: too deep";
    else if (typeof outcome !== "string" && stack.value !== before) outcome = "the stack is not as it was";
    // A trap leaves the frames that it has cut off.
    stack.value = before;
    return { outcome, fuel: this.#fuel - Number(meter.value) };
  }
}

export class Twins {
  readonly #raw: WebAssembly.Exports;
  readonly #metered: Metered;
  readonly #again: Metered;
  #fuel = 0;

  private constructor(raw: WebAssembly.Exports, metered: Metered, again: Metered) {
    this.#raw = raw;
    this.#metered = metered;
    this.#again = again;
  }

  /** Instances of all, or the way in which none could be made, which is the same for both; or why it is not admitted. */
  static of(original: Uint8Array<ArrayBuffer>, fuel = TURN_FUEL_MAX): Twins | { readonly refused: string } {
    const pair = pairOf(original);
    if (typeof pair === "string") return { refused: pair };
    let raw: WebAssembly.Exports = {};
    const start = attempt(() => {
      raw = new WebAssembly.Instance(pair.raw).exports;
    });
    let twins: Twins | undefined;
    const metered = attempt(() => {
      twins = new Twins(raw, new Metered(pair.metered, fuel), new Metered(pair.metered, fuel));
      return undefined;
    });
    const run = twins?.call(START_EXPORT) ?? metered;
    const outcome = typeof metered === "string" ? metered : run;
    if (String(outcome) !== String(start))
      throw new Error(`starting: ${String(start)} became ${String(outcome)}`);
    return twins === undefined || typeof outcome === "string" ? { refused: outcome.toString() } : twins;
  }

  /** Of the last call. */
  get fuel(): number {
    return this.#fuel;
  }

  /**
   * Calls an export of all. Throws where they differ in outcome or fuel, says what.
   * @returns what came out; "exhausted" where the metered ones ran out of fuel: then the raw one was not asked
   */
  call(name: string, args: readonly Value[] = []): Outcome {
    const work = (exports: WebAssembly.Exports): unknown => {
      const exported = exports[name];
      if (exported instanceof WebAssembly.Global) return exported.value as unknown;
      return typeof exported === "function" ? (exported(...args) as unknown) : undefined;
    };
    const metered = this.#metered.do(work);
    const again = this.#again.do(work);
    this.#fuel = metered.fuel;
    if (metered.fuel !== again.fuel)
      throw new Error(`${name} takes ${metered.fuel} units of fuel, and then ${again.fuel}`);
    if (metered.outcome === "exhausted" || name === START_EXPORT) return metered.outcome;
    const raw = attempt(() => work(this.#raw));
    for (const { outcome } of [metered, again])
      if (!same(raw, outcome)) throw new Error(`${name}: ${shown(raw)} became ${shown(outcome)}`);
    return raw;
  }
}

function same(a: Outcome, b: Outcome): boolean {
  if (typeof a === "string" || typeof b === "string") return a === b;
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
}

function shown(outcome: Outcome): string {
  return typeof outcome === "string" ? outcome : `[${outcome.map(String).join(", ")}]`;
}
