/**
 * Builds every handler: wasm/<name>/<name>.ts → wasm/<name>/<name>.wasm.
 *
 * A module newer than its sources, the library and this file is left alone. Output appears under its name
 * only when it is whole, so builds that run at once do not break each other.
 */
import { readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import asc from "assemblyscript/asc";

const ROOT = import.meta.dirname;
const LIBRARY = path.join(ROOT, "lib");

/** No runtime to free memory (an instance lives for one turn), no imports, nothing past the whitelist. */
const ASC_FLAGS = ["--runtime", "stub", "--use", "abort=", "-O3", "--converge", "--disable", "simd"];

/** 0 for a file that does not exist. */
async function modified_ms(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found?.mtimeMs ?? 0;
}

async function newest_ms(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".ts"));
  return Math.max(...(await Promise.all(names.map((name) => modified_ms(path.join(folder, name))))));
}

/** @returns what the compiler complains about. */
async function compile(source: string, target: string): Promise<string | undefined> {
  const temporary = `${target}.${process.pid}.tmp`;
  const files = [path.relative(ROOT, source), "--baseDir", ROOT, "--outFile", path.relative(ROOT, temporary)];
  try {
    const { error, stderr } = await asc.main([...files, ...ASC_FLAGS]);
    if (error !== null) return `${stderr.toString()}${error.message}`;
    await rename(temporary, target);
    return undefined;
  } finally {
    await rm(temporary, { force: true });
  }
}

async function build(): Promise<void> {
  const library_ms = Math.max(await newest_ms(LIBRARY), await modified_ms(import.meta.filename));
  for (const entry of await readdir(ROOT, { withFileTypes: true })) {
    const folder = path.join(ROOT, entry.name);
    const source = path.join(folder, `${entry.name}.ts`);
    const target = path.join(folder, `${entry.name}.wasm`);
    if (!entry.isDirectory() || (await modified_ms(source)) === 0) continue;
    if ((await modified_ms(target)) > Math.max(library_ms, await newest_ms(folder))) continue;
    const started_ms = performance.now();
    const complaint = await compile(source, target);
    if (complaint !== undefined) {
      console.error(`wasm/${entry.name}: not built\n${complaint}`);
      process.exitCode = 1;
      continue;
    }
    const { size } = await stat(target);
    const took_ms = Math.round(performance.now() - started_ms);
    console.log(`wasm/${entry.name}/${entry.name}.wasm  ${size} bytes  ${took_ms} ms`);
  }
}

await build();
