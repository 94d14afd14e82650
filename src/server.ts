/**
 * A node: the gate on a socket, its shard's log, and an orderly end.
 *
 * This is where the clock, randomness and the network enter. A node that must no longer write (another one took
 * its shard, or the store does not answer) stops by itself: restarting recovers everything from the log.
 */
import { randomBytes } from "node:crypto";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setImmediate, setTimeout } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import { Actors } from "./actor/actors.ts";
import { Shard } from "./actor/shard.ts";
import { toHex } from "./bytes.ts";
import { openLog, type ShardLog } from "./cluster/log.ts";
import { isRefusal, type Refusal, refuse, toProblem } from "./errors.ts";
import { Follower } from "./follow.ts";
import { createGateway } from "./gateway.ts";
import { DRAIN_GRACE_MS, DRAIN_NOTICE_MS, HEADERS_BYTES_MAX, RECEIVE_TIMEOUT_MS } from "./limits.ts";
import { createProtocolCache } from "./protocol/cache.ts";
import { stepAll } from "./protocol/monitor.ts";
import { problemResponse } from "./record/reply.ts";
import { lineRecorder } from "./record/requests.ts";
import type { Secret } from "./secret.ts";
import { bip340 } from "./signature/bip340.ts";
import { ReplayWindow } from "./signature/replay.ts";
import type { Store } from "./store/contract.ts";
import { decodeV1 } from "./token/codec-v1.ts";

export interface ServerOptions {
  readonly store: Store;
  readonly master: Secret;
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Further hosts (with their port, where it is not the scheme's) under which callers address this node. */
  readonly authorities: readonly string[];
  /** Request lines and the node's own events, one JSON document each. */
  readonly write: (line: string) => void;
}

export interface Server {
  readonly url: string;
  /** The tenants served now, sorted. */
  readonly tenants: readonly string[];
  /** Ends the node in order; `notice_ms` is how long /readyz says so before calls are refused. */
  stop(notice_ms?: number): Promise<void>;
  /** Resolves when the node has ended: with the reason where it ended by itself. */
  readonly ended: Promise<Refusal | undefined>;
}

const SHARD = 0;

/** Refusals: `store_unavailable`, `not_leader`. Throws where the address cannot be listened on. */
export async function startServer(options: ServerOptions): Promise<Server | Refusal> {
  const node = new GatewayNode(options);
  return (await node.start()) ?? node;
}

class GatewayNode implements Server {
  url = "";
  readonly ended: Promise<Refusal | undefined>;
  readonly #options: ServerOptions;
  readonly #tenants: Follower;
  readonly #endedWith = Promise.withResolvers<Refusal | undefined>();
  #http: HttpServer | undefined;
  /** Present once the shard is recovered. */
  #app: Hono | undefined;
  #log: ShardLog | undefined;
  #draining = false;
  #closed = false;
  #stopping: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#tenants = new Follower({
      store: options.store,
      master: options.master,
      now_ms: () => performance.now(),
      wall_ms: () => Date.now(),
      sleep: (ms) => setTimeout(ms, undefined, { ref: false }),
      problem: (detail) => {
        // What the end of the node cuts off is no news.
        if (!this.#closed) this.#event("tenant_not_read", detail);
      },
    });
    this.ended = this.#endedWith.promise;
  }

  get tenants(): readonly string[] {
    return this.#tenants.names.toSorted();
  }

  async start(): Promise<Refusal | undefined> {
    const [problem] = await this.#tenants.start();
    if (problem !== undefined && this.tenants.length === 0) return refuse("store_unavailable", problem);
    // First the address, then the shard: a node that cannot listen must not have deposed one that does.
    const http = this.#createHttp();
    await new Promise<void>((resolve, reject) => {
      http.once("error", reject);
      http.listen(this.#options.port, this.#options.host, resolve);
    });
    this.#http = http;
    const { address, family, port } = http.address() as AddressInfo;
    this.url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;

    const actors = new Actors();
    const log = await this.#openLog(actors);
    if (isRefusal(log)) {
      await closeHttp(http);
      return log;
    }
    this.#log = log;
    // By way of a URL, as a request's host is read: port 80 is not written.
    const own = ["127.0.0.1", "localhost", "[::1]", new URL(this.url).hostname].map(
      (host) => new URL(`http://${host}:${port}`).host,
    );
    this.#app = this.#createApp(actors, log, new Set([...this.#options.authorities, ...own]));
    void this.#tenants.run(() => this.#closed);
    return undefined;
  }

  #openLog(actors: Actors): Promise<ShardLog | Refusal> {
    const sink = {
      restore: (line: string) => actors.restore(line),
      apply: (entry: string) => actors.applyText(entry),
      lines: () => actors.lines(),
    };
    return openLog(
      {
        store: this.#options.store,
        shard: SHARD,
        session: toHex(randomBytes(8)),
        nonce: () => toHex(randomBytes(16)),
        breathe: () => setImmediate(),
        onStepDown: (why) => this.#stepDown(why),
      },
      sink,
    );
  }

  #createApp(actors: Actors, log: ShardLog, authorities: ReadonlySet<string>): Hono {
    const protocols = createProtocolCache();
    const replays = new ReplayWindow();
    for (const [key, until_s] of actors.nonces()) replays.remember(key, until_s, Date.now() / 1000);
    const shard = new Shard(actors, log, { compile: (text) => protocols.get(text), step: stepAll });
    return createGateway({
      tenant: (name) => this.#tenants.tenant(name),
      shard,
      protocols,
      scheme: bip340,
      replays,
      authorities,
      unready: () =>
        this.#draining ? refuse("draining", "the node is draining") : (log.ended ?? this.#tenants.stale()),
      closed: () => (this.#closed ? refuse("draining", "the node is draining") : log.ended),
      record: lineRecorder(this.#options.write),
      now_ms: () => Date.now(),
      monotonic_ms: () => performance.now(),
      random: (length) => randomBytes(length),
      v1: decodeV1,
    });
  }

  #createHttp(): HttpServer {
    const starting = refuse("overloaded", "the node is starting", { retry_after_ms: 1000 });
    const listener = getRequestListener(
      (request) => this.#app?.fetch(request) ?? problemResponse(starting, toHex(randomBytes(8))),
      {
        errorHandler: () =>
          problemResponse(refuse("malformed_request", "the request cannot be read"), toHex(randomBytes(8))),
      },
    );
    const bounds = { maxHeaderSize: HEADERS_BYTES_MAX, requestTimeout: RECEIVE_TIMEOUT_MS };
    const http = createServer(bounds, (request, response) => void listener(request, response));
    http.on("clientError", refuseUnreadable);
    return http;
  }

  #event(event: string, detail: string): void {
    this.#options.write(`${JSON.stringify({ time: new Date().toISOString(), event, detail })}\n`);
  }

  #stepDown(why: Refusal): void {
    this.#event("stepped_down", why.detail);
    this.#endedWith.resolve(why);
    void this.stop(0);
  }

  stop(notice_ms = DRAIN_NOTICE_MS): Promise<void> {
    this.#stopping ??= this.#drain(notice_ms);
    return this.#stopping;
  }

  async #drain(notice_ms: number): Promise<void> {
    this.#draining = true;
    if (notice_ms > 0) await setTimeout(notice_ms);
    this.#closed = true;
    if (this.#http !== undefined) await closeHttp(this.#http);
    await this.#log?.idle();
    await this.#options.store.close();
    this.#endedWith.resolve(undefined);
  }
}

/** Lets requests in flight finish, then cuts what is left. */
async function closeHttp(http: HttpServer): Promise<void> {
  const closed = new Promise((resolve) => http.close(resolve));
  const deadline_ms = performance.now() + DRAIN_GRACE_MS;
  for (;;) {
    const done = await Promise.race([closed.then(() => true), setTimeout(50, false)]);
    if (done) return;
    if (performance.now() > deadline_ms) http.closeAllConnections();
    // A connection that was busy when the server closed becomes idle later, and would stay.
    else http.closeIdleConnections();
  }
}

/** What Node's parser refuses gets a problem document too. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === "HPE_HEADER_OVERFLOW"
      ? refuse("too_large", `the request's headers have more than ${HEADERS_BYTES_MAX} bytes`)
      : refuse("malformed_request", "the request is not HTTP/1.1, or did not arrive in time");
  const body = JSON.stringify(toProblem(refusal, toHex(randomBytes(8))));
  const head = [
    `HTTP/1.1 ${refusal.status} Refused`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
