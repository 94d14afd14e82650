/**
 * What durability costs: calls for each put, and how fast and how soon calls are answered, by window and distance.
 *
 * A real node and 64 clients on one shard, through the whole gate. The store is the embedded one and, where Ceph's RGW is
 * installed, a bucket, each further away than it is here. Puts are counted in the node: leases and checkpoints, too.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { toHex } from "../src/bytes.ts";
import { COMMIT_WINDOW } from "../src/limits.ts";
import { s3Store } from "../src/store/s3.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { isRgwInstalled, type Rgw, startRgw } from "../test/support/rgw.ts";
import { s3Options } from "../test/support/s3-options.ts";
import { posternIdentities } from "./callers.ts";
import { ROOT, type ServerProcess, startSlowNode, stop, temporaryFolder } from "./children.ts";
import { compare, median, type Row, withMore } from "./harness.ts";
import { Load, openedTarget, type Sample, type Target } from "./http.ts";

const CLIENTS = 64;
const FAR_MS = 50;
const LATENCIES_MS = [0, 5, FAR_MS];
const WINDOWS = [1, 2, 4];
const DRIVERS = { file: "the embedded store", s3: "Ceph RGW" } as const;
/** For each client, in one round of many clients and of one. */
const CALLS_EACH = 8;
/** AWS S3 Standard, us-east-1. */
const DOLLARS_PER_PUT = 0.005 / 1000;

interface Place {
  readonly url: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A fresh store with the demo's policies. */
async function newPlace(rgw: Rgw | undefined): Promise<Place> {
  const url = rgw?.freshUrl() ?? `file:${temporaryFolder()}`;
  const env = { ...rgw?.env, POSTERN_MASTER_KEY: toHex(randomBytes(32)) };
  const args = ["src/bin.js", "apply", "policies/demo", "--store", url].map((arg, i) =>
    i === 0 || i === 2 ? join(ROOT, arg) : arg,
  );
  execFileSync(process.execPath, args, { env: { ...process.env, ...env }, stdio: "ignore" });
  return { url, env };
}

type Counted = Sample & { readonly callsPerPut: number };

class SlowNode {
  readonly target: Target<ServerProcess>;
  readonly #load: Load;

  private constructor(target: Target<ServerProcess>, load: Load) {
    this.target = target;
    this.#load = load;
  }

  static async start(load: Load, { url, env }: Place, latency_ms: number, window: number): Promise<SlowNode> {
    const server = await startSlowNode(url, latency_ms, window, env);
    const store = url.startsWith("s3:")
      ? s3Store(s3Options(url, env))
      : sqliteStore(url.slice("file:".length));
    const identities = await posternIdentities(store, env["POSTERN_MASTER_KEY"] ?? "", CLIENTS);
    await store.close();
    const opened = await openedTarget(load, server, identities);
    return new SlowNode({ ...opened, connections: CLIENTS }, load);
  }

  async run(clients: number): Promise<Counted> {
    const { server } = this.target;
    const before = await putsOf(server);
    const sample = await this.#load.run({ ...this.target, connections: clients }, clients * CALLS_EACH);
    return { ...sample, callsPerPut: sample.requests / ((await putsOf(server)) - before) };
  }

  stop(): Promise<void> {
    return stop(this.target.server.child);
  }
}

async function putsOf({ child }: ServerProcess): Promise<number> {
  const answered = once(child, "message");
  child.send("puts");
  const [{ puts }] = (await answered) as [{ puts: number }];
  return puts;
}

export async function callsPerPut(seconds: number): Promise<readonly Row[]> {
  const node = await SlowNode.start(new Load(), await newPlace(undefined), FAR_MS, COMMIT_WINDOW);
  const counted = (clients: number) => async (): Promise<number> => (await node.run(clients)).callsPerPut;
  const what = `calls for each put of the store, ${CLIENTS} clients on one shard, ${FAR_MS} ms from the store, against 1 client (no group commit)`;
  const spec = { id: "log.calls_per_put", unit: "calls/put", better: "higher", what, seconds } as const;
  await node.run(CLIENTS);
  const row = await compare(spec, counted(CLIENTS), counted(1));
  const puts_per_1000_calls = 1000 / row.ours;
  const dollars_per_million_calls = (1e6 / row.ours) * DOLLARS_PER_PUT;
  const note = `${puts_per_1000_calls.toFixed(1)} puts for 1,000 calls; on S3 Standard $${dollars_per_million_calls.toFixed(3)} for a million calls`;
  return [withMore(row, { puts_per_1000_calls, dollars_per_million_calls }, note)];
}

export async function windowGrid(ids: ReadonlySet<string>, seconds: number): Promise<readonly Row[]> {
  const load = new Load();
  const rows = ids.has("log.window_file") ? [await gridOf("file", undefined, load, seconds)] : [];
  if (!ids.has("log.window_s3")) return rows;
  if (!isRgwInstalled()) throw new Error("log.window_s3 needs Ceph's RGW, which is not installed");
  const rgw = await startRgw();
  try {
    return [...rows, await gridOf("s3", rgw, load, seconds)];
  } finally {
    await rgw.stop();
  }
}

interface Cell {
  readonly latency_ms: number;
  readonly window: number;
  readonly node: SlowNode;
  readonly samples: Counted[];
}

/** The cells take turns, so that a slow minute of the machine meets all of them alike. */
async function gridOf(
  driver: keyof typeof DRIVERS,
  rgw: Rgw | undefined,
  load: Load,
  seconds: number,
): Promise<Row> {
  const cells: Cell[] = [];
  for (const latency_ms of LATENCIES_MS)
    for (const window of WINDOWS) {
      const node = await SlowNode.start(load, await newPlace(rgw), latency_ms, window);
      cells.push({ latency_ms, window, node, samples: [] });
    }
  const [far, near] = [cells.filter(isFar), cells.filter((cell) => !isFar(cell))];
  const measure = async (window: number): Promise<number> => {
    const cell = far.find((one) => one.window === window);
    return cell === undefined ? Number.NaN : (await runIn(cell)).rps;
  };
  const what = `durable calls with ${CLIENTS} clients on one shard, ${FAR_MS} ms from ${DRIVERS[driver]}: a window of 4 commits against 1`;
  const spec = { id: `log.window_${driver}`, unit: "calls/s", better: "higher", what, seconds } as const;
  const row = await compare(
    spec,
    async () => {
      for (const cell of near) await runIn(cell);
      await measure(2);
      return measure(4);
    },
    () => measure(1),
  );
  for (const { node } of cells) await node.stop();
  return cells.reduce((told, cell) => withMore(told, ...tell(cell)), row);
}

const isFar = ({ latency_ms }: Cell): boolean => latency_ms === FAR_MS;

async function runIn({ node, samples }: Cell): Promise<Counted> {
  const sample = await node.run(CLIENTS);
  samples.push(sample);
  return sample;
}

function tell({ latency_ms, window, samples }: Cell): [details: Record<string, number>, note: string] {
  const middle = (key: "rps" | "p50_ms" | "p99_ms" | "callsPerPut"): number =>
    median(samples.map((sample) => sample[key]));
  const [rps, p50_ms, p99_ms, shared] = [
    middle("rps"),
    middle("p50_ms"),
    middle("p99_ms"),
    middle("callsPerPut"),
  ];
  const name = `added${latency_ms}ms_window${window}`;
  const details = {
    [`${name}_calls_per_s`]: rps,
    [`${name}_p50_ms`]: p50_ms,
    [`${name}_p99_ms`]: p99_ms,
    [`${name}_calls_per_put`]: shared,
  };
  const where = `${latency_ms} ms added, window ${window}:`.padEnd(25);
  return [
    details,
    `${where}${rps.toFixed(0)} calls/s, p50 ${p50_ms.toFixed(0)} ms, p99 ${p99_ms.toFixed(0)} ms, ${shared.toFixed(1)} calls/put`,
  ];
}
