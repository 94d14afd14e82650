/** Workers in the real workerd, by miniflare, on loopback. */
import { convertV4MiniflareOptions, Miniflare, type V4MiniflareOptions } from "miniflare";
import { COMPATIBILITY_DATE, type EdgeBundle } from "../../src/cli/edge-bundle.ts";

export interface Workerd {
  readonly url: string;
  /** What the worker has printed. */
  readonly lines: readonly string[];
  stop(): Promise<void>;
}

/** Where miniflare offers the S3 interface of its buckets. */
export const LOCAL_R2 = "/cdn-cgi/local/r2/s3";

/** What a worker is bound to. */
export interface WorkerBindings {
  readonly bindings: Record<string, string>;
  readonly r2Buckets?:
    | string[]
    /** With its S3 interface below `LOCAL_R2`. */
    | Record<string, { id: string; s3Credentials: { accessKeyId: string; secretAccessKey: string } }>;
  readonly workerLoaders?: Record<string, Record<string, never>>;
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
