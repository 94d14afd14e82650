/**
 * Modules of binaryen's fuzzer do metered what they do raw, and each takes at least as much fuel as it takes steps.
 *
 * The fuzzer makes a module out of random bytes: of any shape that a compiler may emit, and of many that none does. The
 * steps are counted by another pass than ours (binaryen's `log-execution`: function entries, exits and loop headers). A few
 * seeds run here, always the same; `npm run fuzz` tries more.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { Seeded } from "../support/seeded.ts";
import { I32, I64 } from "./guests.ts";
import { parametersOf, Twins, type Value } from "./twins.ts";

const WASM_OPT = fileURLToPath(new URL("../../node_modules/binaryen/bin/wasm-opt", import.meta.url));
const SEEDS = 4 * Number(process.env["FUZZ"] ?? 1);
const SEED_BYTES = 12_000;

/**
 * What a handler may use, but references: those of removed imports are not valid. NaNs are taken out, since raw modules may
 * show bits of theirs that the metered ones do not (`nan.test.ts`).
 */
const MAKE = ["--translate-to-fuzz", "--remove-imports", "--denan"];
const FEATURES = [
  "--mvp-features",
  "--enable-sign-ext",
  "--enable-nontrapping-float-to-int",
  "--enable-bulk-memory",
  "--enable-bulk-memory-opt",
  "--enable-multivalue",
  "--enable-mutable-globals",
];

const directory = mkdtempSync(join(tmpdir(), "postern-fuzz-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** @returns `undefined` where the module would need an import that was removed. */
function wasmOpt(
  input: string,
  output: string,
  options: readonly string[],
): Uint8Array<ArrayBuffer> | undefined {
  const path = join(directory, output);
  const { status } = spawnSync(WASM_OPT, [join(directory, input), "-o", path, ...options], {
    stdio: "ignore",
  });
  return status === 0 ? new Uint8Array(readFileSync(path)) : undefined;
}

/** The steps of each call, in order, with the same arguments and from the same start. */
class Steps {
  readonly #exports: WebAssembly.Exports;
  #count = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    const module = new WebAssembly.Module(bytes);
    const step = (): void => void this.#count++;
    const imports = WebAssembly.Module.imports(module).map(
      ({ module: of, name }) => [of, { [name]: step }] as const,
    );
    this.#exports = new WebAssembly.Instance(module, Object.fromEntries(imports)).exports;
  }

  of(name: string, args: readonly Value[]): number {
    this.#count = 0;
    const exported = this.#exports[name];
    try {
      if (typeof exported === "function") exported(...args);
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    }
    return this.#count;
  }
}

const NUMBERS = [0, 1, -1, 7, 65_535, 2 ** 31 - 1, -(2 ** 31), 0.5, -1e300, Number.POSITIVE_INFINITY];

function argumentOf(type: number, random: Seeded): Value {
  const value = random.pick(NUMBERS);
  if (type === I64) return BigInt(Number.isFinite(value) ? Math.trunc(Math.max(-(2 ** 60), value)) : 1);
  return type === I32 ? Math.trunc(Number.isFinite(value) ? value : 3) : value;
}

/** @returns how many steps were taken; 0 where there is no module of this seed, or where its start traps */
function compare(seed: number): number {
  const random = new Seeded(seed);
  const input = Buffer.from(Array.from({ length: SEED_BYTES }, () => random.below(256)));
  writeFileSync(join(directory, "seed"), input);
  const bytes = wasmOpt("seed", "made.wasm", [...MAKE, ...FEATURES]);
  if (bytes === undefined) return 0;
  const logged = wasmOpt("made.wasm", "logged.wasm", [...FEATURES, "--log-execution"]);
  const twins = Twins.of(bytes);
  if ("refused" in twins) {
    expect(twins.refused).toMatch(/^trap: /);
    return 0;
  }
  const steps = new Steps(logged ?? new Uint8Array());
  let counted = 0;
  for (let round = 0; round < 3; round++) {
    for (const [name, types] of parametersOf(bytes)) {
      const args = types.map((type) => argumentOf(type, random));
      // A length out of bounds is paid for before it traps. The raw one was not called then: its state is another one.
      if (twins.call(name, args) === "exhausted") return counted;
      const taken = steps.of(name, args);
      counted += taken;
      expect(twins.fuel).toBeGreaterThanOrEqual(taken);
    }
  }
  return counted;
}

test("law: raw and metered are alike", { timeout: SEEDS * 30_000 }, () => {
  const counts = Array.from({ length: SEEDS }, (_, seed) => compare(seed));
  expect(counts.filter((count) => count > 0).length).toBeGreaterThanOrEqual(SEEDS / 2);
});
