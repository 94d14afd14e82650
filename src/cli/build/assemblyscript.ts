/** Handlers in AssemblyScript. The compiler is the one beside the handler, or beside Postern. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { messageOf } from "../inputs.ts";
import type { Source } from "./native.ts";
import { BuildProblem } from "./tools.ts";

/** What is used of `assemblyscript/asc`; its own types declare the globals of another language. */
interface Compiler {
  main(args: readonly string[]): Promise<{ readonly error: Error | null; readonly stderr: Printed }>;
}

interface Printed {
  toString(): string;
}

/** The flags stand in the folder's asconfig.json: no runtime, no imports, nothing past the whitelist. */
export async function buildAssemblyScript({ main, target }: Source): Promise<Uint8Array | BuildProblem> {
  const compiler = await loadCompiler(main);
  if (compiler instanceof BuildProblem) return compiler;
  const root = dirname(dirname(main));
  const files = [relative(root, main), "--baseDir", root, "--outFile", relative(root, target)];
  const config = ["--config", `${basename(dirname(main))}/asconfig.json`];
  const { error, stderr } = await compiler.main([...files, ...config]);
  return error === null ? readFile(target) : new BuildProblem(`${stderr.toString()}${error.message}`.trim());
}

/** The handler's own, as Node would find it from there; else the one that came with Postern's sources. */
async function loadCompiler(main: string): Promise<Compiler | BuildProblem> {
  try {
    const own = findUpwards(dirname(main), join("node_modules", "assemblyscript", "dist", "asc.js"));
    const name = own === undefined ? "assemblyscript/asc" : pathToFileURL(own).href;
    const loaded = (await import(name)) as { readonly default: Compiler };
    return loaded.default;
  } catch (error) {
    const remedy = "it needs the AssemblyScript compiler beside it: npm install --save-dev assemblyscript";
    return new BuildProblem(`${remedy} (${messageOf(error)})`);
  }
}

function findUpwards(folder: string, path: string): string | undefined {
  const found = join(folder, path);
  if (existsSync(found)) return found;
  return dirname(folder) === folder ? undefined : findUpwards(dirname(folder), path);
}
