/**
 * The tenants that a node serves: policy, key ring, compiled handlers and revocations, as they are in the store.
 *
 * A tenant is replaced whole, or the last good one is kept. Everything that a request names is looked up in maps,
 * so that a message called `constructor` is only a message.
 */
import type { ActorPolicy, MessagePolicy } from "./config.ts";
import { FUEL_PASS_VERSION, FUEL_PASS_VERSION_MIN } from "./dispatch/fuel.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Handlers, Run } from "./handlers.ts";
import type { Json } from "./json.ts";
import { type Check, compileSchema } from "./protocol/schema.ts";
import { type PublishedTenant, parsePublished, policyKey, wrongMasterKey } from "./publish.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import {
  type EdgeKeys,
  type Keyring,
  keyringKey,
  openCopy,
  openTenantKeys,
  type TenantKeys,
} from "./token/keyring.ts";
import type { RevocationSet } from "./token/revocation.ts";
import { RevocationFeed } from "./token/revocation-feed.ts";

export interface MessageType {
  /** The schemas as published, and what they were compiled to. */
  readonly args: Json;
  readonly result: Json;
  readonly checkArgs: Check;
  readonly checkResult: Check;
  readonly reads: boolean;
}

export interface ActorType {
  readonly messages: ReadonlyMap<string, MessageType>;
  /** It has no state, and may return none. */
  readonly stateless: boolean;
  readonly protocol: string;
  readonly behaviour: string;
  /** What the actor may become, by name. */
  readonly become: ReadonlyMap<string, string>;
  /** SHA-256 of the instrumented module that `run` runs, hex. */
  readonly handler: string;
  /** `undefined` where only other nodes can run its handler. */
  readonly run: Run | undefined;
}

export interface Tenant {
  readonly name: string;
  readonly holder: "required" | "optional";
  readonly actors: ReadonlyMap<string, ActorType>;
  readonly keyring: Keyring;
  /** The edge nodes that have its ring, as far as this node may know them. */
  readonly edges: EdgeKeys;
  /** Grows by itself: what is revoked later is in it later. */
  readonly revoked: RevocationSet;
}

/** What was read of one tenant, and from which versions. */
interface Loaded {
  readonly policyEtag: string;
  readonly ringEtag: string;
  readonly tenant: Tenant;
}

/** How a node opens key rings: any with the master key, or those that are sealed for an edge node. */
export type OpenKeys = (sealed: Uint8Array, tenant: string) => TenantKeys | Refusal;

export interface DirectoryOptions {
  readonly store: Store;
  /** Refusals: `store_unavailable`; `no_such_tenant` where this node may serve the tenant no longer. */
  readonly openKeys: OpenKeys;
  readonly handlers: Handlers;
  readonly quarantine: Quarantine;
  /** The tenants to serve, where it is not all that are published. */
  readonly only?: readonly string[];
}

/** Reads tenants out of the store and keeps them at hand. When to read which is `follow.ts`'s business. */
export class TenantDirectory {
  readonly #options: DirectoryOptions;
  readonly #store: Store;
  readonly #loaded = new Map<string, Loaded>();
  readonly #feeds = new Map<string, RevocationFeed>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  get(name: string): Tenant | undefined {
    return this.#loaded.get(name)?.tenant;
  }

  get names(): readonly string[] {
    return [...this.#loaded.keys()];
  }

  serves(name: string): boolean {
    return this.#options.only?.includes(name) ?? true;
  }

  /** The tenants to serve that the store holds now, or may hold. */
  async published(): Promise<readonly string[] | Refusal> {
    if (this.#options.only !== undefined) return this.#options.only;
    const keys = await this.#store.list(policyKey(""));
    return isRefusal(keys) ? keys : keys.map((key) => key.slice(policyKey("").length));
  }

  /** Takes in what one tenant has revoked since the last time. One reading of a tenant at a time. */
  readRevocations(name: string, now_ms: number): Promise<Refusal | undefined> {
    return this.#feed(name).read(now_ms);
  }

  /** Takes in policy, handlers and key ring, where they changed; else the tenant stays as it was. */
  async read(name: string): Promise<Refusal | undefined> {
    const policy = await this.#store.get(policyKey(name));
    if (policy === undefined || isRefusal(policy)) return policy;
    const ring = await this.#store.get(keyringKey(name));
    if (isRefusal(ring)) return ring;
    const before = this.#loaded.get(name);
    if (before?.policyEtag === policy.etag && before.ringEtag === ring?.etag) return undefined;
    const keys = ring === undefined ? withoutKeys(name) : this.#options.openKeys(ring.body, name);
    if (isRefusal(keys)) {
      if (keys.code === "no_such_tenant") this.#loaded.delete(name);
      return keys;
    }
    const tenant =
      before?.policyEtag === policy.etag
        ? { ...before.tenant, keyring: keys.ring, edges: keys.edges }
        : await this.#parse(name, policy.body, keys);
    if (isRefusal(tenant)) return tenant;
    this.#loaded.set(name, { policyEtag: policy.etag, ringEtag: ring?.etag ?? "", tenant });
    return undefined;
  }

  #feed(name: string): RevocationFeed {
    const feed = this.#feeds.get(name) ?? new RevocationFeed(this.#store, name);
    this.#feeds.set(name, feed);
    return feed;
  }

  /** What is damaged in the store stops its own tenant only. */
  async #parse(name: string, body: Uint8Array, keys: TenantKeys): Promise<Tenant | Refusal> {
    const document = parsePublished(body);
    if (document === undefined)
      return refuse("store_unavailable", `the object ${policyKey(name)} is damaged or of another version`);
    try {
      return await this.#compile(name, document, keys);
    } catch (error) {
      const why = error instanceof Error ? error.message : "unknown error";
      return refuse("store_unavailable", `the published tenant ${name} cannot be used: ${why}`);
    }
  }

  async #compile(
    name: string,
    document: PublishedTenant,
    { ring: keyring, edges }: TenantKeys,
  ): Promise<Tenant | Refusal> {
    const unfit = checkPass(name, document.pass);
    if (unfit !== undefined) return unfit;
    const actors = new Map<string, ActorType>();
    for (const [type, policy] of Object.entries(document.policy.actors)) {
      const { instrumented = "" } = document.handlers[policy.handler.wasm] ?? {};
      const run = await this.#options.handlers.get(instrumented, name);
      if (isRefusal(run)) return run;
      actors.set(type, compileActor(policy, instrumented, run && this.#guarded(instrumented, run)));
    }
    const { revoked } = this.#feed(name);
    return { name, holder: document.policy.holder, actors, keyring, edges, revoked };
  }

  #guarded(hash: string, run: Run): Run {
    const { quarantine } = this.#options;
    return async (...turn) => quarantine.refuse(hash) ?? run(...turn);
  }
}

/** What an older pass let through, or a newer one relies on, this node does not know how to hold. */
function checkPass(tenant: string, pass: number): Refusal | undefined {
  if (pass >= FUEL_PASS_VERSION_MIN && pass <= FUEL_PASS_VERSION) return undefined;
  const what = `the handlers of tenant ${tenant} were instrumented by fuel pass ${pass}`;
  const why =
    pass > FUEL_PASS_VERSION
      ? `this node knows passes up to ${FUEL_PASS_VERSION}: upgrade it`
      : `this node requires ${FUEL_PASS_VERSION_MIN}: publish them anew with \`postern apply\``;
  return refuse("store_unavailable", `${what}; ${why}`);
}

/** Refusals: `no_such_tenant`, `store_unavailable`. */
export async function readKeyring(store: Store, tenant: string, master: Secret): Promise<Keyring | Refusal> {
  const keys = await readTenantKeys(store, tenant, master);
  return isRefusal(keys) ? keys : keys.ring;
}

/** With the edge nodes that have a copy. */
export async function readTenantKeys(
  store: Store,
  tenant: string,
  master: Secret,
): Promise<TenantKeys | Refusal> {
  const found = await store.get(keyringKey(tenant));
  if (isRefusal(found)) return found;
  return found === undefined ? withoutKeys(tenant) : openWith(master)(found.body, tenant);
}

function withoutKeys(tenant: string): Refusal {
  return refuse("no_such_tenant", `the store has no keys of a tenant ${tenant}`);
}

/** Opens the rings of which an edge node has a copy. */
export function openFor(edge: { readonly name: string; readonly key: Secret }): OpenKeys {
  return (sealed, tenant) => {
    const ring = openCopy(sealed, tenant, edge);
    if (ring === "withdrawn")
      return refuse(
        "no_such_tenant",
        `the edge node ${edge.name} may not serve tenant ${tenant}, or no longer`,
      );
    if (ring !== undefined) return { ring, edges: new Map() };
    return refuse(
      "store_unavailable",
      `the key ring of tenant ${tenant} does not open: it is not sealed with the key of edge node ${edge.name}`,
    );
  };
}

/** Opens all rings. */
export function openWith(master: Secret): OpenKeys {
  return (sealed, tenant) => openTenantKeys(sealed, tenant, master) ?? wrongMasterKey(tenant);
}

function compileActor(policy: ActorPolicy, handler: string, run: Run | undefined): ActorType {
  const messages = new Map(
    Object.entries(policy.messages).map(([name, message]) => [name, compileMessage(message)]),
  );
  const { protocol, behaviour } = policy;
  return {
    messages,
    stateless: policy.state === "none",
    protocol,
    behaviour,
    become: new Map(Object.entries(policy.become ?? {})),
    handler,
    run,
  };
}

function compileMessage({ args, result, reads }: MessagePolicy): MessageType {
  return { args, result, checkArgs: compilePublished(args), checkResult: compilePublished(result), reads };
}

/** The schema compiled when it was published; a node that cannot compile it now answers nothing by it. */
function compilePublished(schema: MessagePolicy["args"]): Check {
  const check = compileSchema(schema);
  if (typeof check === "string") throw new Error(`a published schema does not compile: ${check}`);
  return check;
}
