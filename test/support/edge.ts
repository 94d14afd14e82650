/**
 * An edge node before a node, as they are deployed: workerd with its R2 binding, and a node that reaches the same bucket
 * by its S3 interface. Both are miniflare's; the worker is the bundle that `postern edge build` makes.
 */

import { toHex } from "../../src/bytes.ts";
import { UsageProblem } from "../../src/cli/command.ts";
import { bundleEdge } from "../../src/cli/edge-bundle.ts";
import { publishAll, readPolicyFolder, type TenantFolder } from "../../src/cli/policy-folder.ts";
import { giveRing } from "../../src/edge-nodes.ts";
import { hashOf } from "../../src/publish.ts";
import { Secret } from "../../src/secret.ts";
import type { ServerOptions } from "../../src/server/options.ts";
import { type Server, startServer } from "../../src/server.ts";
import type { Store } from "../../src/store/contract.ts";
import { s3Store } from "../../src/store/s3.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { MASTER, must, random, type TestGate } from "./gate.ts";
import { freePorts } from "./rgw.ts";
import { s3Options } from "./s3-options.ts";
import { LOCAL_R2, startWorkerd, type Workerd } from "./workerd.ts";

export const EDGE = "test-edge";
export const EDGE_KEY = new Secret(random(32));
const CREDENTIALS = { accessKeyId: "test", secretAccessKey: "test-secret" };

export interface EdgeGate {
  /** The same gate, entered by the node and by the edge node. */
  readonly node: TestGate;
  readonly edge: TestGate;
  readonly store: Store;
  /** Lets the edge node serve a tenant that its settings name. */
  admit(tenant: string): Promise<void>;
  startNode(more?: Partial<ServerOptions>): Promise<Server>;
  end(): Promise<void>;
}

export interface EdgeGateOptions {
  /** Beside `demo`. */
  readonly tenants?: readonly string[];
  /** Further handlers to bundle, instrumented. */
  readonly handlers?: readonly Uint8Array[];
  readonly bindings?: Readonly<Record<string, string>>;
  readonly loader?: boolean;
}

export async function startEdgeGate(options: EdgeGateOptions = {}): Promise<EdgeGate> {
  const folder = await readPolicyFolder("policies", "wasm");
  if (folder instanceof UsageProblem || !folder.ok) throw new Error(JSON.stringify(folder));
  const [port = 0] = await freePorts();
  const host = `127.0.0.1:${port}`;
  const workerd = await startWorker(folder.tenants, options, port);
  const url = `s3://bucket/postern?endpoint=${workerd.url}${LOCAL_R2}`;
  const env = {
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  };
  const open = (): Store => s3Store(s3Options(url, env));
  const store = open();
  must(await publishAll(folder.tenants, { store, master: MASTER, url: "" }, random));
  const admit = async (tenant: string): Promise<void> => {
    must(await giveRing({ store, tenant, master: MASTER, random }, { name: EDGE, key: EDGE_KEY }));
  };
  await admit("demo");
  const lines: string[] = [];
  const startNode = async (more: Partial<ServerOptions> = {}): Promise<Server> =>
    must(
      await startServer({
        store: open(),
        master: MASTER,
        host: "127.0.0.1",
        port: 0,
        authorities: [host],
        shards: 4,
        leaseTtl_ms: 2_000,
        write: (line) => lines.push(line),
        ...more,
      }),
    );
  const server = await startNode();
  const key = await keyOf(store, "demo");
  const end = async (): Promise<void> => {
    await server.stop(0);
    await store.close();
    await workerd.stop();
  };
  const node = { server, directory: "", key, lines, end };
  const edge = { ...node, server: { ...server, url: workerd.url }, lines: workerd.lines };
  return { node, edge, store, admit, startNode, end };
}

export async function keyOf(store: Store, tenant: string): Promise<RootKey> {
  const key = activeKey(must(await readKeyring(store, tenant, MASTER)));
  if (key === undefined) throw new Error("no key");
  return key;
}

async function startWorker(
  folders: readonly TenantFolder[],
  { tenants = [], handlers = [], bindings = {}, loader = false }: EdgeGateOptions,
  port: number,
): Promise<Workerd> {
  const instrumented = folders.flatMap(({ modules }) =>
    [...modules.values()].map((each) => each.instrumented),
  );
  const bundle = await bundleEdge(
    new Map([...instrumented, ...handlers].map((bytes) => [hashOf(bytes), bytes])),
  );
  return startWorkerd(
    bundle,
    {
      bindings: {
        POSTERN_EDGE: EDGE,
        POSTERN_EDGE_KEY: toHex(EDGE_KEY.expose()),
        POSTERN_TENANTS: ["demo", ...tenants].join(","),
        POSTERN_AUTHORITIES: `127.0.0.1:${port}`,
        POSTERN_STORE: "r2:postern",
        ...bindings,
      },
      r2Buckets: { STORE: { id: "bucket", s3Credentials: CREDENTIALS } },
      ...(loader && { workerLoaders: { LOADER: {} } }),
    },
    port,
  );
}
