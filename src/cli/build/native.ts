/** Handlers in C, Rust and WebAssembly text, by compilers that are installed beside Postern. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { stubWasi } from "../../build/wasi.ts";
import { BuildProblem, findPrograms, runProgram } from "./tools.ts";

export interface Source {
  /** The handler's main file. */
  readonly main: string;
  /** Where the module is to be written; nothing is there yet. */
  readonly target: string;
  /** `PATH` */
  readonly path: string;
}

const RUST_TARGET = "wasm32-unknown-unknown";

/** With wasi-libc, as a library that is initialised once; what is left of WASI is stubbed. */
export async function buildC({ main, target, path }: Source): Promise<Uint8Array | BuildProblem> {
  const [clang] = findPrograms(path, /^clang(-\d+)?$/);
  if (clang === undefined) return missing("clang", "clang-16 lld-16 wasi-libc libclang-rt-16-dev-wasm32");
  const flags = ["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-mbulk-memory", "-Wl,--strip-debug"];
  const failed = await runProgram(clang, [...flags, "-o", target, main]);
  if (failed instanceof BuildProblem) return failed;
  const stubbed = stubWasi(new Uint8Array(await readFile(target)));
  return typeof stubbed === "string" ? new BuildProblem(stubbed) : stubbed;
}

/** With the standard library, which needs no import on this target. */
export async function buildRust({ main, target, path }: Source): Promise<Uint8Array | BuildProblem> {
  const debian = "rustc libstd-rust-dev-wasm32 lld-16";
  const rustc = await findRustc(path);
  if (rustc === undefined) return missing(`a rustc with the target ${RUST_TARGET}`, debian);
  const linker = await linkerFor(rustc, path);
  if (linker === undefined) return missing("wasm-ld", debian);
  const crate = ["--edition", "2021", "--crate-type", "cdylib", "--target", RUST_TARGET];
  const flags = ["-O", "-C", "panic=abort", "-C", "lto", "-C", "strip=debuginfo", ...linker];
  const failed = await runProgram(rustc, [...crate, ...flags, "-o", target, main]);
  return failed instanceof BuildProblem ? failed : readFile(target);
}

export async function buildWat({ main, target, path }: Source): Promise<Uint8Array | BuildProblem> {
  const [assembler] = findPrograms(path, /^wat2wasm$/);
  if (assembler === undefined) return missing("wat2wasm", "wabt");
  const failed = await runProgram(assembler, ["--debug-names", "-o", target, main]);
  return failed instanceof BuildProblem ? failed : readFile(target);
}

function missing(what: string, debian: string): BuildProblem {
  return new BuildProblem(`it needs ${what}, which is not on the PATH; on Debian: apt-get install ${debian}`);
}

/** There may be several, and only one of them may have the target's standard library. */
async function findRustc(path: string): Promise<string | undefined> {
  for (const rustc of findPrograms(path, /^rustc$/)) {
    const folder = await runProgram(rustc, ["--print", "target-libdir", "--target", RUST_TARGET]);
    if (typeof folder === "string" && existsSync(folder.trim())) return rustc;
  }
  return undefined;
}

/** Rust's own toolchains bring a linker; Debian's does not. */
async function linkerFor(rustc: string, path: string): Promise<readonly string[] | undefined> {
  const libraries = await runProgram(rustc, ["--print", "target-libdir"]);
  if (typeof libraries === "string" && existsSync(join(libraries.trim(), "..", "bin", "rust-lld"))) return [];
  const [found] = findPrograms(path, /^wasm-ld(-\d+)?$/);
  return found === undefined ? undefined : ["-C", `linker=${found}`, "-C", "linker-flavor=wasm-ld"];
}
