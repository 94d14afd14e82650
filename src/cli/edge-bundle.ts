/** The edge worker as one module, with the handlers that it brings along beside it. */
import { fileURLToPath } from "node:url";

export interface EdgeBundle {
  /** The worker's ES module. */
  readonly script: string;
  /** What it imports, by file name: `{hash}.wasm`. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** When the platform behaved as we have tested it. Beside it no flag: no Node compatibility either. */
export const COMPATIBILITY_DATE = "2026-11-01";

const SOURCES = fileURLToPath(new URL("..", import.meta.url));
/** An installed package has what `npm run build` made. */
const EXTENSION = import.meta.url.endsWith(".ts") ? "ts" : "js";

/** @param handlers instrumented modules, by their hash */
export async function bundleEdge(handlers: ReadonlyMap<string, Uint8Array>): Promise<EdgeBundle> {
  const loaded = await bundleWorker(
    [
      `import { loadedWorker } from "./edge/loaded.${EXTENSION}";`,
      `import handler from "./handler.wasm";`,
      `export default loadedWorker(handler);`,
    ].join("\n"),
    SOURCES,
  );
  const names = [...handlers.keys()];
  const bundled = [
    `handlers: new Map([${names.map((hash, i) => `["${hash}", h${i}]`).join(", ")}])`,
    `loaded: ${JSON.stringify(loaded)}`,
    `compatibilityDate: "${COMPATIBILITY_DATE}"`,
  ];
  const entry = [
    `import { edgeWorker } from "./worker.${EXTENSION}";`,
    ...names.map((hash, i) => `import h${i} from "./${hash}.wasm";`),
    `export default edgeWorker({ ${bundled.join(", ")} });`,
  ];
  const script = await bundleWorker(entry.join("\n"), SOURCES);
  return { script, modules: new Map([...handlers].map(([hash, bytes]) => [`${hash}.wasm`, bytes])) };
}

/** @param source of the entry, in TypeScript; its imports are relative to the directory */
export async function bundleWorker(source: string, directory: string): Promise<string> {
  // Only who builds an edge node needs it.
  const { build } = await import("esbuild");
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
