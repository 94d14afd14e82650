/**
 * The tenants that a node serves: policy, key ring and compiled handlers, as published in the store.
 *
 * A tenant is replaced whole, or the last good one is kept. Everything that a request names is looked up in maps,
 * so that a message called `constructor` is only a message.
 */
import { fromUtf8 } from "./bytes.ts";
import type { ActorPolicy, MessagePolicy } from "./config.ts";
import { runTurn, type Turn, type TurnResult } from "./dispatch/sandbox.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { type Check, compileSchema } from "./protocol/schema.ts";
import { instrumentedKey, type PublishedTenant, policyKey, wrongMasterKey } from "./publish.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { type Keyring, keyringKey, openKeyring } from "./token/keyring.ts";

export interface MessageType {
  readonly checkArgs: Check;
  readonly checkResult: Check;
  readonly reads: boolean;
}

export interface ActorType {
  readonly messages: ReadonlyMap<string, MessageType>;
  readonly protocol: string;
  readonly behaviour: string;
  readonly run: (turn: Turn) => TurnResult | Refusal;
}

export interface Tenant {
  readonly name: string;
  readonly holder: "required" | "optional";
  readonly actors: ReadonlyMap<string, ActorType>;
  readonly keyring: Keyring;
}

/** Keeps the tenants of a store at hand; `refresh` follows what is published later. */
export class TenantDirectory {
  readonly #store: Store;
  readonly #master: Secret;
  readonly #tenants = new Map<string, { readonly etag: string; readonly tenant: Tenant }>();
  /** Compiled once for each hash: handlers are shared by tenants and outlive policies. */
  readonly #modules = new Map<string, WebAssembly.Module>();

  constructor(store: Store, master: Secret) {
    this.#store = store;
    this.#master = master;
  }

  get(name: string): Tenant | undefined {
    return this.#tenants.get(name)?.tenant;
  }

  get names(): readonly string[] {
    return [...this.#tenants.keys()];
  }

  /** @returns what could not be read; those tenants stay as they were. */
  async refresh(): Promise<readonly Refusal[]> {
    const keys = await this.#store.list(policyKey(""));
    if (isRefusal(keys)) return [keys];
    const problems: Refusal[] = [];
    for (const key of keys) {
      const problem = await this.#load(key);
      if (problem !== undefined) problems.push(problem);
    }
    return problems;
  }

  async #load(key: string): Promise<Refusal | undefined> {
    const found = await this.#store.get(key);
    if (found === undefined || isRefusal(found)) return found;
    const name = key.slice(policyKey("").length);
    if (this.#tenants.get(name)?.etag === found.etag) return undefined;
    const tenant = await this.#read(name, found.body);
    if (isRefusal(tenant)) return tenant;
    this.#tenants.set(name, { etag: found.etag, tenant });
    return undefined;
  }

  /** What is damaged in the store stops its own tenant only. */
  async #read(name: string, body: Uint8Array): Promise<Tenant | Refusal> {
    try {
      return await this.#compile(name, JSON.parse(fromUtf8(body) ?? "") as PublishedTenant);
    } catch (error) {
      const why = error instanceof Error ? error.message : "unknown error";
      return refuse("store_unavailable", `the published tenant ${name} cannot be used: ${why}`);
    }
  }

  async #compile(name: string, document: PublishedTenant): Promise<Tenant | Refusal> {
    const keyring = await readKeyring(this.#store, name, this.#master);
    if (isRefusal(keyring)) return keyring;
    const actors = new Map<string, ActorType>();
    for (const [type, policy] of Object.entries(document.policy.actors)) {
      const module = await this.#module(document.handlers[policy.handler.wasm] ?? "", document.pass);
      if (isRefusal(module)) return module;
      actors.set(type, compileActor(policy, module));
    }
    return { name, holder: document.policy.holder, actors, keyring };
  }

  async #module(hash: string, pass: number): Promise<WebAssembly.Module | Refusal> {
    const key = instrumentedKey(hash, pass);
    const known = this.#modules.get(key);
    if (known !== undefined) return known;
    const found = await this.#store.get(key);
    if (isRefusal(found)) return found;
    if (found === undefined)
      return refuse("store_unavailable", `the handler ${key} is missing from the store`);
    const module = await WebAssembly.compile(found.body as Uint8Array<ArrayBuffer>);
    this.#modules.set(key, module);
    return module;
  }
}

/** Refusals: `no_such_tenant`, `store_unavailable`. */
export async function readKeyring(store: Store, tenant: string, master: Secret): Promise<Keyring | Refusal> {
  const found = await store.get(keyringKey(tenant));
  if (isRefusal(found)) return found;
  if (found === undefined) return refuse("no_such_tenant", `the store has no keys of a tenant ${tenant}`);
  return openKeyring(found.body, tenant, master) ?? wrongMasterKey(tenant);
}

function compileActor(policy: ActorPolicy, module: WebAssembly.Module): ActorType {
  const messages = new Map(
    Object.entries(policy.messages).map(([name, message]) => [name, compileMessage(message)]),
  );
  const { protocol, behaviour } = policy;
  return { messages, protocol, behaviour, run: (turn) => runTurn(module, turn) };
}

function compileMessage({ args, result, reads }: MessagePolicy): MessageType {
  return { checkArgs: compilePublished(args), checkResult: compilePublished(result), reads };
}

/** The schema compiled when it was published; a node that cannot compile it now answers nothing by it. */
function compilePublished(schema: MessagePolicy["args"]): Check {
  const check = compileSchema(schema);
  if (typeof check === "string") throw new Error(`a published schema does not compile: ${check}`);
  return check;
}
