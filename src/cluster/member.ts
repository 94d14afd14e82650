/**
 * One node among others: keeps its lease, looks at theirs, takes the shards that it should own, and gives up those
 * that another should.
 *
 * All of it is a matter of speed and balance. Whatever a member believes, the log's fence decides who may write (law 6).
 */
import { type Refusal, refuse } from "../errors.ts";
import { MOVES_AT_ONCE, SHARDS_OPENED_AT_ONCE, WATCH_INTERVALS } from "../limits.ts";
import { Holdings, type HoldingsOptions } from "./holdings.ts";
import { Lease, type LeaseRecord } from "./lease.ts";
import { Owners } from "./owners.ts";
import { Peers } from "./peers.ts";
import { type Assignment, Placement } from "./placement.ts";
import { draining, moving, notLeader } from "./refusals.ts";
import { Watch } from "./watch.ts";

export interface MemberOptions extends Omit<HoldingsOptions, "leaseIsValid" | "tell"> {
  /** Where other nodes reach this one, and under which hosts callers do. */
  readonly url: string;
  readonly authorities: readonly string[];
  /** The process, and whether such a process of this machine is known to have ended. */
  readonly place: string;
  readonly isGone: (place: string) => boolean;
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
  readonly #lease: Lease;
  readonly #peers: Peers;
  readonly #watch: Watch;
  readonly #owners: Owners;
  readonly #holdings: Holdings;
  readonly #placement: Placement;
  #draining = false;
  #ended = false;
  #publishing: Promise<void> | undefined;
  #publishAgain = false;
  readonly #moving = new Set<number>();
  readonly #taking = new Set<number>();
  /** Until when a shard is left to the node that it was handed over to. */
  readonly #given = new Map<number, number>();

  constructor(options: MemberOptions) {
    const { store, clock, session, ttl_ms, isGone } = options;
    this.#options = options;
    this.#placement = new Placement(options.shardCount);
    this.#lease = new Lease({ store, clock, session, ttl_ms, compose: () => this.#leaseRecord() });
    this.#peers = new Peers({ ttl_ms, interval_ms: this.#watch_ms, isGone });
    this.#owners = new Owners(this.#peers);
    this.#watch = new Watch(
      { ...options, look_ms: this.#watch_ms, list_ms: this.#lease.interval_ms },
      this.#peers,
    );
    this.#holdings = new Holdings({
      ...options,
      leaseIsValid: () => !this.#ended && this.#lease.isValid,
      tell: (...owner) => this.#owners.tell(...owner),
      opened: (...opened) => {
        options.opened(...opened);
        this.#publish();
      },
      closed: (...closed) => {
        options.closed(...closed);
        this.#publish();
      },
    });
  }

  /** Writes the lease, looks around, and begins to take shards. Refusal: `store_unavailable`. */
  async start(): Promise<Refusal | undefined> {
    const failed = (await this.#lease.acquire()) ?? (await this.#watch.look());
    if (failed !== undefined) return failed;
    void this.#renewals();
    this.#plan();
    // At once a second time: others believe in a node whose lease they have seen change.
    this.#publish();
    void this.#watching();
    return undefined;
  }

  /** Nodes that live as far as is known, this one left out. */
  get others(): readonly LeaseRecord[] {
    return this.#peers.living;
  }

  /** Aborted when the node that has this session turns out to be dead. */
  lifeOf(session: string): AbortSignal {
    return this.#peers.lifeOf(session);
  }

  /** How many shards are recovered and served here. */
  get shardCount(): number {
    return this.#holdings.shards.size;
  }

  /** Resolves when nothing is being taken, handed over or published. */
  async settled(): Promise<void> {
    for (let shard = 0; shard < this.#options.shardCount; shard++) await this.#holdings.busy(shard);
    await this.#publishing;
  }

  /**
   * Where a call of this shard belongs: here, once the shard is open, or at another node.
   * @param avoid sessions that do not answer
   * @returns a refusal where it belongs nowhere now: `store_unavailable`, `draining`
   */
  async place(shard: number, avoid: ReadonlySet<string> = new Set()): Promise<Place | Refusal> {
    const { session } = this.#options;
    for (let attempt = 0; attempt < 3; attempt++) {
      await this.#holdings.busy(shard);
      if (this.#holdings.get(shard) !== undefined) return "here";
      const owner = this.#owners.of(shard)?.lease;
      if (owner !== undefined) return avoid.has(owner.session) ? moving(shard) : owner;
      // I am on record, and nobody may take it from me while I live: whether I should have it is for later.
      const target = this.#isMineOnRecord(shard)
        ? session
        : this.#targets((other) => !avoid.has(other))[shard];
      const peer = target === undefined ? undefined : this.#peers.alive(target);
      if (peer !== undefined) return peer;
      const failed = target === undefined ? draining() : await this.#take(shard);
      if (failed !== undefined) return failed;
    }
    return moving(shard);
  }

  /**
   * The same for a call that another node has sent here: it is not sent on. What nobody owns is taken, because being
   * asked for is reason enough.
   * @returns `not_leader` where another node owns the shard, naming it
   */
  async placeAsked(shard: number): Promise<"here" | Refusal> {
    await this.#holdings.busy(shard);
    if (this.#holdings.get(shard) !== undefined) return "here";
    // Who has not yet seen the move asks here. Taking the shard back would begin it anew.
    const isGiven = this.#options.clock.now_ms() < (this.#given.get(shard) ?? Number.NEGATIVE_INFINITY);
    if (this.#draining || isGiven) return notLeader(shard, this.#owners.of(shard));
    const failed = await this.#take(shard);
    if (failed !== undefined) return failed;
    return this.#holdings.get(shard) === undefined ? notLeader(shard, this.#owners.of(shard)) : "here";
  }

  /** Looks for nodes that have just come. */
  meet(): Promise<void> {
    return this.#watch.meet();
  }

  /** Another node says who owns the shard. It is believed as far as a call sent there in vain. */
  told(shard: number, session: string, epoch: number): void {
    this.#owners.tell(shard, { session, epoch });
  }

  /** Hands all shards over, at first to nodes that live; calls are still placed. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#lease.renew();
    while (this.#holdings.shards.size > 0 || this.#taking.size > 0) {
      const some = [...this.#holdings.shards.keys()].slice(0, SHARDS_OPENED_AT_ONCE);
      await Promise.all(some.map((shard) => this.#holdings.handOver(shard)));
      if (some.length === 0) await this.settled();
    }
    await this.#lease.renew();
  }

  /** The orderly end, after `drain`: the lease goes, so that nobody waits for its end. */
  async leave(): Promise<void> {
    await this.settled();
    this.#ended = true;
    await this.#lease.remove();
  }

  // ── The lease ────────────────────────────────────────────────────────────────────────────────────────────

  #leaseRecord(): LeaseRecord {
    const { session, url, authorities, place, ttl_ms, wallTime, nonce } = this.#options;
    const shards = [...this.#holdings.shards].map(
      ([shard, { epoch, seq, checkpointed }]) => [String(shard), [epoch, seq, checkpointed]] as const,
    );
    return {
      v: 1,
      session,
      state: this.#draining ? "draining" : "serving",
      url,
      authorities,
      place,
      ttl_ms,
      renewed_at: wallTime(),
      shards: Object.fromEntries(shards),
      nonce: nonce(),
    };
  }

  async #renewals(): Promise<void> {
    while (!this.#ended) {
      await this.#options.clock.sleep(this.#lease.interval_ms);
      if (!this.#ended) await this.#renew();
    }
  }

  async #renew(): Promise<void> {
    if ((await this.#lease.renew()) !== "lost" || this.#ended) return;
    this.#ended = true;
    this.#lease.invalidate();
    this.#options.lost(refuse("not_leader", "other nodes have declared this one dead"));
  }

  /** Lets others know soon what is mine now. */
  #publish(): void {
    this.#publishAgain = true;
    this.#publishing ??= (async () => {
      while (this.#publishAgain && !this.#ended) {
        this.#publishAgain = false;
        await this.#renew();
      }
      this.#publishing = undefined;
    })();
  }

  // ── The others ───────────────────────────────────────────────────────────────────────────────────────────

  get #watch_ms(): number {
    return this.#options.ttl_ms / WATCH_INTERVALS;
  }

  async #watching(): Promise<void> {
    while (!this.#ended) {
      await this.#options.clock.sleep(this.#watch_ms);
      if (this.#ended) return;
      await this.#watch.look();
      if (!this.#ended) this.#plan();
    }
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
      } else if (
        taker &&
        this.#owners.of(shard) === undefined &&
        this.#holdings.failure(shard) === undefined
      ) {
        this.#begin(this.#taking, SHARDS_OPENED_AT_ONCE, shard, () => this.#take(shard));
      }
    }
  }

  #begin(under: Set<number>, most: number, shard: number, work: () => Promise<unknown>): void {
    if (this.#draining || under.has(shard) || under.size >= most) return;
    under.add(shard);
    void work().finally(() => {
      under.delete(shard);
      if (!this.#ended) this.#plan();
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
    if (this.#ended) return Promise.resolve(draining());
    return this.#holdings.take(shard, async (owner) => {
      if (this.#peers.alive(owner) !== undefined) return false;
      const failed = await this.#watch.lookAt(owner);
      return failed ?? this.#peers.alive(owner) === undefined;
    });
  }
}
