/**
 * Kernels as compilers emit them: C by clang and AssemblyScript by asc, built for each run of the bench.
 *
 * Where clang or its linker is not installed, C is left out, and the row says so.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findPrograms } from "../src/cli/build/tools.ts";
import { ROOT, temporaryFolder } from "./children.ts";
import type { Kernel } from "./kernels.ts";

/** What is used of `assemblyscript/asc`; its own types declare the globals of another language. */
interface Compiler {
  compileString(
    source: string,
    options: Readonly<Record<string, unknown>>,
  ): Promise<{ readonly binary: Uint8Array | null; readonly stderr: { toString(): string } }>;
}

const ASC: string = "assemblyscript/asc";

const source = (file: string): string => join(ROOT, "bench/kernels", file);

const C_KERNELS = [
  { name: "n-body (C)", file: "nbody.c", n: 1000 },
  { name: "SHA-256 (C)", file: "hash.c", n: 500 },
] as const;

const AS_KERNELS = [
  { name: "Mandelbrot (AssemblyScript)", file: "mandelbrot.as", n: 48 },
  { name: "heap sort (AssemblyScript)", file: "sort.as", n: 5000 },
] as const;

const C_FLAGS = ["--target=wasm32", "-O2", "-nostdlib", "-ffreestanding", "-fno-builtin", "-Wl,--no-entry"];

/** None where there is no clang that links for wasm32. */
export function cKernels(path = process.env["PATH"] ?? ""): readonly Kernel[] {
  const [clang] = findPrograms(path, /^clang(-\d+)?$/);
  const [linker] = findPrograms(path, /^wasm-ld(-\d+)?$/);
  if (clang === undefined || linker === undefined) return [];
  const folder = temporaryFolder();
  return C_KERNELS.map(({ name, file, n }) => {
    const target = join(folder, `${file}.wasm`);
    execFileSync(clang, [...C_FLAGS, "-o", target, source(file)], { stdio: "pipe" });
    return { name, n, bytes: new Uint8Array(readFileSync(target)) };
  });
}

export async function assemblyScriptKernels(): Promise<readonly Kernel[]> {
  const { default: asc } = (await import(ASC)) as { readonly default: Compiler };
  const kernels: Kernel[] = [];
  for (const { name, file, n } of AS_KERNELS) {
    const options = { optimizeLevel: 3, runtime: "stub", initialMemory: 4 } as const;
    const { binary, stderr } = await asc.compileString(readFileSync(source(file), "utf8"), options);
    if (binary === null) throw new Error(`${file} does not compile: ${stderr.toString()}`);
    kernels.push({ name, n, bytes: new Uint8Array(binary) });
  }
  return kernels;
}
