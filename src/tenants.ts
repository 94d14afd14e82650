/**
 * The tenants that a node serves: policy, key ring, compiled handlers and revocations, as they are in the store.
 *
 * A tenant is replaced whole, or the last good one is kept. Everything that a request names is looked up in maps,
 * so that a message called `constructor` is only a message.
 */
import type { ActorPolicy, MessagePolicy } from "./config.ts";
import { FUEL_PASS_VERSION, FUEL_PASS_VERSION_MIN } from "./dispatch/fuel.ts";
import type { Turn, TurnResult } from "./dispatch/sandbox.ts";
import type { Allowance, Handler, Turns } from "./dispatch/turns.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Json } from "./json.ts";
import { type Check, compileSchema } from "./protocol/schema.ts";
import {
  hashOf,
  moduleKey,
  type PublishedTenant,
  parsePublished,
  policyKey,
  wrongMasterKey,
} from "./publish.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Secret } from "./secret.ts";
import type { Store, StoredObject } from "./store/contract.ts";
import { type Keyring, keyringKey, openKeyring } from "./token/keyring.ts";
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
  readonly run: (turn: Turn, allowance: Allowance) => Promise<TurnResult | Refusal>;
}

export interface Tenant {
  readonly name: string;
  readonly holder: "required" | "optional";
  readonly actors: ReadonlyMap<string, ActorType>;
  readonly keyring: Keyring;
  /** Grows by itself: what is revoked later is in it later. */
  readonly revoked: RevocationSet;
}

/** What was read of one tenant, and from which versions. */
interface Loaded {
  readonly policyEtag: string;
  readonly ringEtag: string;
  readonly tenant: Tenant;
}

export interface TenantOptions {
  readonly store: Store;
  readonly master: Secret;
  readonly turns: Turns;
  readonly quarantine: Quarantine;
}

/** Reads tenants out of the store and keeps them at hand. When to read which is `follow.ts`'s business. */
export class TenantDirectory {
  readonly #store: Store;
  readonly #master: Secret;
  readonly #turns: Turns;
  readonly #quarantine: Quarantine;
  readonly #loaded = new Map<string, Loaded>();
  readonly #feeds = new Map<string, RevocationFeed>();
  /** Compiled once for each hash: handlers are shared by tenants and outlive policies. */
  readonly #handlers = new Map<string, Handler>();

  constructor({ store, master, turns, quarantine }: TenantOptions) {
    this.#store = store;
    this.#master = master;
    this.#turns = turns;
    this.#quarantine = quarantine;
  }

  get(name: string): Tenant | undefined {
    return this.#loaded.get(name)?.tenant;
  }

  get names(): readonly string[] {
    return [...this.#loaded.keys()];
  }

  /** The tenants that the store holds now. */
  async published(): Promise<readonly string[] | Refusal> {
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
    const keyring = openRing(ring, name, this.#master);
    if (isRefusal(keyring)) return keyring;
    const tenant =
      before?.policyEtag === policy.etag
        ? { ...before.tenant, keyring }
        : await this.#parse(name, policy.body, keyring);
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
  async #parse(name: string, body: Uint8Array, keyring: Keyring): Promise<Tenant | Refusal> {
    const document = parsePublished(body);
    if (document === undefined)
      return refuse("store_unavailable", `the object ${policyKey(name)} is damaged or of another version`);
    try {
      return await this.#compile(name, document, keyring);
    } catch (error) {
      const why = error instanceof Error ? error.message : "unknown error";
      return refuse("store_unavailable", `the published tenant ${name} cannot be used: ${why}`);
    }
  }

  async #compile(name: string, document: PublishedTenant, keyring: Keyring): Promise<Tenant | Refusal> {
    const unfit = checkPass(name, document.pass);
    if (unfit !== undefined) return unfit;
    const actors = new Map<string, ActorType>();
    for (const [type, policy] of Object.entries(document.policy.actors)) {
      const handler = await this.#handler(document.handlers[policy.handler.wasm]?.instrumented ?? "", name);
      if (isRefusal(handler)) return handler;
      const run: ActorType["run"] = async (...turn) =>
        this.#quarantine.refuse(handler.hash) ?? this.#turns.run(handler, name, ...turn);
      actors.set(type, compileActor(policy, handler.hash, run));
    }
    const { revoked } = this.#feed(name);
    return { name, holder: document.policy.holder, actors, keyring, revoked };
  }

  async #handler(hash: string, tenant: string): Promise<Handler | Refusal> {
    const known = this.#handlers.get(hash);
    if (known !== undefined) return known;
    const key = moduleKey(hash);
    const found = await this.#store.get(key);
    if (isRefusal(found)) return found;
    if (found === undefined)
      return refuse("store_unavailable", `the handler ${key} is missing from the store`);
    // It was admitted and instrumented, or it is not run.
    if (hashOf(found.body) !== hash) return refuse("store_unavailable", `the handler ${key} is damaged`);
    const handler = await this.#turns.compile(hash, found.body as Uint8Array<ArrayBuffer>, tenant);
    if (!isRefusal(handler)) this.#handlers.set(hash, handler);
    return handler;
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
  const found = await store.get(keyringKey(tenant));
  return isRefusal(found) ? found : openRing(found, tenant, master);
}

function openRing(found: StoredObject | undefined, tenant: string, master: Secret): Keyring | Refusal {
  if (found === undefined) return refuse("no_such_tenant", `the store has no keys of a tenant ${tenant}`);
  return openKeyring(found.body, tenant, master) ?? wrongMasterKey(tenant);
}

function compileActor(policy: ActorPolicy, handler: string, run: ActorType["run"]): ActorType {
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
