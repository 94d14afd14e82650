/**
 * Changes of a tenant's key ring in the store: sealed anew as a whole, under `If-Match`, and then nodes are told.
 *
 * Who loses against another change is refused and does not try again: two rotations at once would leave one more key
 * than anybody asked for.
 */
import { noteChange } from "./changes.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { wrongMasterKey } from "./publish.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { settledPut } from "./store/settle.ts";
import {
  type Keyring,
  keyringKey,
  openTenantKeys,
  sealTenantKeys,
  type TenantKeys,
} from "./token/keyring.ts";

/** @returns the ring as it is now. Refusals: those of `change`, `no_such_tenant`, `store_unavailable`. */
export async function changeKeyring(
  store: Store,
  tenant: string,
  master: Secret,
  change: (ring: Keyring) => Keyring | Refusal,
  random: (length: number) => Uint8Array,
): Promise<Keyring | Refusal> {
  const changeRing = ({ ring, edges }: TenantKeys): TenantKeys | Refusal => {
    const changed = change(ring);
    return isRefusal(changed) ? changed : { ring: changed, edges };
  };
  const keys = await changeTenantKeys(store, tenant, master, changeRing, random);
  return isRefusal(keys) ? keys : keys.ring;
}

/** The same for the ring together with the edge nodes that have a copy of it. */
export async function changeTenantKeys(
  store: Store,
  tenant: string,
  master: Secret,
  change: (keys: TenantKeys) => TenantKeys | Refusal,
  random: (length: number) => Uint8Array,
): Promise<TenantKeys | Refusal> {
  const key = keyringKey(tenant);
  const found = await store.get(key);
  if (isRefusal(found)) return found;
  if (found === undefined) return refuse("no_such_tenant", `the store has no keys of a tenant ${tenant}`);
  const before = openTenantKeys(found.body, tenant, master);
  if (before === undefined) return wrongMasterKey(tenant);
  const keys = change(before);
  if (isRefusal(keys)) return keys;
  const put = await settledPut(store, key, sealTenantKeys(keys, tenant, master, random), {
    ifMatch: found.etag,
  });
  if (put.outcome === "lost")
    return refuse(
      "store_unavailable",
      "the ring was not changed: somebody else changed it at the same moment",
    );
  if (put.outcome === "unknown")
    return refuse("store_unavailable", `whether the ring was changed is not known: ${put.reason}`);
  return (await noteChange(store, tenant, random)) ?? keys;
}
