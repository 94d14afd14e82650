/**
 * Which edge nodes have a copy of a tenant's key ring: given, taken back, and cut off for good.
 *
 * An edge node that is no longer named serves the tenant no more. But what it has once held it may have kept. So one
 * that may have leaked is cut off together with every key it had: a new one mints, and the old ones verify nothing.
 */
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { EDGES_PER_TENANT_MAX } from "./limits.ts";
import { changeTenantKeys } from "./rotate.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { type Keyring, retireKey, rotateKeyring, type TenantKeys } from "./token/keyring.ts";

interface Tenancy {
  readonly store: Store;
  readonly tenant: string;
  readonly master: Secret;
  readonly random: (length: number) => Uint8Array;
}

/** Gives it a copy, also where it had one under another key. Refusals: `no_such_tenant`, `quota_exceeded`, `store_unavailable`. */
export function giveRing(
  tenancy: Tenancy,
  edge: { readonly name: string; readonly key: Secret },
): Promise<TenantKeys | Refusal> {
  return change(tenancy, ({ ring, edges }) => {
    const named = new Map(edges).set(edge.name, edge.key);
    if (named.size <= EDGES_PER_TENANT_MAX) return { ring, edges: named };
    return refuse("quota_exceeded", `a tenant has at most ${EDGES_PER_TENANT_MAX} edge nodes`);
  });
}

/** Takes the copy back in peace. Refusals: `no_such_tenant`, `store_unavailable`. */
export function takeRing(tenancy: Tenancy, name: string): Promise<TenantKeys | Refusal> {
  return change(tenancy, (keys) => without(keys, name));
}

/** Takes the copy back, and with it all that its keys are good for: every token minted before is refused from now on. */
export function cutOff(tenancy: Tenancy, name: string): Promise<TenantKeys | Refusal> {
  return change(tenancy, (keys) => {
    const { ring, edges } = without(keys, name);
    const renewed = renew(ring, tenancy.random);
    return isRefusal(renewed) ? renewed : { ring: renewed, edges };
  });
}

function change(
  { store, tenant, master, random }: Tenancy,
  by: (keys: TenantKeys) => TenantKeys | Refusal,
): Promise<TenantKeys | Refusal> {
  return changeTenantKeys(store, tenant, master, by, random);
}

function without({ ring, edges }: TenantKeys, name: string): TenantKeys {
  return { ring, edges: new Map([...edges].filter(([edge]) => edge !== name)) };
}

/** Only the new key is left in force. Those that verify are retired first, so that a full ring has room. */
function renew(ring: Keyring, random: (length: number) => Uint8Array): Keyring | Refusal {
  let renewed: Keyring | Refusal = ring;
  for (const { kid, state } of ring)
    if (state === "verify-only" && !isRefusal(renewed)) renewed = retireKey(renewed, kid);
  if (isRefusal(renewed)) return renewed;
  const active = ring.find(({ state }) => state === "active");
  const rotated = rotateKeyring(renewed, random);
  return isRefusal(rotated) || active === undefined ? rotated : retireKey(rotated, active.kid);
}
