/** `postern edge build`: a directory that `wrangler deploy` takes as it is. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { isHost } from "../edge/settings.ts";
import { hashOf } from "../publish.ts";
import { type Outcome, UsageProblem } from "./command.ts";
import { bundleEdge, COMPATIBILITY_DATE } from "./edge-bundle.ts";
import { messageOf } from "./inputs.ts";
import { folderFailed, readPolicyFolder, type TenantFolder } from "./policy-folder.ts";

export interface EdgeBuild {
  readonly name: string;
  readonly authorities: readonly string[];
  /** None: all of the policies. */
  readonly tenants: readonly string[];
  readonly policies: string;
  readonly wasm: string | undefined;
  /** `r2:PREFIX` or `s3://…`. */
  readonly store: string;
  readonly bucket: string;
  /** `none` where no field is believed. */
  readonly addressField: string;
  readonly loader: boolean;
  /** `wrangler dev` offers the S3 interface of its bucket. */
  readonly isLocal: boolean;
  readonly out: string;
}

export async function edgeBuild(build: EdgeBuild): Promise<Outcome> {
  if (build.authorities.length === 0 || !build.authorities.every(isHost))
    return new UsageProblem("--authority HOST is needed: under which host callers address the edge node");
  const folder = await readPolicyFolder(build.policies, build.wasm);
  if (folder instanceof UsageProblem) return folder;
  if (!folder.ok) return folderFailed(folder.problems);
  const served = folder.tenants.filter(
    ({ policy }) => build.tenants.length === 0 || build.tenants.includes(policy.tenant),
  );
  const names = served.map(({ policy }) => policy.tenant);
  const missing = build.tenants.find((tenant) => !names.includes(tenant));
  if (missing !== undefined) return new UsageProblem(`${build.policies} holds no tenant ${missing}`);

  const handlers = statelessHandlers(served);
  const bundle = await bundleEdge(handlers).catch(messageOf);
  if (typeof bundle === "string") return new UsageProblem(`the worker cannot be bundled: ${bundle}`);
  const { script, modules } = bundle;
  const files = new Map<string, string | Uint8Array>([
    ["worker.js", script],
    ...modules,
    ["wrangler.json", `${JSON.stringify(configuration(build, names), undefined, 2)}\n`],
  ]);
  try {
    rmSync(build.out, { recursive: true, force: true });
    mkdirSync(build.out, { recursive: true });
    for (const [file, content] of files) writeFileSync(join(build.out, file), content);
  } catch (error) {
    return new UsageProblem(`${build.out} cannot be written: ${messageOf(error)}`);
  }
  const sizes = { script_bytes: script.length, gzip_bytes: gzipSync(script).length };
  return {
    json: { directory: build.out, tenants: names, handlers: [...handlers.keys()], ...sizes },
    text: [
      `${build.out}/worker.js: ${kilobytes(sizes.script_bytes)}, ${kilobytes(sizes.gzip_bytes)} gzip; handlers: ${handlers.size}`,
      `tenants: ${names.join(", ")}`,
    ].join("\n"),
  };
}

const kilobytes = (bytes: number): string => `${Math.ceil(bytes / 1024)} KB`;

/** By hash: those that an edge node can run. An actor with a state is its leader's affair. */
function statelessHandlers(tenants: readonly TenantFolder[]): ReadonlyMap<string, Uint8Array> {
  const handlers = new Map<string, Uint8Array>();
  for (const { policy, modules } of tenants)
    for (const { state, handler } of Object.values(policy.actors)) {
      const module = state === "none" ? modules.get(handler.wasm)?.instrumented : undefined;
      if (module !== undefined) handlers.set(hashOf(module), module);
    }
  return handlers;
}

/** No secret: who reaches the port has the bucket. */
const LOCAL = { experimental_s3_credentials: { accessKeyId: "local", secretAccessKey: "local" } };

/** What wrangler reads. Secrets are not in it: POSTERN_EDGE_KEY, and those of a bucket in S3. */
function configuration(build: EdgeBuild, tenants: readonly string[]): object {
  const { name, authorities, store, bucket, addressField, loader, isLocal } = build;
  const bound = { binding: "STORE", bucket_name: bucket, ...(isLocal && { local_dev: LOCAL }) };
  return {
    name: `postern-${name}`,
    main: "worker.js",
    compatibility_date: COMPATIBILITY_DATE,
    no_bundle: true,
    find_additional_modules: true,
    send_metrics: false,
    vars: {
      POSTERN_EDGE: name,
      POSTERN_TENANTS: tenants.join(","),
      POSTERN_AUTHORITIES: authorities.join(","),
      POSTERN_STORE: store,
      ...(addressField !== "none" && { POSTERN_CLIENT_ADDRESS: addressField }),
    },
    ...(store.startsWith("r2:") && { r2_buckets: [bound] }),
    ...(loader && { worker_loaders: [{ binding: "LOADER" }] }),
  };
}
