/**
 * The conditional object store: all that nodes agree through.
 *
 * A write has three outcomes. `unknown` is not a failure: the write may have been applied, may be applied later,
 * or never; only reading back can tell (`settle.ts`). Nothing relies on the order of `list` or on a conditional
 * `delete`, because common S3 servers give neither.
 *
 * An etag names bytes, not a write: on S3 it is their MD5. So every body whose change matters carries a nonce; then
 * no two writes have equal bytes, and an etag stands for one write.
 */
import type { Refusal } from "../errors.ts";

export interface StoredObject {
  readonly body: Uint8Array;
  /** Other bytes have another etag; equal bytes, written again, may have the same. */
  readonly etag: string;
}

export type PutCondition = { readonly ifNoneMatch: "*" } | { readonly ifMatch: string };

/**
 * `conflict`: this sending was certainly not applied, and never will be, because the key was being written or held
 * something else: another's bytes, or the same ones, where a copy of the request has come first (`settle.ts`).
 */
export type PutOutcome =
  | { readonly outcome: "done"; readonly etag: string }
  | { readonly outcome: "conflict" }
  | { readonly outcome: "unknown"; readonly reason: string };

/** What became of a put in the end; `unknown`: it may still be applied. */
export type Settled =
  | { readonly outcome: "won"; readonly etag: string }
  | { readonly outcome: "lost" }
  | { readonly outcome: "unknown"; readonly reason: string };

export interface Store {
  /** @returns `undefined` where the key is absent; `store_unavailable` where the store did not answer. */
  get(key: string): Promise<StoredObject | undefined | Refusal>;
  put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome>;
  /** Deleting an absent key is done. */
  delete(key: string): Promise<"done" | "unknown">;
  /** Keys that begin with the prefix, in no order. */
  list(prefix: string): Promise<readonly string[] | Refusal>;
  /** For `settledPut` (`settle.ts`): settles by itself, where waiting between attempts helps with this store. */
  readonly settledPut?: (key: string, body: Uint8Array, condition: PutCondition) => Promise<Settled>;
  close(): Promise<void>;
}
