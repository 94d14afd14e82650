/** What all nodes of a store must agree on, `meta/cluster`: written once, when the store is new. */
import { decodeDocument, encodeDocument } from "../checked.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import { META_KEY, OWN_PREFIX } from "./format.ts";

const FORMAT = "postern-meta/1";

export interface ClusterMeta {
  /** Actors hash to so many shards, for ever. */
  readonly shards: number;
  readonly nonce: string;
}

/** Reads it, or writes it where the store is new. Refusal: `store_unavailable`. */
export async function ensureMeta(
  store: Store,
  shards: number,
  nonce: string,
): Promise<ClusterMeta | Refusal> {
  const known = await readMeta(store);
  if (known !== undefined) return known;
  // Logs without it are those of an older version; they must not be cut up anew.
  const owned = await store.list(OWN_PREFIX);
  if (isRefusal(owned)) return owned;
  if (owned.length > 0)
    return refuse("store_unavailable", `the object ${META_KEY} is missing: the store is of another version`);
  const meta: ClusterMeta = { shards, nonce };
  const put = await settledPut(store, META_KEY, encodeDocument(FORMAT, meta), { ifNoneMatch: "*" });
  if (put.outcome === "won") return meta;
  const again = put.outcome === "lost" ? await readMeta(store) : undefined;
  return again ?? refuse("store_unavailable", `the object ${META_KEY} was not written`);
}

export async function readMeta(store: Store): Promise<ClusterMeta | undefined | Refusal> {
  const found = await store.get(META_KEY);
  if (found === undefined || isRefusal(found)) return found;
  const meta = parseMeta(found.body);
  return meta ?? refuse("store_unavailable", `the object ${META_KEY} is damaged or of another version`);
}

export function parseMeta(body: Uint8Array): ClusterMeta | undefined {
  const meta: Partial<ClusterMeta> | undefined = decodeDocument(FORMAT, body);
  const { shards = 0 } = meta ?? {};
  return Number.isInteger(shards) && shards > 0 ? (meta as ClusterMeta) : undefined;
}
