/**
 * Builds every handler: wasm/<name>/<name>.<ext> → wasm/<name>/<name>.wasm, as `postern handler build` does.
 *
 * A module newer than its sources, the library and this file is left alone.
 */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { buildHandler } from "../src/cli/build/build.ts";
import { BuildProblem } from "../src/cli/build/tools.ts";

const ROOT = import.meta.dirname;
const LIBRARY = path.join(ROOT, "lib");

/** 0 for a file that does not exist. */
async function modified_ms(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found?.mtimeMs ?? 0;
}

async function newest_ms(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter((name) => !name.endsWith(".wasm"));
  return Math.max(...(await Promise.all(names.map((name) => modified_ms(path.join(folder, name))))));
}

async function build(): Promise<void> {
  const library_ms = Math.max(await newest_ms(LIBRARY), await modified_ms(import.meta.filename));
  for (const { name } of await readdir(ROOT, { withFileTypes: true })) {
    const folder = path.join(ROOT, name);
    if ((await modified_ms(path.join(folder, `${name}.ts`))) === 0) continue;
    const target_ms = await modified_ms(path.join(folder, `${name}.wasm`));
    if (target_ms > Math.max(library_ms, await newest_ms(folder))) continue;
    const started_ms = performance.now();
    const built = await buildHandler(folder, process.env["PATH"] ?? "");
    if (built instanceof BuildProblem) {
      console.error(`wasm/${name}: not built\n${built.detail}`);
      process.exitCode = 1;
      continue;
    }
    const took_ms = Math.round(performance.now() - started_ms);
    console.log(`wasm/${name}/${name}.wasm  ${built.module.length} bytes  ${took_ms} ms`);
  }
}

await build();
