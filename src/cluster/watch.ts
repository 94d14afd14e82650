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
  /** Those who wait for the next list. */
  #meeting: Promise<void> | undefined;
  /** When leases were listed, and when they were asked for. */
  #listed_ms = Number.NEGATIVE_INFINITY;
  #asked_ms = Number.NEGATIVE_INFINITY;

  constructor(options: WatchOptions, peers: Peers) {
    this.#options = options;
    this.#peers = peers;
  }

  /**
   * Resolves when leases have been listed from now on, and those that are new were read. Anybody may ask for it, so
   * all who ask share a list, and it is made no more often than leases are looked at.
   */
  meet(): Promise<void> {
    this.#meeting ??= this.#meet();
    return this.#meeting;
  }

  async #meet(): Promise<void> {
    const { clock, look_ms } = this.#options;
    const wait_ms = this.#asked_ms + look_ms - clock.now_ms();
    await (wait_ms > 0 ? clock.sleep(wait_ms) : undefined);
    // Who asks from here on may speak of a node that this list does not show.
    this.#meeting = undefined;
    const listed = await this.#list();
    if (isRefusal(listed)) return;
    const known = new Set(this.#peers.sessions);
    await Promise.all(listed.filter((session) => !known.has(session)).map((session) => this.lookAt(session)));
  }

  /** One look at all leases that are known, and at new ones when it is time. Refusal: `store_unavailable`. */
  async look(): Promise<Refusal | undefined> {
    const { clock, list_ms } = this.#options;
    const sessions = new Set(this.#peers.sessions);
    if (clock.now_ms() - this.#listed_ms >= list_ms) {
      const listed = await this.#list();
      if (isRefusal(listed)) return listed;
      for (const session of listed) sessions.add(session);
    }
    await Promise.all([...sessions].map((session) => this.lookAt(session)));
    this.#buryDead();
    return undefined;
  }

  /** The sessions of the other nodes' leases. */
  async #list(): Promise<readonly string[] | Refusal> {
    const { store, clock, session } = this.#options;
    const asked_ms = clock.now_ms();
    this.#asked_ms = asked_ms;
    const keys = await store.list(NODE_PREFIX);
    if (isRefusal(keys)) return keys;
    this.#listed_ms = asked_ms;
    return keys.map((key) => key.slice(NODE_PREFIX.length)).filter((other) => other !== session);
  }

  /** Refusal: `store_unavailable`; then nothing is known that was not known before. */
  async lookAt(session: string): Promise<Refusal | undefined> {
    const { store, clock } = this.#options;
    const asked_ms = clock.now_ms();
    const found = await store.get(nodeKey(session));
    if (isRefusal(found)) return found;
    if (found === undefined) this.#peers.gone(session);
    else
      this.#peers.saw(session, parseLease(found.body), found.etag, { asked_ms, answered_ms: clock.now_ms() });
    return undefined;
  }

  #buryDead(): void {
    const { store, nonce } = this.#options;
    for (const { session, etag, isDeclared } of this.#peers.dead) {
      if (this.#burying.has(session)) continue;
      this.#burying.add(session);
      const done = isDeclared ? store.delete(nodeKey(session)) : bury(store, session, etag, nonce());
      void done.finally(() => this.#burying.delete(session));
    }
  }
}
