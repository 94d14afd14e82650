/** Compilers that are not in the lock file: without them a language is left out, and the run says so. */
import { findPrograms } from "../../src/cli/build/tools.ts";

const NEEDED: Readonly<Record<string, { readonly name: RegExp; readonly debian: string }>> = {
  c: { name: /^clang(-\d+)?$/, debian: "clang-16 lld-16 wasi-libc libclang-rt-16-dev-wasm32" },
  rust: { name: /^wasm-ld(-\d+)?$/, debian: "rustc libstd-rust-dev-wasm32 lld-16" },
  wat: { name: /^wat2wasm$/, debian: "wabt" },
};

export function leftOut(language: string): boolean {
  const needed = NEEDED[language];
  if (needed === undefined || findPrograms(process.env["PATH"] ?? "", needed.name).length > 0) return false;
  console.warn(
    `left out: handlers in ${language} (apt-get install --no-install-recommends ${needed.debian})`,
  );
  return true;
}
