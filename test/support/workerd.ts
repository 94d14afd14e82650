/** Workers in the real workerd, by miniflare, on loopback. */
import { convertV4MiniflareOptions, Miniflare, type V4MiniflareOptions } from "miniflare";
import type { EdgeBundle } from "../../src/cli/edge-bundle.ts";

/** When the platform's behaviour was what we have tested. Beside it no flag: no Node compatibility either. */
export const COMPATIBILITY_DATE = "2026-11-01";

export interface Workerd {
  readonly url: string;
  /** What the worker has printed. */
  readonly lines: readonly string[];
  stop(): Promise<void>;
}

/** What a worker is bound to. */
export interface WorkerBindings {
  readonly bindings: Record<string, string>;
  readonly r2Buckets?: string[];
  readonly workerLoaders?: Record<string, object>;
}

/** @param port 0 takes any free one */
export async function startWorkerd(
  { script, modules }: EdgeBundle,
  bound: WorkerBindings,
  port = 0,
): Promise<Workerd> {
  const lines: string[] = [];
  const options: V4MiniflareOptions = {
    host: "127.0.0.1",
    port,
    compatibilityDate: COMPATIBILITY_DATE,
    modules: [
      { type: "ESModule", path: "worker.js", contents: script },
      ...[...modules].map(([path, contents]) => ({ type: "CompiledWasm" as const, path, contents })),
    ],
    handleStructuredLogs: ({ message }) => lines.push(message),
    ...bound,
  };
  const miniflare = new Miniflare(convertV4MiniflareOptions(options));
  const { href } = await miniflare.ready;
  return { url: href.replace(/\/$/, ""), lines, stop: () => miniflare.dispose() };
}
