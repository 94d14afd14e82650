/** `postern edge admit`, `list`, `remove` and `revoke`: which edge nodes have which tenants' key rings. */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { fromHex, toHex } from "../bytes.ts";
import { cutOff, giveRing, takeRing } from "../edge-nodes.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { policyKey } from "../publish.ts";
import { Secret } from "../secret.ts";
import { readTenantKeys } from "../tenants.ts";
import { activeKey, ROOT_SECRET_BYTES, type TenantKeys } from "../token/keyring.ts";
import { type Environment, type Outcome, text, texts, UsageProblem, type Values } from "./command.ts";
import { messageOf, type OpenStore, openStore } from "./inputs.ts";

export async function edgeAdmit(environment: Environment, values: Values, name: string): Promise<Outcome> {
  const path = text(values, "key-file");
  if (path === undefined)
    return new UsageProblem("--key-file FILE is needed: where the node's key is, or goes");
  const key = readKey(path, environment.random(ROOT_SECRET_BYTES));
  if (key instanceof UsageProblem) return key;
  return inStore(environment, values, "change", async (opened) => {
    const tenants = await tenantsOf(opened, values);
    if (isRefusal(tenants)) return tenants;
    for (const tenant of tenants) {
      const given = await giveRing({ ...tenancy(opened, environment), tenant }, { name, key });
      if (isRefusal(given)) return given;
    }
    return {
      json: { edge: name, tenants, key_file: path },
      text: `edge node ${name} has the keys of ${tenants.join(", ")}; its own is in ${path}`,
    };
  });
}

export function edgeList(environment: Environment, values: Values): Promise<Outcome> {
  return inStore(environment, values, "read", async (opened) => {
    const found = await edgesByTenant(opened, values);
    if (isRefusal(found)) return found;
    const tenants = found.map(([tenant, keys]) => ({ tenant, edges: [...keys.edges.keys()].toSorted() }));
    const lines = tenants.map(({ tenant, edges }) => `${tenant}: ${edges.join(", ") || "no edge node"}`);
    return { json: { tenants }, text: lines.join("\n") };
  });
}

/** @param verb `remove` in peace; `revoke` what may have leaked: then the tenants get new keys, and no older token is good */
export function edgeWithdraw(
  environment: Environment,
  values: Values,
  name: string,
  verb: "remove" | "revoke",
): Promise<Outcome> {
  return inStore(environment, values, "change", async (opened) => {
    const found = await edgesByTenant(opened, values);
    if (isRefusal(found)) return found;
    const withdrawn: { tenant: string; active: number | undefined }[] = [];
    for (const [tenant, { edges }] of found) {
      if (!edges.has(name)) continue;
      const from = { ...tenancy(opened, environment), tenant };
      const keys = await (verb === "revoke" ? cutOff(from, name) : takeRing(from, name));
      if (isRefusal(keys)) return keys;
      withdrawn.push({ tenant, active: activeKey(keys.ring)?.kid });
    }
    const json = { edge: name, tenants: withdrawn };
    if (withdrawn.length === 0) return { json, text: `no tenant has an edge node ${name}`, failed: true };
    const tokens = verb === "revoke" ? "; no token minted before is good any more" : "";
    const lines = withdrawn.map(
      ({ tenant, active }) => `${tenant}: key ${active} is the active one${tokens}`,
    );
    return { json, text: [...lines, "nodes follow within 2 s"].join("\n") };
  });
}

function tenancy({ store, master }: OpenStore, environment: Environment) {
  return { store, master, random: (length: number): Uint8Array => environment.random(length) };
}

async function inStore(
  environment: Environment,
  values: Values,
  purpose: "read" | "change",
  work: (opened: OpenStore) => Promise<Outcome>,
): Promise<Outcome> {
  const opened = await openStore(environment, values, purpose);
  if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
  try {
    return await work(opened);
  } finally {
    await opened.store.close();
  }
}

/** Those that are named, or all that are published. */
async function tenantsOf({ store }: OpenStore, values: Values): Promise<readonly string[] | Refusal> {
  const named = texts(values, "tenant");
  if (named.length > 0) return named;
  const keys = await store.list(policyKey(""));
  return isRefusal(keys) ? keys : keys.map((key) => key.slice(policyKey("").length)).toSorted();
}

async function edgesByTenant(
  opened: OpenStore,
  values: Values,
): Promise<readonly (readonly [tenant: string, keys: TenantKeys])[] | Refusal> {
  const tenants = await tenantsOf(opened, values);
  if (isRefusal(tenants)) return tenants;
  const found: [string, TenantKeys][] = [];
  for (const tenant of tenants) {
    const keys = await readTenantKeys(opened.store, tenant, opened.master);
    if (isRefusal(keys)) return keys;
    found.push([tenant, keys]);
  }
  return found;
}

/** The key that stands there; a fresh one is put there where nothing does. */
function readKey(path: string, fresh: Uint8Array): Secret | UsageProblem {
  try {
    if (!existsSync(path)) {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, `${toHex(fresh)}\n`);
      closeSync(file);
    }
    const bytes = fromHex(readFileSync(path, "utf8").trim());
    if (bytes?.length === ROOT_SECRET_BYTES) return new Secret(bytes);
    return new UsageProblem(`${path} holds no key of 64 hex digits`);
  } catch (error) {
    return new UsageProblem(`${path} cannot be used: ${messageOf(error)}`);
  }
}
