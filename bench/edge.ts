/**
 * Edge rows, on workerd as it is run locally (miniflare): what the gate costs there against a bare worker, and what its
 * hop costs a call that a node must do. One run, the same loopback, in turn.
 */
import { setTimeout } from "node:timers/promises";
import { toHex } from "../src/bytes.ts";
import { bundleWorker } from "../src/cli/edge-bundle.ts";
import { instrumented } from "../test/dispatch/guests.ts";
import { type EdgeGate, startEdgeGate } from "../test/support/edge.ts";
import { MASTER } from "../test/support/gate.ts";
import { startWorkerd, type Workerd } from "../test/support/workerd.ts";
import { DEPOSIT, type Identity, posternIdentities } from "./callers.ts";
import { compare, type Row, withMore } from "./harness.ts";
import { Load, openedTarget, race, type Target } from "./http.ts";
import { publishStatelessIn, STATELESS_HANDLER } from "./stateless.ts";

const ACCOUNTS = 64;
const CONNECTIONS = 32;
const HOP_COUNT = 50;
/** By then every isolate knows what was published. */
const FOLLOWED_MS = 2_500;

const BARE = `import { Hono } from "hono";
const app = new Hono();
app.post("/echo", async (c) => c.json(await c.req.json()));
export default app;`;

export async function edgeRows(ids: ReadonlySet<string>, seconds: number): Promise<readonly Row[]> {
  const gates = await startEdgeGate({ handlers: [instrumented(STATELESS_HANDLER)] });
  const script = await bundleWorker(BARE, import.meta.dirname);
  const bare = await startWorkerd({ script, modules: new Map() }, { bindings: {} });
  const load = new Load();
  try {
    const rows: Row[] = [];
    if (ids.has("edge.hop")) rows.push(await hop(load, gates, seconds));
    if (ids.has("edge.vs_bare_worker")) rows.push(await versusBare(load, gates, bare, seconds));
    return rows;
  } finally {
    await gates.end();
    await bare.stop();
  }
}

/** The process that serves is miniflare's: without its number no CPU time is told. */
const at = (url: string): Target["server"] => ({ url, pid: -1 });

async function hop(load: Load, gates: EdgeGate, seconds: number): Promise<Row> {
  const identities = await posternIdentities(gates.store, toHex(MASTER.expose()), ACCOUNTS);
  const opened = await openedTarget(load, at(gates.node.server.url), identities);
  // It moves nothing, so nothing is written: the bucket would be miniflare's, too, and hide what the hop costs.
  const requests = { kind: "signed", identities, message: "balance", args: {} } as const;
  const direct: Target = { ...opened, connections: 1, requests };
  const byEdge: Target = { ...direct, server: at(gates.edge.server.url) };
  const p50_ms = (target: Target) => async () => (await load.run(target, HOP_COUNT)).p50_ms;
  const what =
    "a read of an actor with a state through the edge node to its node, against the same at the node; one connection, p50";
  const spec = { id: "edge.hop", unit: "ms", better: "lower", what, seconds } as const;
  const row = await compare(spec, p50_ms(byEdge), p50_ms(direct));
  const added_ms = row.ours - (row.theirs ?? 0);
  return withMore(row, { added_ms }, `the edge hop adds ${added_ms.toFixed(2)} ms`);
}

async function versusBare(load: Load, gates: EdgeGate, bare: Workerd, seconds: number): Promise<Row> {
  const key = toHex(MASTER.expose());
  const identities: readonly Identity[] = await publishStatelessIn(gates.store, key, ACCOUNTS, "deposit*");
  await setTimeout(FOLLOWED_MS);
  const requests = { kind: "signed", identities, message: "deposit", args: DEPOSIT } as const;
  const ours: Target = { server: at(gates.edge.server.url), connections: CONNECTIONS, requests };
  const theirs: Target = {
    server: at(bare.url),
    connections: CONNECTIONS,
    requests: { kind: "plain", path: "/echo", args: DEPOSIT },
  };
  const what = `a message of an actor without state (6 caveats, ${ACCOUNTS} tokens, Wasm) on workerd, against a bare Hono JSON echo there, both behind miniflare; ${CONNECTIONS} connections`;
  return race(
    load,
    { id: "edge.vs_bare_worker", unit: "req/s", better: "higher", what, seconds },
    ours,
    theirs,
  );
}
