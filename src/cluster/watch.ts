/**
 * Looks at the leases of the other nodes: reads them often, lists them as often as they are renewed, and buries those
 * that have died, so that their holders cannot renew them any more.
 *
 * Nobody is deposed before he is buried. A claim that was on its way for long would else arrive when the owner has
 * renewed its lease and answers from it again.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { LOOKS_AT_ONCE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import type { Clock } from "./clock.ts";
import { NODE_PREFIX, nodeKey } from "./format.ts";
import { bury, parseLease } from "./lease.ts";
import type { DeadPeer, Peers } from "./peers.ts";

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
  readonly #burying = new Map<string, Promise<boolean | Refusal>>();
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
    await Promise.all(
      listed.filter((session) => !known.has(session)).map((session) => this.#lookAt(session)),
    );
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
    await Promise.all([...sessions].map((session) => this.#lookAt(session)));
    for (const dead of this.#peers.dead) void this.#bury(dead);
    return undefined;
  }

  /**
   * Whether the session's lease is over for good: it is gone, or was declared dead, if need be now by me.
   * Refusal: `store_unavailable`.
   */
  async isOver(session: string): Promise<boolean | Refusal> {
    if (this.#peers.lives(session)) return false;
    const found = await this.#lookAt(session);
    if (isRefusal(found)) return found;
    if (found === "gone") return true;
    const seen = this.#peers.dead.find((dead) => dead.session === session);
    return seen !== undefined && this.#bury(seen);
  }

  /** Looks again and again. One that hangs does not blind the node. @param looked called after each */
  async keepLooking(hasEnded: () => boolean, looked: () => void): Promise<void> {
    const { clock, look_ms } = this.#options;
    const looks = new Set<Promise<void>>();
    const begin = async (): Promise<void> => {
      await this.look();
      if (!hasEnded()) looked();
    };
    while (!hasEnded()) {
      await clock.sleep(look_ms);
      if (hasEnded()) return;
      const look = begin().finally(() => looks.delete(look));
      looks.add(look);
      const canGoOn = looks.size < LOOKS_AT_ONCE ? [look, clock.sleep(look_ms)] : looks;
      await Promise.race(canGoOn);
    }
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
  async #lookAt(session: string): Promise<"gone" | "there" | Refusal> {
    const { store, clock } = this.#options;
    const asked_ms = clock.now_ms();
    const found = await store.get(nodeKey(session));
    if (isRefusal(found)) return found;
    if (found === undefined) {
      this.#peers.gone(session);
      return "gone";
    }
    this.#peers.saw(session, parseLease(found.body), found.etag, { asked_ms, answered_ms: clock.now_ms() });
    return "there";
  }

  /** @returns whether nobody can renew the lease any more: `false` where it has changed since it was seen. */
  #bury(seen: DeadPeer): Promise<boolean | Refusal> {
    const { session } = seen;
    const known = this.#burying.get(session);
    if (known !== undefined) return known;
    const burying = this.#declare(seen).finally(() => this.#burying.delete(session));
    this.#burying.set(session, burying);
    return burying;
  }

  async #declare({ session, etag, isDeclared }: DeadPeer): Promise<boolean | Refusal> {
    const { store, nonce } = this.#options;
    const outcome = isDeclared ? "won" : (await bury(store, session, etag, nonce())).outcome;
    if (outcome === "unknown")
      return refuse("store_unavailable", `the store did not say whether ${session} was declared dead`);
    // What is dead needs no lease. Should it stay, the next look finds it.
    if (outcome === "won") void store.delete(nodeKey(session));
    return outcome === "won";
  }
}
