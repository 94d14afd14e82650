/**
 * An edge node: the same gate on workerd.
 *
 * It verifies, refuses and answers what any node may answer; what needs an actor's state goes to the node that leads its
 * shard, as it came. It has no master key, owns no shard and writes nothing. Here the platform's clock, randomness and
 * network enter. The platform's clock stands still while a request computes and moves with its I/O.
 */

import { Readings, readingBytes } from "./authorize/readings.ts";
import { toHex } from "./bytes.ts";
import { CallerAddress, type Connection } from "./caller-address.ts";
import { unknownNode } from "./cluster/refusals.ts";
import { Following } from "./edge/following.ts";
import { type Bundled, EdgeHandlers } from "./edge/handlers.ts";
import { Leaders } from "./edge/leaders.ts";
import { fetchSender } from "./edge/send.ts";
import { type Bindings, type EdgeSettings, readSettings, type StoreSettings } from "./edge/settings.ts";
import { refuse } from "./errors.ts";
import { Follower } from "./follow.ts";
import { createGateway } from "./gateway.ts";
import { createProtocolCache } from "./protocol/cache.ts";
import { Quarantine } from "./quarantine.ts";
import { NO_VAULT } from "./received.ts";
import { problemResponse } from "./record/reply.ts";
import { lineRecorder } from "./record/requests.ts";
import { Challenges } from "./signature/challenge.ts";
import { ed25519 } from "./signature/ed25519.ts";
import { HolderSignatures } from "./signature/holder.ts";
import { KnownKeys } from "./signature/known-keys.ts";
import { ReplayWindow } from "./signature/replay.ts";
import type { Store } from "./store/contract.ts";
import { r2Store } from "./store/r2.ts";
import { s3Store } from "./store/s3.ts";
import { openFor, TenantDirectory } from "./tenants.ts";
import { PrefixCache } from "./token/prefix-cache.ts";

/** What the platform hands over with a request, as far as it is needed. */
interface Context {
  waitUntil(work: Promise<unknown>): void;
}

/** What a worker exports. */
export interface Worker {
  fetch(request: Request, bindings: Bindings, context: Context): Promise<Response>;
}

/** @param bundled what came with it */
export function edgeWorker(bundled: Bundled): Worker {
  // Made by the first request: before it there is neither clock nor randomness.
  let node: EdgeNode | string | undefined;
  return {
    async fetch(request, bindings, context) {
      if (node === undefined) {
        const settings = readSettings(bindings);
        node = typeof settings === "string" ? settings : new EdgeNode(settings, bundled);
      }
      if (typeof node !== "string") return node.answer(request, context);
      const refusal = refuse("store_unavailable", `the edge node is not set up: ${node}`);
      return problemResponse(refusal, toHex(random(8)));
    },
  };
}

const random = (length: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(length));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const monotonic_ms = (): number => performance.now();
const event = (name: string, detail: string): void =>
  console.log(JSON.stringify({ time: new Date().toISOString(), event: name, detail }));

class EdgeNode {
  readonly #settings: EdgeSettings;
  readonly #following: Following;
  readonly #app: ReturnType<typeof createGateway>;

  constructor(settings: EdgeSettings, bundled: Bundled) {
    const { edge, tenants, authorities } = settings;
    this.#settings = settings;
    const store = openStore(settings.store);
    const handlers = new EdgeHandlers(bundled, store, settings.loader);
    const follower = (): Follower => {
      const quarantine = new Quarantine();
      const openKeys = openFor(edge);
      return new Follower({
        store,
        quarantine,
        directory: new TenantDirectory({ store, openKeys, handlers, quarantine, only: tenants }),
        now_ms: monotonic_ms,
        wall_ms: () => Date.now(),
        sleep,
        problem: (detail) => event("tenant_not_read", detail),
      });
    };
    this.#following = new Following({ follower, now_ms: monotonic_ms, sleep });
    const leaders = new Leaders({
      name: edge.name,
      store,
      send: fetchSender((url, init) => fetch(url, init)),
      now_ms: monotonic_ms,
      sleep,
    });
    const hosts = new Set(authorities);
    this.#app = createGateway({
      tenant: (name) => this.#following.tenant(name),
      call: ({ tenant, actor }, incoming, deadline_ms) =>
        leaders.pass(`${tenant}/${actor}`, incoming, deadline_ms),
      describe: ({ tenant, actor }, incoming, deadline_ms) =>
        leaders.pass(`${tenant}/${actor}`, incoming, deadline_ms),
      protocols: createProtocolCache(),
      prefixes: new PrefixCache({ readingBytes, monotonic_ms }),
      readings: new Readings(),
      signatures: new HolderSignatures(new KnownKeys(), ed25519),
      replays: new ReplayWindow(),
      challenges: new Challenges(edge.key),
      vault: NO_VAULT,
      callerAddress: new CallerAddress([], edge.key),
      answersTo: (host) => hosts.has(host),
      // Nodes pass nothing on to an edge node.
      meetPeer: async () => unknownNode(),
      unready: () => this.#following.stale(),
      closed: () => undefined,
      record: lineRecorder((line) => console.log(line.trimEnd())),
      now_ms: () => Date.now(),
      monotonic_ms,
      random,
    });
  }

  async answer(request: Request, context: Context): Promise<Response> {
    const [, version, tenant = ""] = URL.parse(request.url)?.pathname.split("/") ?? [];
    if (version === "v1" || version === "readyz")
      await this.#following.refresh(tenant, (work) => context.waitUntil(work));
    return this.#app.fetch(request, this.#connection(request));
  }

  #connection({ headers }: Request): Connection {
    const { addressField } = this.#settings;
    return { peer: addressField === undefined ? undefined : (headers.get(addressField) ?? undefined) };
  }
}

/** The store that the settings name. */
export function openStore(settings: StoreSettings): Store {
  if (settings.kind === "r2") return r2Store(settings.bucket, settings.prefix);
  const { address, credentials } = settings;
  return s3Store({
    address,
    credentials: async () => credentials,
    fetch: (url, init) => fetch(url, init),
    after: (wait_ms, run) => {
      const timer = setTimeout(run, wait_ms);
      return () => clearTimeout(timer);
    },
    fraction: Math.random,
    now_ms: () => Date.now(),
  });
}
