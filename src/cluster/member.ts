/**
 * One node among others: keeps its lease, looks at theirs, takes the shards that it should own, and gives up those
 * that another should.
 *
 * All of it is a matter of speed and balance. Whatever a member believes, the log's fence decides who may write (law 6).
 */
import type { Refusal } from "../errors.ts";
import { MOVES_AT_ONCE, PLACE_PATIENCE_MS, SHARDS_OPENED_AT_ONCE, WATCH_INTERVALS } from "../limits.ts";
import { Holdings, type HoldingsOptions } from "./holdings.ts";
import type { LeaseRecord } from "./lease.ts";
import { Owners } from "./owners.ts";
import { Peers } from "./peers.ts";
import { type Assignment, Placement } from "./placement.ts";
import { Presence } from "./presence.ts";
import { draining, moving, notLeader } from "./refusals.ts";
import { Watch } from "./watch.ts";

export interface MemberOptions extends Omit<HoldingsOptions, "leaseIsValid" | "tell"> {
  /** Where other nodes reach this one, and under which hosts callers do. */
  readonly url: string;
  readonly authorities: readonly string[];
  /** The process, and whether such a process of this machine is known to have ended. */
  readonly process: string;
  readonly isGone: (process: string) => boolean;
  readonly shardCount: number;
  readonly ttl_ms: number;
  /** RFC 3339, for people. */
  readonly wallTime: () => string;
  /** Called once: other nodes have declared this one dead. */
  readonly lost: (why: Refusal) => void;
}

/** Where a shard's calls belong. */
export type Place = "here" | LeaseRecord;

export class Member {
  readonly #options: MemberOptions;
  readonly #presence: Presence;
  readonly #peers: Peers;
  readonly #watch: Watch;
  readonly #owners: Owners;
  readonly #holdings: Holdings;
  readonly #placement: Placement;
  #draining = false;
  readonly #moving = new Set<number>();
  readonly #taking = new Set<number>();
  /** Until when a shard is left to the node that it was handed over to. */
  readonly #given = new Map<number, number>();

  constructor(options: MemberOptions) {
    const { ttl_ms, isGone } = options;
    this.#options = options;
    this.#placement = new Placement(options.shardCount);
    this.#presence = new Presence({ ...options, compose: () => this.#leaseRecord() });
    this.#peers = new Peers({ ttl_ms, interval_ms: this.#watch_ms, isGone });
    this.#owners = new Owners(this.#peers);
    this.#watch = new Watch(
      { ...options, look_ms: this.#watch_ms, list_ms: this.#presence.interval_ms },
      this.#peers,
    );
    this.#holdings = new Holdings({
      ...options,
      leaseIsValid: () => this.#presence.isValid,
      tell: (...owner) => this.#owners.tell(...owner),
      opened: (...opened) => {
        options.opened(...opened);
        void this.#presence.publish();
      },
      closed: (...closed) => {
        options.closed(...closed);
        void this.#presence.publish();
      },
    });
  }

  /** Writes the lease, looks around, and begins to take shards. Refusal: `store_unavailable`. */
  async start(): Promise<Refusal | undefined> {
    const failed = (await this.#presence.acquire()) ?? (await this.#watch.look());
    if (failed !== undefined) {
      await this.#presence.leave();
      return failed;
    }
    this.#presence.begin();
    this.#plan();
    // At once a second time: others believe in a node whose lease they have seen change.
    void this.#presence.publish();
    void this.#watch.keepLooking(
      () => this.#presence.hasEnded,
      () => this.#plan(),
    );
    return undefined;
  }

  /** Nodes that live as far as is known, this one left out. */
  get others(): readonly LeaseRecord[] {
    return this.#peers.living;
  }

  /** How many shards are recovered and served here. */
  get shardCount(): number {
    return this.#holdings.shards.size;
  }

  /** Resolves when nothing is being taken, handed over or published. */
  async settled(): Promise<void> {
    for (let shard = 0; shard < this.#options.shardCount; shard++) await this.#holdings.busy(shard);
    await this.#presence.published;
  }

  /**
   * Where a call of this shard belongs: here, once the shard is open, or at another node.
   * @param avoid sessions that do not answer
   * @param until_ms how long to wait for a shard that is being opened or handed over
   * @returns a refusal where it belongs nowhere now: `store_unavailable`, `draining`
   */
  async place(
    shard: number,
    avoid: ReadonlySet<string> = new Set(),
    until_ms = this.#patience_ms,
  ): Promise<Place | Refusal> {
    const { session } = this.#options;
    for (let attempt = 0; attempt < 3; attempt++) {
      // Who is known to lead can be asked, whatever is still going on here.
      let owner = this.#owners.of(shard)?.lease;
      if (owner === undefined) {
        const late = await this.#within(until_ms, shard, this.#holdings.busy(shard));
        if (late !== undefined) return late;
        owner = this.#owners.of(shard)?.lease;
      }
      if (this.#holdings.get(shard) !== undefined) return "here";
      if (owner !== undefined) return avoid.has(owner.session) ? moving(shard) : owner;
      // I am on record, and nobody may take it from me while I live: whether I should have it is for later.
      const target = this.#isMineOnRecord(shard)
        ? session
        : this.#targets((other) => !avoid.has(other))[shard];
      const peer = target === undefined ? undefined : this.#peers.alive(target);
      if (peer !== undefined) return peer;
      const failed =
        target === undefined ? draining() : await this.#within(until_ms, shard, this.#take(shard));
      if (failed !== undefined) return failed;
    }
    return moving(shard);
  }

  /**
   * The same for a call that another node has sent here: it is not sent on. What nobody owns is taken, because being
   * asked for is reason enough.
   * @returns `not_leader` where another node owns the shard, naming it
   */
  async placeAsked(shard: number, until_ms = this.#patience_ms): Promise<"here" | Refusal> {
    const late = await this.#within(until_ms, shard, this.#holdings.busy(shard));
    if (late !== undefined) return late;
    if (this.#holdings.get(shard) !== undefined) return "here";
    // Who has not yet seen the move asks here. Taking the shard back would begin it anew.
    const isGiven = this.#options.clock.now_ms() < (this.#given.get(shard) ?? Number.NEGATIVE_INFINITY);
    if (this.#draining || isGiven) return notLeader(shard, this.#owners.of(shard));
    const failed = await this.#within(until_ms, shard, this.#take(shard));
    if (failed !== undefined) return failed;
    return this.#holdings.get(shard) === undefined ? notLeader(shard, this.#owners.of(shard)) : "here";
  }

  /** Is aborted when that node is dead or gone: what was asked of it will not be answered. */
  lifeOf(session: string): AbortSignal | undefined {
    return this.#peers.lifeOf(session);
  }

  /** Looks for nodes that have just come. */
  meet(): Promise<void> {
    return this.#watch.meet();
  }

  /**
   * Another node says who owns the shard. It is believed until the store says otherwise. I may be told that it is I: a
   * claim whose end stayed unclear has arrived.
   */
  told(shard: number, session: string, epoch: number): void {
    const mayOwn = session === this.#options.session || this.#peers.lives(session);
    if (mayOwn) this.#owners.hint(shard, { session, epoch });
  }

  /** Hands all shards over, at first to nodes that live; calls are still placed. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#presence.publish();
    while (this.#holdings.shards.size > 0 || this.#taking.size > 0) {
      const some = [...this.#holdings.shards.keys()].slice(0, SHARDS_OPENED_AT_ONCE);
      await Promise.all(some.map((shard) => this.#holdings.handOver(shard)));
      if (some.length === 0) await this.settled();
    }
    await this.#presence.publish();
  }

  /** The orderly end, after `drain`: the lease goes, so that nobody waits for its end. */
  async leave(): Promise<void> {
    await this.settled();
    await this.#presence.leave();
  }

  // ── The lease ────────────────────────────────────────────────────────────────────────────────────────────

  #leaseRecord(): LeaseRecord {
    const { session, url, authorities, process, ttl_ms, wallTime, nonce } = this.#options;
    const shards = [...this.#holdings.shards].map(
      ([shard, { epoch, seq, checkpointed }]) => [String(shard), [epoch, seq, checkpointed]] as const,
    );
    return {
      session,
      state: this.#draining ? "draining" : "serving",
      url,
      authorities,
      process,
      ttl_ms,
      renewed_at: wallTime(),
      shards: Object.fromEntries(shards),
      nonce: nonce(),
    };
  }

  // ── The others ───────────────────────────────────────────────────────────────────────────────────────────

  get #watch_ms(): number {
    return this.#options.ttl_ms / WATCH_INTERVALS;
  }

  // ── The shards ───────────────────────────────────────────────────────────────────────────────────────────

  /** Which node should own which shard, by the nodes that would take it. */
  #targets(accepts: (session: string) => boolean): Assignment {
    const { session } = this.#options;
    const serving = this.#peers.living.filter(({ state }) => state === "serving").map((peer) => peer.session);
    const sessions = [...(this.#draining ? [] : [session]), ...serving.filter(accepts)];
    return this.#placement.assign(sessions);
  }

  #isMineOnRecord(shard: number): boolean {
    return !this.#draining && this.#owners.isOf(shard, this.#options.session);
  }

  /** Begins moves and takeovers that are due, a bounded number at once. */
  #plan(): void {
    const { session, shardCount } = this.#options;
    const takers = this.#targets(() => true);
    const movers = this.#targets((other) => this.#peers.isConfirmed(other));
    for (let shard = 0; shard < shardCount; shard++) {
      const taker = takers[shard] === session || this.#isMineOnRecord(shard);
      if (this.#holdings.get(shard) !== undefined) {
        // Not to somebody who is only believed in by half: I would take it back at once.
        if (movers[shard] !== session && takers[shard] !== session)
          this.#begin(this.#moving, MOVES_AT_ONCE, shard, () => this.#move(shard));
      } else if (taker && !this.#owners.isLed(shard) && this.#holdings.failure(shard) === undefined) {
        this.#begin(this.#taking, SHARDS_OPENED_AT_ONCE, shard, () => this.#take(shard));
      }
    }
  }

  #begin(under: Set<number>, most: number, shard: number, work: () => Promise<unknown>): void {
    if (this.#draining || under.has(shard) || under.size >= most) return;
    under.add(shard);
    const wasOpen = this.#holdings.get(shard) !== undefined;
    void work().finally(() => {
      under.delete(shard);
      // What came to nothing waits for the next look: the same again at once would not end.
      const isDone = wasOpen !== (this.#holdings.get(shard) !== undefined);
      if (isDone && !this.#presence.hasEnded) this.#plan();
    });
  }

  /** With a fresh checkpoint behind it, the successor has little to read. */
  async #move(shard: number): Promise<void> {
    await this.#holdings.get(shard)?.checkpoint();
    await this.#holdings.handOver(shard);
    const { clock, ttl_ms } = this.#options;
    this.#given.set(shard, clock.now_ms() + ttl_ms);
  }

  #take(shard: number): Promise<Refusal | undefined> {
    if (this.#presence.hasEnded) return Promise.resolve(draining());
    return this.#holdings.take(shard, (owner) => this.#watch.isOver(owner));
  }

  get #patience_ms(): number {
    return this.#options.clock.now_ms() + PLACE_PATIENCE_MS;
  }

  /** Waits for the work until then; it goes on without who waited. */
  #within(until_ms: number, shard: number, work: Promise<Refusal | undefined> | undefined) {
    const { clock } = this.#options;
    return work && Promise.race([work, clock.sleep(until_ms - clock.now_ms()).then(() => moving(shard))]);
  }
}
