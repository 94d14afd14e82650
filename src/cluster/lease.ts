/**
 * A node's lease, `node/{session}`: says that the process lives, where it is reached, and what it owns.
 *
 * It decides nothing about who may write: the log's fence does (law 6). It spares others from taking over from a node
 * that lives, and lets answers that only looked leave without a read of the store, until `isValid` says no more.
 *
 * The margin is all on the holder's side: valid for 0.8 TTL from *before* a renewal was sent, by its own clock, while a
 * candidate waits for a full TTL since it *saw* the lease change, by its own. With clocks that run up to 10 % too fast
 * or too slow, 0.8 / 0.9 < 1 / 1.1 keeps the two apart, and a takeover still comes within the TTL.
 */
import { decodeDocument, encodeDocument } from "../checked.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { LEASE_RENEWALS, LEASE_VALID_SHARE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { type Settled, settledPut } from "../store/settle.ts";
import type { Clock } from "./clock.ts";
import { nodeKey } from "./format.ts";

/** What `node/{session}` holds. */
export interface LeaseRecord {
  readonly session: string;
  /** `dead`: another node has declared it so. No renewal passes that any more. */
  readonly state: "serving" | "draining" | "dead";
  /** Where other nodes reach it. */
  readonly url: string;
  /** Hosts under which callers address it. */
  readonly authorities: readonly string[];
  /** The process, as others on the same machine can look for it. */
  readonly process: string;
  readonly ttl_ms: number;
  /** RFC 3339, by the holder's wall clock: for people. Nothing is decided by it. */
  readonly renewed_at: string;
  /** `[epoch, last durable slot, last slot of the checkpoint]` of each shard that it owns. */
  readonly shards: Readonly<Record<string, readonly [epoch: number, seq: number, checkpoint: number]>>;
  readonly nonce: string;
}

const FORMAT = "postern-node/1";

export function parseLease(body: Uint8Array): LeaseRecord | undefined {
  return decodeDocument(FORMAT, body) as LeaseRecord | undefined;
}

export function encodeLease(record: LeaseRecord): Uint8Array<ArrayBuffer> {
  return encodeDocument(FORMAT, record);
}

export interface LeaseOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly session: string;
  readonly ttl_ms: number;
  /** What the lease should say now, with a fresh nonce. */
  readonly compose: () => LeaseRecord;
}

/** `lost`: another node has declared this one dead. `unclear`: the store did not say. */
export type Renewal = "renewed" | "unclear" | "lost";

export class Lease {
  readonly #options: LeaseOptions;
  #etag = "";
  #validUntil_ms = Number.NEGATIVE_INFINITY;
  #ended = false;
  /** On its way, or the last one. */
  #renewing: Promise<Renewal> | undefined;
  /** Composed when the one on its way has come to its end. */
  #next: Promise<Renewal> | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Refusal: `store_unavailable`. */
  async acquire(): Promise<Refusal | undefined> {
    const { store, clock, session, compose } = this.#options;
    const sent_ms = clock.now_ms();
    const put = await settledPut(store, nodeKey(session), encodeLease(compose()), { ifNoneMatch: "*" });
    if (put.outcome === "won") {
      this.#renewedAt(sent_ms, put.etag);
      return undefined;
    }
    const why = put.outcome === "lost" ? "somebody else has a session of that name" : put.reason;
    return refuse("store_unavailable", `the node's lease was not written: ${why}`);
  }

  get isValid(): boolean {
    return !this.#ended && this.#options.clock.now_ms() < this.#validUntil_ms;
  }

  /** How long to wait between two renewals. */
  get interval_ms(): number {
    return this.#options.ttl_ms / LEASE_RENEWALS;
  }

  /** Says what is so now. One at a time: who asks while another is on its way waits for that, and is then told anew. */
  renew(): Promise<Renewal> {
    this.#next ??= this.#renewNext();
    return this.#next;
  }

  /** Others need not wait for the end of the lease. */
  async remove(): Promise<void> {
    this.invalidate();
    await this.#next;
    await this.#renewing;
    await this.#options.store.delete(nodeKey(this.#options.session));
  }

  /** It counts no longer, whatever the clock or a renewal on its way says. */
  invalidate(): void {
    this.#ended = true;
  }

  async #renewNext(): Promise<Renewal> {
    await this.#renewing;
    this.#renewing = this.#renew(2);
    this.#next = undefined;
    return this.#renewing;
  }

  async #renew(attempts: number): Promise<Renewal> {
    const { store, clock, session, compose } = this.#options;
    const sent_ms = clock.now_ms();
    const put = await settledPut(store, nodeKey(session), encodeLease(compose()), { ifMatch: this.#etag });
    if (put.outcome === "won") {
      this.#renewedAt(sent_ms, put.etag);
      return "renewed";
    }
    if (put.outcome === "unknown") return "unclear";
    const found = await store.get(nodeKey(session));
    if (isRefusal(found)) return "unclear";
    const record = found && parseLease(found.body);
    if (found === undefined || record === undefined || record.state === "dead") return "lost";
    // A renewal of mine whose end stayed unclear has been applied after all: only I write a lease that lives.
    this.#etag = found.etag;
    return attempts > 1 ? this.#renew(attempts - 1) : "unclear";
  }

  #renewedAt(sent_ms: number, etag: string): void {
    this.#etag = etag;
    this.#validUntil_ms = sent_ms + LEASE_VALID_SHARE * this.#options.ttl_ms;
  }
}

/**
 * Declares a node dead that has not renewed its lease: once that is won, it never can.
 * @param etag the lease as it was seen unchanged for so long
 */
export function bury(store: Store, session: string, etag: string, nonce: string): Promise<Settled> {
  return settledPut(store, nodeKey(session), encodeLease({ ...TOMBSTONE, session, nonce }), {
    ifMatch: etag,
  });
}

const TOMBSTONE: Omit<LeaseRecord, "session" | "nonce"> = {
  state: "dead",
  url: "",
  authorities: [],
  process: "",
  ttl_ms: 0,
  renewed_at: "",
  shards: {},
};
