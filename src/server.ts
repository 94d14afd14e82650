/**
 * A node: the gate on a socket, its shards, and an orderly end.
 *
 * This is where the clock, randomness and the network enter. A node that other nodes have declared dead stops by itself:
 * restarting recovers everything from the logs.
 */
import { randomBytes } from "node:crypto";
import type { Server as HttpServer } from "node:http";
import { setImmediate, setTimeout } from "node:timers/promises";
import { Readings, readingBytes } from "./authorize/readings.ts";
import { toHex } from "./bytes.ts";
import { CallerAddress } from "./caller-address.ts";
import type { Clock } from "./cluster/clock.ts";
import { ensureMeta } from "./cluster/meta.ts";
import { draining, unknownNode } from "./cluster/refusals.ts";
import { Courier } from "./courier.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { Follower } from "./follow.ts";
import { createGateway } from "./gateway.ts";
import { StoredHandlers } from "./handlers.ts";
import { COMMIT_WINDOW, DRAIN_GRACE_MS, DRAIN_NOTICE_MS, LEASE_TTL_MS, SHARDS_DEFAULT } from "./limits.ts";
import { createProtocolCache } from "./protocol/cache.ts";
import { Quarantine, quarantine } from "./quarantine.ts";
import { problemResponse } from "./record/reply.ts";
import { lineRecorder } from "./record/requests.ts";
import { addressOf, closeHttp, createHttp, listen } from "./server/http.ts";
import type { ServerOptions } from "./server/options.ts";
import { processIsGone, processName } from "./server/process.ts";
import { undiciSender } from "./server/send.ts";
import type { TurnReport } from "./server/supervision.ts";
import { TurnPool, usualThreads } from "./server/turn-pool.ts";
import { Shards } from "./shards.ts";
import { Challenges } from "./signature/challenge.ts";
import { ed25519 } from "./signature/ed25519.ts";
import { HolderSignatures } from "./signature/holder.ts";
import { KnownKeys } from "./signature/known-keys.ts";
import { ReplayWindow } from "./signature/replay.ts";
import { openWith, TenantDirectory } from "./tenants.ts";
import { PrefixCache } from "./token/prefix-cache.ts";
import { MasterVault } from "./vault.ts";

export interface Server {
  readonly url: string;
  /** The tenants served now, sorted. */
  readonly tenants: readonly string[];
  /** Ends the node in order; `notice_ms` is how long /readyz says so before calls are refused. */
  stop(notice_ms?: number): Promise<void>;
  /** What its threads are at; to be asked for at each heartbeat. */
  beat(): readonly TurnReport[];
  /** Resolves when the node has ended: with the reason where it ended by itself. */
  readonly ended: Promise<Refusal | undefined>;
}

/** Refusals: `store_unavailable`. Throws where the address cannot be listened on. */
export async function startServer(options: ServerOptions): Promise<Server | Refusal> {
  const node = new GatewayNode(options);
  return (await node.start()) ?? node;
}

const CLOCK: Clock = {
  now_ms: () => performance.now(),
  sleep: (ms) => setTimeout(ms, undefined, { ref: false }),
};

class GatewayNode implements Server {
  url = "";
  readonly ended: Promise<Refusal | undefined>;
  readonly #options: ServerOptions;
  readonly #turns: TurnPool;
  readonly #tenants: Follower;
  readonly #endedWith = Promise.withResolvers<Refusal | undefined>();
  readonly #sender = undiciSender();
  #http: HttpServer | undefined;
  #shards: Shards | undefined;
  /** Present once shards are served. */
  #app: ReturnType<typeof createGateway> | undefined;
  #draining = false;
  #closed = false;
  /** Why the node ended by itself. */
  #lost: Refusal | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { turnThreads: threads = usualThreads() } = options;
    this.#turns = new TurnPool({ threads, now_ms: () => performance.now() });
    const quarantined = new Quarantine();
    this.#tenants = new Follower({
      store: options.store,
      directory: new TenantDirectory({
        store: options.store,
        openKeys: openWith(options.master),
        handlers: new StoredHandlers(options.store, this.#turns),
        quarantine: quarantined,
      }),
      quarantine: quarantined,
      ...CLOCK,
      wall_ms: () => Date.now(),
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

  beat(): readonly TurnReport[] {
    return this.#turns.beat();
  }

  async start(): Promise<Refusal | undefined> {
    let started = false;
    try {
      const failed = await this.#start();
      started = failed === undefined;
      return failed;
    } finally {
      if (!started) {
        this.#closed = true;
        await this.#turns.close();
      }
    }
  }

  async #start(): Promise<Refusal | undefined> {
    const { store, shards = SHARDS_DEFAULT, blamed = [] } = this.#options;
    for (const handler of blamed) {
      const unwritten = await quarantine(store, handler, new Date().toISOString(), randomBytes);
      if (unwritten !== undefined) return unwritten;
      this.#event("handler_quarantined", "its turns are refused", { ...handler });
    }
    const [problem] = await this.#tenants.start();
    if (problem !== undefined && this.tenants.length === 0) return refuse("store_unavailable", problem);
    void this.#tenants.run(() => this.#closed);
    const meta = await ensureMeta(store, shards, toHex(randomBytes(16)));
    if (isRefusal(meta)) return meta;
    // First the address, then the shards: a node that cannot listen must not have taken any from one that does.
    const http = createHttp((request, peer) => this.#answer(request, peer));
    await listen(http, this.#options.host, this.#options.port);
    this.#http = http;
    const { url, authorities } = addressOf(http);
    this.url = url;

    const own = new Set([...this.#options.authorities, ...authorities]);
    const failed = await this.#startShards(meta.shards, own);
    if (failed !== undefined) {
      await closeHttp(http);
      return failed;
    }
    return undefined;
  }

  async #answer(request: Request, peer: string | undefined): Promise<Response> {
    const starting = refuse("overloaded", "the node is starting", { retry_after_ms: 1000 });
    return this.#app?.fetch(request, { peer }) ?? problemResponse(starting, toHex(randomBytes(8)));
  }

  /** What actors send meets this node's own gate. */
  #courier(vault: MasterVault): Courier {
    return new Courier({
      vault,
      ask: (request) => this.#answer(request, undefined),
      url: this.url,
      wall_ms: () => Date.now(),
      random: (length) => randomBytes(length),
    });
  }

  async #startShards(shardCount: number, authorities: ReadonlySet<string>): Promise<Refusal | undefined> {
    const { store, master, advertise, trustedProxies = [] } = this.#options;
    const { leaseTtl_ms = LEASE_TTL_MS, window = COMMIT_WINDOW } = this.#options;
    const protocols = createProtocolCache();
    const replays = new ReplayWindow();
    const vault = new MasterVault(master, (length) => randomBytes(length));
    const shards = new Shards({
      store,
      clock: CLOCK,
      session: toHex(randomBytes(8)),
      nonce: () => toHex(randomBytes(16)),
      breathe: () => setImmediate(),
      wallTime: () => new Date().toISOString(),
      url: advertise ?? this.url,
      authorities: [...authorities],
      process: processName(),
      isGone: processIsGone,
      shardCount,
      ttl_ms: leaseTtl_ms,
      window,
      protocols,
      replays,
      send: this.#sender.send,
      courier: this.#courier(vault),
      lost: (why) => this.#stepDown(why),
      event: (event, shard, detail) => this.#event(event, detail, { shard }),
    });
    const failed = await shards.start();
    if (failed !== undefined) return failed;
    this.#shards = shards;
    const answersTo = (host: string) => authorities.has(host) || shards.isPeerAuthority(host);
    this.#app = createGateway({
      tenant: (name) => this.#tenants.tenant(name),
      call: (...call) => shards.call(...call),
      describe: (...question) => shards.describe(...question),
      protocols,
      prefixes: new PrefixCache({ readingBytes, monotonic_ms: () => CLOCK.now_ms() }),
      readings: new Readings(),
      signatures: new HolderSignatures(new KnownKeys(), ed25519),
      replays,
      vault,
      challenges: new Challenges(master),
      callerAddress: new CallerAddress(trustedProxies, master),
      answersTo,
      meetPeer: async (host) => {
        if (answersTo(host)) return undefined;
        await shards.meetPeers();
        return answersTo(host) ? undefined : unknownNode();
      },
      unready: () => (this.#draining ? draining() : (this.#lost ?? this.#tenants.stale())),
      closed: () => (this.#closed ? draining() : this.#lost),
      record: lineRecorder(this.#options.write),
      now_ms: () => Date.now(),
      monotonic_ms: () => performance.now(),
      random: (length) => randomBytes(length),
    });
    return undefined;
  }

  #event(event: string, detail: string, more: object = {}): void {
    this.#options.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...more, detail })}\n`);
  }

  #stepDown(why: Refusal): void {
    this.#lost = why;
    this.#event("stepped_down", why.detail);
    this.#endedWith.resolve(why);
    void this.stop(0);
  }

  stop(notice_ms = DRAIN_NOTICE_MS): Promise<void> {
    this.#stopping ??= this.#stop(notice_ms);
    return this.#stopping;
  }

  /** Most timers here keep no process alive. Once the socket is closed, nothing else might, and the end would be cut off. */
  async #stop(notice_ms: number): Promise<void> {
    const awake = setInterval(() => {}, DRAIN_GRACE_MS);
    try {
      await this.#drain(notice_ms);
    } finally {
      clearInterval(awake);
    }
  }

  /** Where others live, they take over while calls are still taken and passed on to them; no call need fail. */
  async #drain(notice_ms: number): Promise<void> {
    this.#draining = true;
    const notice = notice_ms > 0 ? setTimeout(notice_ms) : undefined;
    const succeeded = this.#lost === undefined && (this.#shards?.successors.length ?? 0) > 0;
    if (succeeded) await this.#shards?.drain();
    await notice;
    this.#closed = true;
    if (this.#http !== undefined) await closeHttp(this.#http);
    await this.#shards?.drain();
    await this.#shards?.leave();
    await this.#sender.close();
    await this.#turns.close();
    await this.#options.store.close();
    this.#endedWith.resolve(undefined);
  }
}
