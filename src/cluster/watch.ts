/**
 * Looks at the leases of the other nodes: reads them often, lists them as often as they are renewed, and buries those
 * that have died, so that their holders cannot renew them any more.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import type { Store } from "../store/contract.ts";
import type { Clock } from "./clock.ts";
import { NODE_PREFIX, nodeKey } from "./format.ts";
import { bury, parseLease } from "./lease.ts";
import type { Peers } from "./peers.ts";

export interface WatchOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** My own, which needs no watching. */
  readonly session: string;
  readonly nonce: () => string;
  /** How often leases are looked at. */
  readonly look_ms: number;
  /** How often they are listed: who comes is seen that late. */
  readonly list_ms: number;
}

export class Watch {
  readonly #options: WatchOptions;
  readonly #peers: Peers;
  readonly #burying = new Set<string>();
  #meeting: Promise<Refusal | undefined> | undefined;
  #listed_ms = Number.NEGATIVE_INFINITY;

  constructor(options: WatchOptions, peers: Peers) {
    this.#options = options;
    this.#peers = peers;
  }

  /** Lists leases now, for whoever has just come; no more often than leases are looked at. */
  async meet(): Promise<void> {
    this.#meeting ??= this.#lookAround(this.#options.look_ms).finally(() => {
      this.#meeting = undefined;
    });
    await this.#meeting;
  }

  /** One look at all leases that are known, and at new ones when it is time. Refusal: `store_unavailable`. */
  look(): Promise<Refusal | undefined> {
    return this.#lookAround(this.#options.list_ms);
  }

  /** @param list_ms leases are listed where the last list is so old */
  async #lookAround(list_ms: number): Promise<Refusal | undefined> {
    const { store, clock, session } = this.#options;
    const sessions = new Set(this.#peers.sessions);
    if (clock.now_ms() - this.#listed_ms >= list_ms) {
      const keys = await store.list(NODE_PREFIX);
      if (isRefusal(keys)) return keys;
      this.#listed_ms = clock.now_ms();
      for (const key of keys) sessions.add(key.slice(NODE_PREFIX.length));
    }
    sessions.delete(session);
    await Promise.all([...sessions].map((other) => this.lookAt(other)));
    this.#buryDead();
    return undefined;
  }

  /** Refusal: `store_unavailable`; then nothing is known that was not known before. */
  async lookAt(session: string): Promise<Refusal | undefined> {
    const { store, clock } = this.#options;
    const asked_ms = clock.now_ms();
    const found = await store.get(nodeKey(session));
    if (isRefusal(found)) return found;
    const record = found && parseLease(found.body);
    if (found === undefined) this.#peers.gone(session);
    // A lease of another version is nobody's death.
    else if (record !== undefined)
      this.#peers.saw(record, found.etag, { asked_ms, answered_ms: clock.now_ms() });
    return undefined;
  }

  #buryDead(): void {
    const { store, nonce } = this.#options;
    for (const { record, etag } of this.#peers.dead) {
      const { session } = record;
      if (this.#burying.has(session)) continue;
      this.#burying.add(session);
      const done =
        record.state === "dead" ? store.delete(nodeKey(session)) : bury(store, record, etag, nonce());
      void done.finally(() => this.#burying.delete(session));
    }
  }
}
