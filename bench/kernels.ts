/**
 * Compute kernels in the shape of handlers, as text: what the fuel pass costs code that only computes.
 *
 * Each is a valid handler module (so that `admit` takes it) whose `pn_handle(n, …)` does the work and answers a
 * checksum, so that both sides can be seen to compute the same.
 */
import binaryen from "binaryen";

export interface Kernel {
  readonly name: string;
  readonly n: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A handler module of one function, in text. @param pages of its memory, at the start */
export function handlerOf(name: string, body: string, more = "", pages = "4"): Uint8Array<ArrayBuffer> {
  const module = binaryen.parseText(`(module $${name.replaceAll(/\W+/g, "_")}
    (memory (export "memory") ${pages})
    (func (export "pn_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "pn_handle") (param $n i32) (param $length i32) (result i64) ${body})
    ${more})`);
  try {
    // What text may use and a handler may, too.
    module.setFeatures(binaryen.Features.BulkMemory | binaryen.Features.BulkMemoryOpt);
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}

function kernel(name: string, n: number, locals: string, body: string, more = ""): Kernel {
  return { name, n, bytes: handlerOf(name, `${locals} ${body}`, more) };
}

/** `$i` from `from` while below `to`, by `step`. */
function loop(i: string, from: string, to: string, body: string, step = "(i32.const 1)"): string {
  const next = `(local.set ${i} (i32.add (local.get ${i}) ${step}))`;
  const test = `(br_if $end_${label(i)} (i32.ge_u (local.get ${i}) ${to}))`;
  return `(local.set ${i} ${from}) (block $end_${label(i)} (loop $loop_${label(i)} ${test} ${body} ${next} (br $loop_${label(i)})))`;
}

const label = (local: string): string => local.slice(1);
const N = "(local.get $n)";
const ZERO = "(i32.const 0)";

/** Primes below n, each multiple crossed out: short inner loops with one store. */
function sieve(): Kernel {
  const cross = loop(
    "$j",
    "(i32.mul (local.get $i) (local.get $i))",
    N,
    "(i32.store8 (local.get $j) (i32.const 1))",
    "(local.get $i)",
  );
  const small = `(i32.lt_u (local.get $i) (i32.const 460))`;
  const visit = `(if (i32.eqz (i32.load8_u (local.get $i))) (then
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (if ${small} (then ${cross}))))`;
  const body = `(memory.fill ${ZERO} ${ZERO} ${N}) ${loop("$i", "(i32.const 2)", N, visit)}`;
  return kernel(
    "sieve",
    200_000,
    "(local $i i32) (local $j i32) (local $count i32)",
    `${body} (i64.extend_i32_u (local.get $count))`,
  );
}

/** n × n doubles, three nested loops. */
function matrix(): Kernel {
  const at = (base: number, row: string, column: string): string =>
    `(i32.add (i32.const ${base}) (i32.shl (i32.add (i32.mul (local.get ${row}) ${N}) (local.get ${column})) (i32.const 3)))`;
  const fill = (base: number): string =>
    `(f64.store ${at(base, "$i", "$j")} (f64.convert_i32_u (i32.add (local.get $i) (local.get $j))))`;
  const fillBoth = loop("$i", ZERO, N, loop("$j", ZERO, N, `${fill(0)} ${fill(65_536)}`));
  const product = `(f64.mul (f64.load ${at(0, "$i", "$k")}) (f64.load ${at(65_536, "$k", "$j")}))`;
  const add = `(local.set $sum (f64.add (local.get $sum) ${product}))`;
  const cell = `(local.set $sum (f64.const 0)) ${loop("$k", ZERO, N, add)} (f64.store ${at(131_072, "$i", "$j")} (local.get $sum))`;
  const multiply = loop("$i", ZERO, N, loop("$j", ZERO, N, cell));
  const locals = "(local $i i32) (local $j i32) (local $k i32) (local $sum f64)";
  return kernel(
    "matrix multiply",
    64,
    locals,
    `${fillBoth} ${multiply} (i64.trunc_sat_f64_s (local.get $sum))`,
  );
}

/** Two calls for each addition: where a charge at each function's entry hurts most. */
function fibonacci(): Kernel {
  const [one, two] = [1, 2].map((less) => `(call $fib (i32.sub (local.get $k) (i32.const ${less})))`);
  const fib = `(func $fib (param $k i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $k) (i32.const 2))
      (then (local.get $k)) (else (i32.add ${one} ${two}))))`;
  return kernel("recursive fib", 21, "", `(i64.extend_i32_u (call $fib ${N}))`, fib);
}

/** One byte for each round: the shortest loop that does anything. */
function copy(): Kernel {
  const byte =
    "(i32.store8 (i32.add (local.get $i) (i32.const 131072)) (i32.add (i32.load8_u (local.get $i)) (i32.const 1)))";
  const sum = "(i64.load (i32.const 131072))";
  return kernel("byte copy loop", 100_000, "(local $i i32)", `${loop("$i", ZERO, N, byte)} ${sum}`);
}

/** Whole pages by one instruction each: charged by length. */
function bulk(): Kernel {
  const page = "(memory.copy (i32.const 131072) (i32.const 0) (i32.const 65536))";
  return kernel(
    "memory.copy of pages",
    100,
    "(local $i i32)",
    `${loop("$i", ZERO, N, page)} (i64.load (i32.const 131072))`,
  );
}

export function kernels(): readonly Kernel[] {
  return [sieve(), matrix(), fibonacci(), copy(), bulk()];
}
