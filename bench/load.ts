/**
 * The load generator, a process of its own: bounded in count and time, over a fixed number of connections.
 *
 * A round comes in two steps, so that making requests is not measured: `prepare` signs exactly what the round will
 * send and answers `ready`; `go` sends it, as fast as the server answers, and answers a report. Every answer must
 * be a 200: a round in which one is not is an error, not a number.
 */
import { randomBytes } from "node:crypto";
import { type Dispatcher, Pool } from "undici";
import type { Json } from "../src/json.ts";
import { signCall } from "../src/sdk/client.ts";
import { callerOf, type Identity, TENANT } from "./callers.ts";
import { quantile } from "./harness.ts";

export interface Round {
  /** Of the server: `http://127.0.0.1:1234`. */
  readonly url: string;
  readonly connections: number;
  readonly count: number;
  /** No request is sent after so long. */
  readonly seconds_max: number;
  /** `signed`: the identities take turns. `plain`: a bare JSON post, for servers without tokens. */
  readonly requests:
    | {
        readonly kind: "signed";
        readonly identities: readonly Identity[];
        readonly message: string;
        readonly args: Json;
      }
    | { readonly kind: "plain"; readonly path: string; readonly args: Json };
}

export interface Report {
  readonly requests: number;
  readonly elapsed_ms: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

export type ToLoad = { readonly prepare: Round } | { readonly go: true };
export type FromLoad = { readonly ready: true } | { readonly report: Report } | { readonly error: string };

type Request = Dispatcher.DispatchOptions;

const pools = new Map<string, Pool>();
const callers = new Map<string, ReturnType<typeof callerOf>>();

function poolFor({ url, connections }: Round): Pool {
  const key = `${url} ${connections}`;
  const pool = pools.get(key) ?? new Pool(url, { connections, pipelining: 1 });
  pools.set(key, pool);
  return pool;
}

/** Names and values in turn, so that the client has least to do while it is measured. */
function flat(headers: Readonly<Record<string, string>>): string[] {
  return Object.entries(headers).flat();
}

function requestsOf({ url, count, requests }: Round): readonly Request[] {
  if (requests.kind === "plain") {
    const headers = flat({ "content-type": "application/json" });
    const body = JSON.stringify(requests.args);
    return Array.from({ length: count }, () => ({ method: "POST", path: requests.path, headers, body }));
  }
  const { identities, message, args } = requests;
  // Each round begins with another account, so that short rounds reach all of them.
  const first = randomBytes(2).readUInt16BE();
  return Array.from({ length: count }, (_, i) => {
    const identity = identities[(message === "open" ? i : first + i) % identities.length];
    if (identity === undefined) throw new Error("a signed round needs identities");
    const key = `${url} ${identity.actor}`;
    const caller = callers.get(key) ?? callerOf(identity, url);
    callers.set(key, caller);
    const signed = signCall(caller, { tenant: TENANT, actor: identity.actor, message, args });
    return {
      method: "POST",
      path: new URL(signed.url).pathname,
      headers: flat(signed.headers),
      body: signed.body,
    };
  });
}

/** @returns how long it took; rejects on any answer but a 200. */
function send(pool: Pool, request: Request): Promise<number> {
  const started_ms = performance.now();
  return new Promise((resolve, reject) => {
    let status = 0;
    let refused = "";
    pool.dispatch(request, {
      onRequestStart() {},
      onResponseStart(_controller, statusCode) {
        status = statusCode;
      },
      onResponseData(_controller, chunk) {
        if (status !== 200) refused += chunk.toString();
      },
      onResponseEnd() {
        if (status === 200) resolve(performance.now() - started_ms);
        else reject(new Error(`${request.path} answered ${status}: ${refused}`));
      },
      onResponseError(_controller, error) {
        reject(error);
      },
    });
  });
}

async function run(round: Round, requests: readonly Request[]): Promise<Report> {
  const pool = poolFor(round);
  const latencies_ms: number[] = [];
  const started_ms = performance.now();
  const end_ms = started_ms + round.seconds_max * 1000;
  let next = 0;
  async function connection(): Promise<void> {
    while (performance.now() < end_ms) {
      const request = requests[next++];
      if (request === undefined) return;
      latencies_ms.push(await send(pool, request));
    }
  }
  await Promise.all(Array.from({ length: round.connections }, connection));
  return {
    requests: latencies_ms.length,
    elapsed_ms: performance.now() - started_ms,
    p50_ms: quantile(latencies_ms, 0.5),
    p99_ms: quantile(latencies_ms, 0.99),
  };
}

let prepared: { readonly round: Round; readonly requests: readonly Request[] } | undefined;

async function answer(message: ToLoad): Promise<FromLoad> {
  try {
    if ("prepare" in message) {
      prepared = { round: message.prepare, requests: requestsOf(message.prepare) };
      return { ready: true };
    }
    if (prepared === undefined) throw new Error("go came before prepare");
    const { round, requests } = prepared;
    prepared = undefined;
    return { report: await run(round, requests) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

process.on("message", (message: ToLoad) => {
  void answer(message).then((reply) => process.send?.(reply));
});
// Without its parent it has nothing to do.
process.once("disconnect", () => process.exit());
