/** The edge worker as one module, with the handlers that it brings along beside it. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export interface EdgeBundle {
  /** The worker's ES module. */
  readonly script: string;
  /** What it imports, by file name: `{hash}.wasm`. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

const SOURCES = fileURLToPath(new URL("..", import.meta.url));

/** @param handlers instrumented modules, by their hash */
export async function bundleEdge(handlers: ReadonlyMap<string, Uint8Array>): Promise<EdgeBundle> {
  const names = [...handlers.keys()];
  const entry = [
    `import { edgeWorker } from "./worker.ts";`,
    ...names.map((hash, i) => `import h${i} from "./${hash}.wasm";`),
    `export default edgeWorker(new Map([${names.map((hash, i) => `["${hash}", h${i}]`).join(", ")}]));`,
  ];
  const script = await bundleWorker(entry.join("\n"), SOURCES);
  return { script, modules: new Map([...handlers].map(([hash, bytes]) => [`${hash}.wasm`, bytes])) };
}

/** @param source of the entry, in TypeScript; its imports are relative to the directory */
export async function bundleWorker(source: string, directory: string): Promise<string> {
  const built = await build({
    stdin: { contents: source, resolveDir: directory, sourcefile: "entry.ts", loader: "ts" },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2024",
    // No Node: what would need it does not build.
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser"],
    external: ["*.wasm"],
    legalComments: "none",
    logLevel: "silent",
  });
  return built.outputFiles[0]?.text ?? "";
}
