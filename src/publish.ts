/**
 * Publishing a tenant: its policy, its handlers and its key ring, from files into the store.
 *
 * Handlers are admitted first and kept by hash, as they came and instrumented. The policy document is written
 * last and whole, so a node that reads it finds everything that it names; then nodes are told.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { fromUtf8, toHex, utf8 } from "./bytes.ts";
import { noteChange } from "./changes.ts";
import type { TenantPolicy } from "./config.ts";
import { admit } from "./dispatch/admission.ts";
import { FUEL_PASS_VERSION } from "./dispatch/fuel.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";
import { createKeyring, keyringKey, openKeyring, sealKeyring } from "./token/keyring.ts";

/** What the store holds at `policy/{tenant}`. */
export interface PublishedTenant {
  readonly v: 1;
  readonly policy: TenantPolicy;
  /** SHA-256 of the original module, hex, by handler name. */
  readonly handlers: Readonly<Record<string, string>>;
  /** Version of the fuel pass that instrumented them. */
  readonly pass: number;
  /** Makes the bytes unique for `settledPut`. */
  readonly nonce: string;
}

export const policyKey = (tenant: string): string => `policy/${tenant}`;
export const originalKey = (hash: string): string => `handler/${hash}/original.wasm`;
export const instrumentedKey = (hash: string, pass: number): string => `handler/${hash}/pass-${pass}.wasm`;

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

/** Admits every handler; all problems of all of them at once. */
export function admitHandlers(handlers: ReadonlyMap<string, Uint8Array>): AdmittedHandlers {
  const modules = new Map<string, Modules>();
  const problems: HandlerProblem[] = [];
  for (const [handler, original] of handlers) {
    const admission = admit(original);
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
  const handlers: Record<string, string> = {};
  for (const [name, { original, instrumented }] of modules) {
    const hash = toHex(sha256(original));
    handlers[name] = hash;
    const kept =
      (await putOnce(store, originalKey(hash), original)) ??
      (await putOnce(store, instrumentedKey(hash, FUEL_PASS_VERSION), instrumented));
    if (kept !== undefined) return kept;
  }
  const replaced = await replaceDocument(store, {
    v: 1,
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
  if (found !== undefined) {
    const before = JSON.parse(fromUtf8(found.body) ?? "") as PublishedTenant;
    if (JSON.stringify({ ...before, nonce: "" }) === JSON.stringify({ ...document, nonce: "" })) return false;
  }
  const condition = found === undefined ? ({ ifNoneMatch: "*" } as const) : { ifMatch: found.etag };
  const put = await settledPut(store, key, utf8(JSON.stringify(document)), condition);
  if (put.outcome === "won") return true;
  const why = put.outcome === "lost" ? "somebody else published this tenant at the same moment" : put.reason;
  return refuse("store_unavailable", `the policy was not published: ${why}`);
}

/** The key names the bytes, or something about them: who wrote it first does not matter. */
async function putOnce(store: Store, key: string, body: Uint8Array): Promise<Refusal | undefined> {
  const put = await settledPut(store, key, body, { ifNoneMatch: "*" });
  if (put.outcome !== "unknown") return undefined;
  return refuse("store_unavailable", `${key} was not written: ${put.reason}`);
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
    const sealed = sealKeyring(createKeyring(random), tenant, master, random);
    return putOnce(store, keyringKey(tenant), sealed);
  }
  return openKeyring(found.body, tenant, master) === undefined ? wrongMasterKey(tenant) : undefined;
}

export function wrongMasterKey(tenant: string): Refusal {
  return refuse(
    "store_unavailable",
    `the key ring of tenant ${tenant} does not open: the master key is not the one it was sealed with`,
  );
}
