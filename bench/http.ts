/**
 * The HTTP rows: a real `postern serve` under load, against other servers under the same load.
 *
 * Each server is a process, the load generator is another, everything is on loopback. Requests are signed between
 * the rounds; the signing is not measured. Rounds are sized from what the warm-up showed, so that a slow machine
 * makes smaller ones.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DEPOSIT, embeddedIdentities, type Identity, naiveIdentities } from "./callers.ts";
import {
  cpuOf_ms,
  forkChild,
  ROOT,
  type ServerProcess,
  startOther,
  startPostern,
  startPublished,
  temporaryFolder,
} from "./children.ts";
import { compare, median, ROUNDS_MIN, type Row, type Spec, withMore } from "./harness.ts";
import type { FromLoad, Report, Round, ToLoad } from "./load.ts";
import { publishStateless } from "./stateless.ts";

const CONNECTIONS = 32;
const ACCOUNTS = 64;
const WARM_UP_COUNT = 300;
const COUNT_MIN = 100;
const COUNT_MAX = 10_000;
/** A server that is less busy than this was waiting for the load generator. */
const BUSY_PERCENT_MIN = 70;
/** A round that takes longer than this has lost its server. */
const ROUND_S_MAX = 10;

/** A server as the load generator needs to know it. */
type Addressed = Pick<ServerProcess, "url" | "pid">;

/** Somebody to send requests to, and what to send. */
export interface Target<Server extends Addressed = Addressed> {
  readonly server: Server;
  readonly connections: number;
  readonly requests: Round["requests"];
}

export interface Sample extends Report {
  readonly rps: number;
  /** CPU time of the server for each request; `undefined` where the system does not tell. */
  readonly cpu_us: number | undefined;
}

/** The load generator, and how this process speaks with it. */
export class Load {
  readonly #child: ChildProcess = forkChild("bench/load.ts");

  async #ask(message: ToLoad): Promise<FromLoad> {
    const listening = new AbortController();
    const { signal } = listening;
    const answered = once(this.#child, "message", { signal }).then(([reply]: unknown[]) => reply as FromLoad);
    const died = once(this.#child, "exit", { signal }).then(
      (): FromLoad => ({ error: "the load generator has ended" }),
    );
    this.#child.send(message);
    const reply = await Promise.race([answered, died]);
    // The one that lost would wait for ever.
    listening.abort();
    await Promise.allSettled([answered, died]);
    if ("error" in reply) throw new Error(reply.error);
    return reply;
  }

  async run({ server, connections, requests }: Target, count: number): Promise<Sample> {
    const url = server.url;
    await this.#ask({ prepare: { url, connections, count, seconds_max: ROUND_S_MAX, requests } });
    const cpuBefore_ms = cpuOf_ms(server.pid);
    const reply = await this.#ask({ go: true });
    const cpuAfter_ms = cpuOf_ms(server.pid);
    if (!("report" in reply)) throw new Error("the load generator answered no report");
    const { report } = reply;
    const cpu_us =
      cpuBefore_ms === undefined || cpuAfter_ms === undefined
        ? undefined
        : ((cpuAfter_ms - cpuBefore_ms) * 1000) / report.requests;
    return { ...report, rps: (report.requests * 1000) / report.elapsed_ms, cpu_us };
  }
}

/** A real gateway with opened accounts, on a store of its own. */
async function posternTarget(load: Load): Promise<Target> {
  const store = temporaryFolder();
  const server = await startPostern(store);
  return openedTarget(load, server, await embeddedIdentities(store, ACCOUNTS));
}

async function naiveTarget(load: Load): Promise<Target> {
  const secret = "a secret of the naive server";
  const server = await startOther("naive", secret, join(ROOT, "wasm/account/account.wasm"));
  return openedTarget(load, server, naiveIdentities(secret, ACCOUNTS));
}

/** Opens an account for each identity; what follows are deposits. */
export async function openedTarget<Server extends Addressed>(
  load: Load,
  server: Server,
  identities: readonly Identity[],
): Promise<Target<Server>> {
  const signed = { kind: "signed", identities } as const;
  const opening: Target<Server> = {
    server,
    connections: CONNECTIONS,
    requests: { ...signed, message: "open", args: { owner: "Bench" } },
  };
  await load.run(opening, identities.length);
  return { ...opening, requests: { ...signed, message: "deposit", args: DEPOSIT } };
}

/** A real gateway whose accounts have no state: any deposit is answered the same. */
async function statelessTarget(): Promise<Target> {
  const folder = temporaryFolder();
  const protocol = "deposit*";
  const identities = await publishStateless(folder, ACCOUNTS, protocol);
  const server = await startPublished(folder);
  const requests = { kind: "signed", identities, message: "deposit", args: DEPOSIT } as const;
  return { server, connections: CONNECTIONS, requests };
}

async function echoTarget(): Promise<Target> {
  const server = await startOther("echo");
  return { server, connections: CONNECTIONS, requests: { kind: "plain", path: "/echo", args: DEPOSIT } };
}

/** How many requests fill a side's share of a round, preparing included. */
async function sizeRound(load: Load, target: Target, share_s: number): Promise<number> {
  let started_ms = performance.now();
  for (let i = 0; i < 2; i++) {
    started_ms = performance.now();
    await load.run(target, WARM_UP_COUNT);
  }
  const each_ms = (performance.now() - started_ms) / WARM_UP_COUNT;
  return Math.min(COUNT_MAX, Math.max(COUNT_MIN, Math.round((share_s * 1000) / each_ms)));
}

/** Alternating rounds of two servers; the row is in requests per second, with latencies and CPU in its details. */
export async function race(load: Load, spec: Spec, ours: Target, theirs: Target): Promise<Row> {
  const share_s = Math.min(0.75, spec.seconds / (2 * ROUNDS_MIN));
  const counts = [await sizeRound(load, ours, share_s), await sizeRound(load, theirs, share_s)] as const;
  const samples: readonly [Sample[], Sample[]] = [[], []];
  const side = (which: 0 | 1, target: Target) => async (): Promise<number> => {
    const sample = await load.run(target, counts[which]);
    samples[which].push(sample);
    return sample.rps;
  };
  const row = await compare(spec, side(0, ours), side(1, theirs));
  const [a, b] = [summary(samples[0]), summary(samples[1])];
  const both = { ...prefixed("ours", a), ...prefixed("theirs", b) };
  const told = withMore(row, both, say("ours", a), say("theirs", b));
  if (!(b.busy_percent < BUSY_PERCENT_MIN)) return told;
  const cpu_ratio = a.cpu_us / b.cpu_us;
  const caution = `their server was not busy (it waited for the load generator); in CPU time of the server ours costs ×${cpu_ratio.toFixed(0)}`;
  return withMore(told, { cpu_ratio }, caution);
}

type Summary = Readonly<Record<"p50_ms" | "p99_ms" | "cpu_us" | "busy_percent", number>>;

function summary(samples: readonly Sample[]): Summary {
  // The grain of one round is coarse, so this is the whole time over all requests.
  const requests = samples.reduce((sum, sample) => sum + sample.requests, 0);
  const cpu_us =
    samples.reduce((sum, sample) => sum + (sample.cpu_us ?? Number.NaN) * sample.requests, 0) / requests;
  const rps = median(samples.map((sample) => sample.rps));
  return {
    p50_ms: median(samples.map((sample) => sample.p50_ms)),
    p99_ms: median(samples.map((sample) => sample.p99_ms)),
    cpu_us,
    busy_percent: (cpu_us * rps) / 10_000,
  };
}

function prefixed(prefix: string, numbers: Summary): Record<string, number> {
  const known = Object.entries(numbers).filter(([, value]) => Number.isFinite(value));
  return Object.fromEntries(known.map(([name, value]) => [`${prefix}_${name}`, value]));
}

function say(whose: string, { p50_ms, p99_ms, cpu_us, busy_percent }: Summary): string {
  const latency = `p50 ${p50_ms.toFixed(2)} ms, p99 ${p99_ms.toFixed(2)} ms`;
  if (!Number.isFinite(cpu_us)) return `${whose}: ${latency}`;
  return `${whose}: ${latency}, ${cpu_us.toFixed(0)} µs CPU a request, its process ${busy_percent.toFixed(0)} % busy`;
}

/** What it starts is stopped by whoever measures rows (`stopAll`), also where it throws. */
export async function statelessVersusEcho(seconds: number): Promise<readonly Row[]> {
  const load = new Load();
  const what = `a message of an actor without state (6 caveats, ${ACCOUNTS} tokens, Wasm, no log) at ${CONNECTIONS} connections, against a bare Hono JSON echo of an unsigned post`;
  const spec = { id: "http.stateless_vs_echo", unit: "req/s", better: "higher", what, seconds } as const;
  return [await race(load, spec, await statelessTarget(), await echoTarget())];
}

const FULL = `the full path (6 caveats, ${ACCOUNTS} accounts, Wasm deposit, fsynced) at ${CONNECTIONS} connections`;

/** What it starts is stopped by whoever measures rows (`stopAll`), also where it throws. */
export async function fullVersus(other: "echo" | "naive", seconds: number): Promise<readonly Row[]> {
  const load = new Load();
  const ours = await posternTarget(load);
  const theirs = other === "echo" ? await echoTarget() : await naiveTarget(load);
  const against =
    other === "echo"
      ? "a bare Hono JSON echo of an unsigned post"
      : "Hono + macaroons.js + noble Schnorr + a fresh raw instance, state in a Map, nothing durable or metered";
  const what = `${FULL}, against ${against}`;
  const spec = { id: `http.full_vs_${other}`, unit: "req/s", better: "higher", what, seconds } as const;
  const row = await race(load, spec, ours, theirs);
  if (availableParallelism() > 1) return [row];
  return [withMore(row, {}, "one core only: the load generator took part of the server's time")];
}
