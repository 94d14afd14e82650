/**
 * The WebAssembly specification's own test suite: every module that the sandbox admits does, metered, what the suite
 * says, and the same as raw, for the same fuel each time.
 *
 * `.ci/wasm-spec` fetches it. Where it is not, the suite is left out and the run says so.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { admit } from "../../src/dispatch/admission.ts";
import { type Outcome, Twins, type Value } from "./twins.ts";

const SUITE = join(homedir(), ".cache/postern/wasm-spec");

interface Typed {
  readonly type: string;
  readonly value?: string;
}

interface Action {
  readonly type: "invoke" | "get";
  readonly field: string;
  readonly module?: string;
  readonly args?: readonly Typed[];
}

interface Command {
  readonly type: string;
  readonly line: number;
  readonly filename?: string;
  readonly name?: string;
  readonly module_type?: string;
  readonly action?: Action;
  readonly expected?: readonly Typed[];
}

function valueOf({ type, value = "null" }: Typed): Value {
  if (value === "null") return null;
  if (value.startsWith("nan")) return Number.NaN;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setBigUint64(0, BigInt(value));
  switch (type) {
    case "i32":
      return bits.getInt32(4);
    case "i64":
      return bits.getBigInt64(0);
    case "f32":
      return bits.getFloat32(4);
    case "f64":
      return bits.getFloat64(0);
    default:
      return Number(value);
  }
}

/** By line: they grow a memory over the sandbox's bound. Raw and metered are compared there, too. */
const BOUNDED: Readonly<Record<string, readonly number[]>> = {
  "call_indirect.json": [574],
  "memory_grow.json": [45, 48],
  "resizing.json": [45],
};

/** NaNs have no payload in JavaScript, and functions are compared by nothing. */
function isBeyondJavaScript(args: readonly Typed[], expected: readonly Typed[]): boolean {
  return (
    expected.some(({ type }) => type === "funcref") || args.map(valueOf).some((arg) => Number.isNaN(arg))
  );
}

const LEFT_OUT: Readonly<Record<string, string>> = { "linking.json": "modules change each other's tables" };

/** What may be written in a script and said of a module's calls. */
class Script {
  readonly #file: string;
  readonly #named = new Map<string, Twins | undefined>();
  #current: Twins | undefined;
  readonly counts = { calls: 0, modules: 0, unjudged: 0 };
  /** Of modules. */
  readonly refused = new Map<string, number>();

  constructor(file: string) {
    this.#file = file;
  }

  do(command: Command): void {
    const { type, filename, name, module_type } = command;
    if (type === "module") return this.#module(filename ?? "", name);
    if (module_type === "binary" && filename !== undefined) {
      expect(admit(this.#read(filename)).ok).toBe(false);
      return;
    }
    if (command.action !== undefined) this.#action(command, command.action);
  }

  #read(filename: string): Uint8Array<ArrayBuffer> {
    return new Uint8Array(readFileSync(join(SUITE, filename)));
  }

  #module(filename: string, name: string | undefined): void {
    const twins = Twins.of(this.#read(filename));
    if ("refused" in twins) this.refused.set(twins.refused, (this.refused.get(twins.refused) ?? 0) + 1);
    else this.counts.modules++;
    this.#current = "refused" in twins ? undefined : twins;
    if (name !== undefined) this.#named.set(name, this.#current);
  }

  #action({ type, line, expected }: Command, { field, module, args = [] }: Action): void {
    const twins = module === undefined ? this.#current : this.#named.get(module);
    if (twins === undefined) {
      this.counts.unjudged++;
      return;
    }
    this.counts.calls++;
    const outcome: Outcome = twins.call(field, args.map(valueOf));
    const isJudged = expected !== undefined && !isBeyondJavaScript(args, expected);
    if (type === "assert_return" && isJudged && !(BOUNDED[this.#file] ?? []).includes(line))
      expect(outcome).toEqual(expected.map(valueOf));
    if (type === "assert_trap" || type === "assert_exhaustion") expect(outcome).toMatch(/^trap: /);
  }
}

const isThere = existsSync(SUITE);
if (!isThere)
  process.stdout.write(`the WebAssembly test suite is left out: .ci/wasm-spec ${SUITE} fetches it\n`);

describe.skipIf(!isThere)("the specification's test suite", () => {
  const files = isThere
    ? readdirSync(SUITE).filter((name) => name.endsWith(".json") && !(name in LEFT_OUT))
    : [];
  const total = { calls: 0, modules: 0, unjudged: 0 };
  const refused = new Set<string>();

  test.each(files)("%s", (file) => {
    const { commands } = JSON.parse(readFileSync(join(SUITE, file), "utf8")) as {
      commands: readonly Command[];
    };
    const script = new Script(file);
    const wrong: string[] = [];
    for (const command of commands) {
      try {
        script.do(command);
      } catch (error) {
        wrong.push(`line ${command.line}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    expect(wrong).toEqual([]);
    total.calls += script.counts.calls;
    total.modules += script.counts.modules;
    total.unjudged += script.counts.unjudged;
    for (const why of script.refused.keys()) refused.add(why);
  });

  test("was run: most of its modules are admitted", () => {
    expect(total.modules).toBeGreaterThan(500);
    expect(total.calls).toBeGreaterThan(14_000);
    for (const why of refused)
      expect(why).toMatch(/^(feature_forbidden|import_forbidden|bound_exceeded|trap: .*)$/);
    expect(total.unjudged).toBeLessThan(total.calls / 10);
  });
});
