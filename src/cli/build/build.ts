/** Builds a handler's folder: `NAME/NAME.<ext>` to `NAME/NAME.wasm`, by the language that its source is in. */
import { existsSync } from "node:fs";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { buildAssemblyScript } from "./assemblyscript.ts";
import { buildJavaScript } from "./javascript.ts";
import { buildC, buildRust, buildWat, type Source } from "./native.ts";
import { BuildProblem } from "./tools.ts";

export interface Language {
  readonly extension: string;
  /** A file beside the source that tells the language from another with the same extension. */
  readonly marker?: string;
  readonly build: (source: Source) => Promise<Uint8Array | BuildProblem>;
}

/** By name, as `init --lang` takes it. */
export const LANGUAGES: Readonly<Record<string, Language>> = {
  assemblyscript: { extension: "ts", marker: "asconfig.json", build: buildAssemblyScript },
  typescript: { extension: "ts", build: buildJavaScript },
  javascript: { extension: "js", build: buildJavaScript },
  c: { extension: "c", build: buildC },
  rust: { extension: "rs", build: buildRust },
  wat: { extension: "wat", build: buildWat },
};

export interface Built {
  readonly language: string;
  /** The module's file. */
  readonly file: string;
  readonly module: Uint8Array;
}

/** @param path `PATH`, where compilers are looked for */
export async function buildHandler(folder: string, path: string): Promise<Built | BuildProblem> {
  const name = basename(resolve(folder));
  const found = Object.entries(LANGUAGES).find(
    ([, { extension, marker }]) =>
      existsSync(join(folder, `${name}.${extension}`)) &&
      (marker === undefined || existsSync(join(folder, marker))),
  );
  if (found === undefined) {
    const extensions = new Set(Object.values(LANGUAGES).map(({ extension }) => `${name}.${extension}`));
    return new BuildProblem(`there is no handler in ${folder}: one of ${[...extensions].join(", ")}`);
  }
  const [language, { extension, build }] = found;
  const main = resolve(folder, `${name}.${extension}`);
  const scratch = await mkdtemp(join(tmpdir(), "postern-build-"));
  try {
    const module = await build({ main, target: join(scratch, `${name}.wasm`), path });
    if (module instanceof BuildProblem) return module;
    const file = join(folder, `${name}.wasm`);
    await replaceFile(file, module);
    return { language, file, module };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** It appears under its name only when it is whole, so builds that run at once do not break each other. */
async function replaceFile(file: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, bytes);
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}
