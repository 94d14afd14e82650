/**
 * Publishing a tenant: its policy, its handlers and its key ring, from files into the store.
 *
 * Handlers are admitted first and kept by hash, as they came and instrumented. The policy document is written
 * last and whole, so a node that reads it finds everything that it names; then nodes are told.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "./bytes.ts";
import { noteChange } from "./changes.ts";
import { decodeDocument, encodeDocument } from "./checked.ts";
import type { TenantPolicy } from "./config.ts";
import type { Admission } from "./dispatch/admission.ts";
import { FUEL_PASS_VERSION } from "./dispatch/fuel.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";
import { createKeyring, keyringKey, openTenantKeys, sealTenantKeys } from "./token/keyring.ts";

const FORMAT = "postern-policy/1";

/** What the store holds at `policy/{tenant}`. */
export interface PublishedTenant {
  readonly policy: TenantPolicy;
  /** By handler name. */
  readonly handlers: Readonly<Record<string, PublishedHandler>>;
  /** Version of the fuel pass that instrumented them. */
  readonly pass: number;
  /** Makes the bytes unique for `settledPut`. */
  readonly nonce: string;
}

/** A module as it came and as it is run, each by its SHA-256, hex. */
export interface PublishedHandler {
  readonly original: string;
  readonly instrumented: string;
}

export const policyKey = (tenant: string): string => `policy/${tenant}`;
/** @param hash SHA-256 of the module, hex: whoever reads it checks it */
export const moduleKey = (hash: string): string => `handler/${hash}.wasm`;
export const hashOf = (module: Uint8Array): string => toHex(sha256(module));

/** @returns `undefined` where it is damaged or of another version. */
export function parsePublished(body: Uint8Array): PublishedTenant | undefined {
  return decodeDocument(FORMAT, body) as PublishedTenant | undefined;
}

export interface HandlerProblem {
  readonly handler: string;
  readonly code: string;
  readonly detail: string;
}

export interface Modules {
  readonly original: Uint8Array;
  readonly instrumented: Uint8Array;
}

export type AdmittedHandlers =
  | { readonly ok: true; readonly modules: ReadonlyMap<string, Modules> }
  | { readonly ok: false; readonly problems: readonly HandlerProblem[] };

export type Admit = (original: Uint8Array) => Admission | Promise<Admission>;

/**
 * Admits every handler; all problems of all of them at once.
 *
 * @param admit in a process that may be killed, where a handler is not one's own
 */
export async function admitHandlers(
  handlers: ReadonlyMap<string, Uint8Array>,
  admit: Admit,
): Promise<AdmittedHandlers> {
  const modules = new Map<string, Modules>();
  const problems: HandlerProblem[] = [];
  for (const [handler, original] of handlers) {
    const admission = await admit(original);
    if (admission.ok) modules.set(handler, { original, instrumented: admission.instrumented });
    else for (const { code, detail } of admission.problems) problems.push({ handler, code, detail });
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, modules };
}

/** @returns whether anything changed. Refusal: `store_unavailable`. */
export async function publish(
  store: Store,
  policy: TenantPolicy,
  modules: ReadonlyMap<string, Modules>,
  master: Secret,
  random: (length: number) => Uint8Array,
): Promise<boolean | Refusal> {
  const ring = await ensureKeyring(store, policy.tenant, master, random);
  if (isRefusal(ring)) return ring;
  const handlers: Record<string, PublishedHandler> = {};
  for (const [name, { original, instrumented }] of modules) {
    handlers[name] = { original: hashOf(original), instrumented: hashOf(instrumented) };
    const failed = (await putModule(store, original)) ?? (await putModule(store, instrumented));
    if (failed !== undefined) return failed;
  }
  const replaced = await replaceDocument(store, {
    policy,
    handlers,
    pass: FUEL_PASS_VERSION,
    nonce: toHex(random(16)),
  });
  if (replaced !== true) return replaced;
  return (await noteChange(store, policy.tenant, random)) ?? true;
}

async function replaceDocument(store: Store, document: PublishedTenant): Promise<boolean | Refusal> {
  const key = policyKey(document.policy.tenant);
  const found = await store.get(key);
  if (isRefusal(found)) return found;
  // Where it is damaged, publishing mends it.
  const before = found && parsePublished(found.body);
  if (JSON.stringify({ ...before, nonce: "" }) === JSON.stringify({ ...document, nonce: "" })) return false;
  const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
  const put = await settledPut(store, key, encodeDocument(FORMAT, document), condition);
  if (put.outcome === "won") return true;
  const why = put.outcome === "lost" ? "somebody else published this tenant at the same moment" : put.reason;
  return refuse("store_unavailable", `the policy was not published: ${why}`);
}

/** The key names the bytes: who wrote them first does not matter, and other bytes are damage. */
async function putModule(store: Store, module: Uint8Array): Promise<Refusal | undefined> {
  const hash = hashOf(module);
  const found = await store.get(moduleKey(hash));
  if (isRefusal(found)) return found;
  if (found !== undefined && hashOf(found.body) === hash) return undefined;
  const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
  const put = await settledPut(store, moduleKey(hash), module, condition);
  return put.outcome === "unknown" ? unwritten(moduleKey(hash), put.reason) : undefined;
}

function unwritten(key: string, why: string): Refusal {
  return refuse("store_unavailable", `${key} was not written: ${why}`);
}

async function ensureKeyring(
  store: Store,
  tenant: string,
  master: Secret,
  random: (length: number) => Uint8Array,
): Promise<Refusal | undefined> {
  const found = await store.get(keyringKey(tenant));
  if (isRefusal(found)) return found;
  if (found === undefined) {
    const keys = { ring: createKeyring(random), edges: new Map() };
    const sealed = sealTenantKeys(keys, tenant, master, random);
    const put = await settledPut(store, keyringKey(tenant), sealed, { ifNoneMatch: "*" });
    return put.outcome === "unknown" ? unwritten(keyringKey(tenant), put.reason) : undefined;
  }
  return openTenantKeys(found.body, tenant, master) === undefined ? wrongMasterKey(tenant) : undefined;
}

export function wrongMasterKey(tenant: string): Refusal {
  return refuse(
    "store_unavailable",
    `the key ring of tenant ${tenant} does not open: the master key is not the one it was sealed with`,
  );
}
