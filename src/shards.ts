/**
 * The shards of a node at work: the actors of those that it owns, and where the calls of all others belong.
 *
 * This is where membership, log and actors meet. A call is done here, once the shard is open, or passed on to the node
 * that leads its shard. While a shard moves, calls wait for it for a while.
 */
import { Actors } from "./actor/actors.ts";
import type { Position } from "./actor/position.ts";
import { type Answer, type Call, type Question, Shard } from "./actor/shard.ts";
import { forward, type Incoming, type Send } from "./cluster/forward.ts";
import type { LeaseRecord } from "./cluster/lease.ts";
import type { ShardLog } from "./cluster/log.ts";
import { Member, type MemberOptions, type Place } from "./cluster/member.ts";
import { shardOf } from "./cluster/pages.ts";
import { moving } from "./cluster/refusals.ts";
import type { Courier } from "./courier.ts";
import { Deliveries } from "./deliveries.ts";
import { isRefusal, late, type Refusal } from "./errors.ts";
import { Few } from "./few.ts";
import {
  ACTORS_BYTES_MAX,
  ACTORS_SWEEP_MS,
  COMPLAINTS_KEPT,
  DELIVERIES_AT_ONCE,
  DELIVERIES_OF_TENANT_AT_ONCE,
  PLACE_PATIENCE_MS,
  PLACE_RETRY_MS,
} from "./limits.ts";
import type { ProtocolCache } from "./protocol/cache.ts";
import { stepAll } from "./protocol/monitor.ts";
import { findWidening } from "./protocol/narrower.ts";
import type { ReplayWindow } from "./signature/replay.ts";

export interface ShardsOptions
  extends Omit<MemberOptions, "records" | "opened" | "closed" | "checkpointFailed"> {
  readonly protocols: ProtocolCache;
  readonly replays: ReplayWindow;
  readonly send: Send;
  /** Delivers what actors send, and holds their secrets. */
  readonly courier: Courier;
  /** What an operator should know, with the shard that it is about; what lasts, once. */
  readonly event: (event: ShardEvent, shard: number, detail: string) => void;
}

/**
 * `shard_stopped`: it cannot be opened. `actor_unreadable`, `checkpoint_failed`, `send_failed`: it works, but not all of
 * it. `send_refused`, `send_given_up`: what an actor has sent will not be delivered.
 */
export type ShardEvent =
  | "shard_opened"
  | "shard_closed"
  | "shard_stopped"
  | "actor_unreadable"
  | "checkpoint_failed"
  | "send_failed"
  | "send_refused"
  | "send_given_up";

/** What is done where an actor lives. */
type Work<T> = (shard: Shard) => Promise<T | Refusal>;

export class Shards {
  readonly #options: ShardsOptions;
  readonly #member: Member;
  readonly #open = new Map<number, { readonly shard: Shard; readonly actors: Actors }>();
  /** What is wrong with a shard and was said: tried again every second, it would be said every second. */
  readonly #said = new Map<number, Set<string>>();
  readonly #few = new Few({ most: DELIVERIES_AT_ONCE, mostOfOne: DELIVERIES_OF_TENANT_AT_ONCE });
  #ended = false;

  constructor(options: ShardsOptions) {
    this.#options = options;
    this.#member = new Member({
      ...options,
      records: () => new Actors(),
      opened: (shard, log, records) => this.#opened(shard, log, records as Actors),
      closed: (shard, why) => this.#closed(shard, why),
      checkpointFailed: (shard, why) => this.#sayOnce("checkpoint_failed", shard, why),
    });
  }

  /** Refusal: `store_unavailable`. */
  async start(): Promise<Refusal | undefined> {
    const failed = await this.#member.start();
    if (failed !== undefined) return failed;
    void this.#forgetting();
    // Whoever is alone serves all of them from the first call on.
    await this.#member.settled();
    return undefined;
  }

  /** Nodes that would take over what this one gives up. */
  get successors(): readonly LeaseRecord[] {
    return this.#member.others.filter(({ state }) => state === "serving");
  }

  /** How many shards are served here, and how many of their actors are in memory. */
  get counts(): { readonly shards: number; readonly actors: number } {
    let actors = 0;
    for (const open of this.#open.values()) actors += open.actors.count;
    return { shards: this.#open.size, actors };
  }

  /** Hosts under which callers address other nodes: what they have signed may arrive here, passed on. */
  isPeerAuthority(host: string): boolean {
    return this.#member.others.some(({ authorities }) => authorities.includes(host));
  }

  /** A node that has just come may pass calls on before its lease was seen here. */
  async meetPeers(): Promise<void> {
    await this.#member.meet();
  }

  /** Does the call where its actor lives. */
  call(call: Call, incoming: Incoming, deadline_ms: number): Promise<Answer | Response | Refusal> {
    return this.#atLeader(call, incoming, deadline_ms, (shard) => shard.call(call));
  }

  /** Asks where the actor lives what may be sent to it. */
  describe(
    question: Question,
    incoming: Incoming,
    deadline_ms: number,
  ): Promise<Position | Response | Refusal> {
    return this.#atLeader(question, incoming, deadline_ms, (shard) => shard.describe(question));
  }

  async #atLeader<T>(
    { tenant, actor }: Pick<Call, "tenant" | "actor">,
    incoming: Incoming,
    deadline_ms: number,
    work: Work<T>,
  ): Promise<T | Response | Refusal> {
    const { clock, shardCount } = this.#options;
    const shard = shardOf(`${tenant}/${actor}`, shardCount);
    const patience_ms = Math.min(deadline_ms, clock.now_ms() + PLACE_PATIENCE_MS);
    const avoid = new Set<string>();
    for (;;) {
      const place = await (incoming.hops > 0
        ? this.#member.placeAsked(shard, patience_ms)
        : this.#member.place(shard, avoid, patience_ms));
      const remaining_ms = deadline_ms - clock.now_ms();
      if (remaining_ms <= 0) return late();
      const outcome = isRefusal(place)
        ? place
        : await this.#attempt(shard, work, incoming, place, remaining_ms, avoid);
      // Passed on to the wrong node: the one that sent it knows what to do.
      if (!isPassing(outcome) || incoming.hops > 0 || clock.now_ms() >= patience_ms) return outcome;
      await clock.sleep(PLACE_RETRY_MS);
    }
  }

  /** Hands every shard over. Calls that still come are passed on. */
  drain(): Promise<void> {
    return this.#member.drain();
  }

  /** After `drain`. */
  async leave(): Promise<void> {
    this.#ended = true;
    await this.#member.leave();
  }

  async #attempt<T>(
    shard: number,
    work: Work<T>,
    incoming: Incoming,
    place: Place,
    remaining_ms: number,
    avoid: Set<string>,
  ): Promise<T | Response | Refusal> {
    if (place === "here") {
      const here = this.#open.get(shard);
      return here === undefined ? moving(shard) : (incoming.admit() ?? work(here.shard));
    }
    const { session, url } = place;
    const life = this.#member.lifeOf(session);
    const outcome = await forward(this.#options.send, incoming, { url, life }, remaining_ms);
    if (outcome === "unsent") {
      avoid.add(session);
      return moving(shard);
    }
    if (!isRefusal(outcome)) return outcome;
    const { leader } = outcome.facts;
    if (leader !== undefined) this.#member.told(shard, leader.session, leader.epoch);
    return outcome;
  }

  #opened(shard: number, log: ShardLog, actors: Actors): void {
    const { clock, protocols, replays, courier, event } = this.#options;
    replays.restoreForgotten(actors.forgottenNonces);
    for (const [key, until_s] of actors.nonces()) replays.restore(key, until_s, clock.now_ms() / 1000);
    const compile = (text: string) => protocols.get(text);
    const read = async (key: string): Promise<readonly string[] | Refusal> => {
      const lines = await log.record(key);
      if (isRefusal(lines) && lines.code === "store_unavailable")
        this.#sayOnce("actor_unreadable", shard, lines);
      return lines;
    };
    const engine = { compile, step: stepAll, widening: findWidening };
    const now_ms = () => clock.now_ms();
    const runtime = new Shard({
      actors,
      log,
      protocols: engine,
      read,
      vault: courier.vault,
      sent: (address) => deliveries.look(address),
      now_ms,
    });
    const deliveries = new Deliveries({
      shard: runtime,
      attempt: (address, send) => courier.attempt(address, send),
      wall_ms: courier.wall_ms,
      few: this.#few,
      clock,
      ended: () => log.ended !== undefined,
      report: (what, detail) => event(what, shard, detail),
    });
    this.#open.set(shard, { shard: runtime, actors });
    this.#said.delete(shard);
    event("shard_opened", shard, `epoch ${log.epoch}`);
    for (const address of actors.sending) deliveries.look(address);
  }

  #closed(shard: number, why: Refusal): void {
    const wasOpen = this.#open.delete(shard);
    if (wasOpen && why.facts.damaged === undefined) this.#options.event("shard_closed", shard, why.detail);
    else this.#sayOnce("shard_stopped", shard, why);
  }

  #sayOnce(event: ShardEvent, shard: number, { detail }: Refusal): void {
    const said = this.#said.get(shard) ?? new Set();
    this.#said.set(shard, said);
    if (said.has(detail)) return;
    if (said.size >= COMPLAINTS_KEPT) said.clear();
    said.add(detail);
    this.#options.event(event, shard, detail);
  }

  /**
   * Actors that nobody calls leave memory, and nonces whose requests can pass no more. Shard by shard, so that no call
   * waits for a look at all of them.
   */
  async #forgetting(): Promise<void> {
    const { clock, breathe, replays } = this.#options;
    while (!this.#ended) {
      await clock.sleep(ACTORS_SWEEP_MS);
      replays.forget(clock.now_ms() / 1000);
      for (const { actors } of this.#open.values()) {
        actors.forgetNonces((key) => replays.has(key));
        actors.evict(clock.now_ms(), ACTORS_BYTES_MAX / this.#open.size);
        await breathe();
      }
    }
  }
}

/** No effect, and another attempt in a moment may find the shard's leader. */
function isPassing(outcome: unknown): boolean {
  if (!isRefusal(outcome)) return false;
  return (
    outcome.code === "not_leader" ||
    (outcome.code === "draining" && outcome.facts.retry_after_ms !== undefined)
  );
}
