/**
 * A node: the real member, log and actors in a simulated process, and the gate before them, which does what
 * `src/server.ts` and `src/shards.ts` do with requests.
 */
import { Actors } from "../../../src/actor/actors.ts";
import type { Send } from "../../../src/actor/outbox.ts";
import { type Answer, Shard } from "../../../src/actor/shard.ts";
import type { ShardLog } from "../../../src/cluster/log.ts";
import { Member } from "../../../src/cluster/member.ts";
import { shardOf } from "../../../src/cluster/pages.ts";
import { Deliveries } from "../../../src/deliveries.ts";
import { CODES, isRefusal, type Refusal, refuse } from "../../../src/errors.ts";
import { Few } from "../../../src/few.ts";
import { PLACE_PATIENCE_MS, PLACE_RETRY_MS } from "../../../src/limits.ts";
import { VAULT } from "../../support/vault.ts";
import { type Accounts, addressOf, callOf, type Operation, protocols } from "./accounts.ts";
import type { History } from "./history.ts";
import type { Network } from "./network.ts";
import type { Process } from "./process.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import { type Counted, isCounted } from "./tally.ts";

export interface NodeOptions {
  readonly process: Process;
  readonly random: Random;
  /** How long turns take. */
  readonly turns: Random;
  readonly profile: Profile;
  readonly network: Network;
  readonly history: History;
  readonly accounts: Accounts;
  readonly nodeOf: (session: string) => Node | undefined;
  readonly isGone: (place: string) => boolean;
  readonly count: (what: Counted) => void;
  readonly fail: (what: string) => void;
  readonly trace: (what: () => string) => void;
  /** It has ended by itself. */
  readonly ended: (node: Node) => void;
}

/** Remembers what recovery has applied. */
class Recovering extends Actors {
  readonly applied: string[] = [];

  override apply(text: string): void {
    this.applied.push(text);
    super.apply(text);
  }
}

interface Runtime {
  readonly shard: Shard;
  readonly actors: Actors;
  readonly log: ShardLog;
  /** Entries that were appended and are not settled. */
  unsettled: number;
}

/** What only a store that has lost something can cause. */
const LOSS = /missing|damaged|checksum|format/;
const DEPOSED = "another node has taken shard";

export class Node {
  readonly process: Process;
  readonly #options: NodeOptions;
  readonly #member: Member;
  readonly #runtimes = new Map<number, Runtime>();
  /** Folders in which the store has told this process of a conflict that was none. */
  readonly #misled = new Set<string>();
  #spying = false;
  #asked = false;
  #serving = false;
  #draining = false;
  readonly #few = new Few({ most: 4, mostOfOne: 4 });

  constructor(options: NodeOptions) {
    const { process, profile, network } = options;
    this.process = process;
    this.#options = options;
    let nonces = 0;
    this.#member = new Member({
      store: network.storeOf(process, () => this.#spied()),
      clock: process,
      session: process.session,
      nonce: () => `${process.session}-${++nonces}`,
      breathe: () => process.sleep(0),
      window: profile.window,
      checkpointLogBytesMin: profile.checkpointLogBytesMin,
      url: `sim://${process.session}`,
      authorities: [],
      process: `${process.machine} ${process.session}`,
      isGone: options.isGone,
      shardCount: profile.shards,
      ttl_ms: profile.ttl_ms,
      wallTime: () => new Date(process.wall_ms()).toISOString(),
      records: () => new Recovering(),
      opened: (shard, log, records) => this.#opened(shard, log, records as Recovering),
      closed: (shard, why) => this.#closed(shard, why),
      lost: (why) => this.#end("declared dead", why),
    });
  }

  async run(): Promise<void> {
    const failed = await this.#member.start();
    if (failed !== undefined) return this.#end("not started", failed);
    await this.#member.settled();
    this.#serving = true;
    for (;;) {
      await this.process.sleep(this.#options.profile.ttl_ms / 3);
      for (const { actors, log } of this.#runtimes.values()) {
        // As if it had been long ago that the actors were called: all leave memory that may.
        actors.evict(this.process.now_ms(), 0);
        // As before a move, but in the midst of calls.
        if (this.#options.random.chance(0.2)) void log.checkpoint();
      }
    }
  }

  /** Hands all shards over and ends. */
  async drain(): Promise<void> {
    if (this.#draining || !this.#serving) return;
    this.#draining = true;
    await this.#member.drain();
    await this.#member.leave();
    this.#end("left");
  }

  misled(key: string): void {
    this.#misled.add(key.split("/").slice(0, 2).join("/"));
  }

  /** Whether it would answer, in this moment, from what it has seen, without asking the store who leads. */
  relies(shard: number): boolean {
    const { log } = this.#runtimes.get(shard) ?? {};
    if (log === undefined || log.ended !== undefined) return false;
    this.#spying = true;
    this.#asked = false;
    void log.confirm();
    this.#spying = false;
    return !this.#asked;
  }

  /** It takes itself for the shard's leader. */
  holds(shard: number): boolean {
    return this.#runtimes.has(shard);
  }

  unsettled(shard: number): number {
    return this.#runtimes.get(shard)?.unsettled ?? 0;
  }

  /** @param passedOn another node has sent it here */
  async handle(operation: Operation, deadline_ms: number, passedOn = false): Promise<Answer | Refusal> {
    const { process } = this;
    if (!this.#serving) return refuse("overloaded", "the node is starting", { retry_after_ms: 1000 });
    const until_ms = process.now_ms() + deadline_ms;
    const patience_ms = Math.min(until_ms, process.now_ms() + PLACE_PATIENCE_MS);
    const avoid = new Set<string>();
    for (;;) {
      const outcome = await this.#attempt(operation, until_ms, passedOn, avoid);
      if (!isPassing(outcome) || passedOn || process.now_ms() >= patience_ms) return outcome;
      await process.sleep(PLACE_RETRY_MS);
    }
  }

  async #attempt(
    operation: Operation,
    until_ms: number,
    passedOn: boolean,
    avoid: Set<string>,
  ): Promise<Answer | Refusal> {
    const { network, nodeOf, count } = this.#options;
    const { shard } = operation;
    const place = await (passedOn ? this.#member.placeAsked(shard) : this.#member.place(shard, avoid));
    if (isRefusal(place)) return place;
    if (place === "here") return this.#call(operation, until_ms);
    const other = nodeOf(place.session);
    count("forwarded");
    const outcome = await network.call(this.process, other?.process, async () =>
      other === undefined ? moving(shard) : other.handle(operation, until_ms - this.process.now_ms(), true),
    );
    if (outcome === "unsent") {
      avoid.add(place.session);
      return moving(shard);
    }
    if (outcome === "unclear") return refuse("outcome_unknown", "the other node did not answer");
    const leader = isRefusal(outcome) ? outcome.facts.leader : undefined;
    if (leader !== undefined) {
      count("redirected");
      this.#member.told(shard, leader.session, leader.epoch);
    }
    return outcome;
  }

  async #call(operation: Operation, deadline_ms: number): Promise<Answer | Refusal> {
    const { process } = this;
    const { accounts, profile, turns, trace, count, fail } = this.#options;
    const runtime = this.#runtimes.get(operation.shard);
    if (runtime === undefined) return moving(operation.shard);
    const attempt = accounts.attempt(operation);
    const { shown } = accounts.of(addressOf(operation.actor));
    const call = callOf(operation, attempt, {
      now_ms: process.wall_ms(),
      deadline_ms,
      padding: "x".repeat(profile.paddingLength),
      work: async () => {
        if (profile.turn_ms > 0) await process.sleep(turns.between(0, profile.turn_ms));
      },
    });
    const answer = await runtime.shard.call(call);
    const told = isRefusal(answer) ? answer.code : answer.kept ? "kept" : "acknowledged";
    if (isCounted(told)) count(told);
    else fail(`${attempt} was answered ${told}`);
    trace(
      () =>
        `${this.process.session} answers ${attempt} (${operation.message} of ${operation.shard}): ${told}${isRefusal(answer) ? `, ${answer.detail}` : ""}`,
    );
    accounts.answered(attempt, operation, answer, shown);
    if (isRefusal(answer)) this.#checkLoss(operation.shard, answer);
    return answer;
  }

  #opened(shard: number, log: ShardLog, records: Recovering): void {
    const { history, count, trace, fail } = this.#options;
    trace(() => `${this.process.session} opened ${shard}: epoch ${log.epoch}, up to ${log.seq}`);
    count("opened");
    history.recovered(shard, log.checkpointed, log.seq, records.applied);
    const deliveries: Deliveries = new Deliveries({
      shard: {
        receivers: (address) => runtime.shard.receivers(address),
        nextSend: (...of) => runtime.shard.nextSend(...of),
        delivered: (...of) => runtime.shard.delivered(...of),
      },
      few: this.#few,
      attempt: (address, send) => this.#deliver(address, send),
      clock: this.process,
      wall_ms: () => this.process.wall_ms(),
      ended: () => log.ended !== undefined,
      report: (event, detail) => fail(`${event}: ${detail}`),
    });
    const runtime: Runtime = {
      shard: new Shard({
        actors: records,
        log: {
          get ended() {
            return log.ended;
          },
          append: (entry) => {
            runtime.unsettled++;
            const settled = log.append(entry);
            void settled.then(() => runtime.unsettled--);
            return settled;
          },
          settled: () => log.settled(),
          confirm: () => log.confirm(),
        },
        protocols,
        read: (key) => log.record(key),
        vault: VAULT,
        sent: (address) => deliveries.look(address),
        now_ms: () => this.process.now_ms(),
      }),
      actors: records,
      log,
      unsettled: 0,
    };
    this.#runtimes.set(shard, runtime);
    for (const address of records.sending) deliveries.look(address);
  }

  /** As the courier does it, without bytes. */
  async #deliver(sender: string, send: Send): Promise<string | Refusal> {
    const { accounts, profile, fail, count } = this.#options;
    const [, , receiver] = send.record;
    const shard = shardOf(addressOf(receiver), profile.shards);
    const answer = await this.handle(accounts.deliveryOf(sender, send, shard), 2 * profile.ttl_ms);
    if (!isRefusal(answer)) {
      count("delivered");
      return "done";
    }
    if (!CODES[answer.code].retry) fail(`a send of ${sender} was refused: ${answer.code}`);
    return answer;
  }

  #closed(shard: number, why: Refusal): void {
    const { history, fail, count, trace } = this.#options;
    const { session } = this.process;
    trace(() => `${session} closed ${shard}: ${why.detail}`);
    const runtime = this.#runtimes.get(shard);
    this.#runtimes.delete(shard);
    const closed = runtime === undefined ? "not opened" : `closed: ${why.code}`;
    if (isCounted(closed)) count(closed);
    else fail(`shard ${shard} was ${closed}`);
    this.#checkLoss(shard, why);
    if (runtime === undefined || !why.detail.startsWith(DEPOSED)) return;
    const now = history.ownership(shard);
    const stillOwns = now?.session === session && now.epoch === runtime.log.epoch;
    const name = String(shard).padStart(3, "0");
    if (stillOwns && !this.#misled.has(`log/${name}`) && !this.#misled.has(`own/${name}`))
      fail(`${session} gave shard ${shard} up as deposed, but it owns it`);
  }

  /** An owner misses nothing, unless the store has lost it. */
  #checkLoss(shard: number, { detail }: Refusal): void {
    const { history, fail } = this.#options;
    if (!LOSS.test(detail) || history.isBroken(shard)) return;
    if (history.ownership(shard)?.session === this.process.session)
      fail(`${this.process.session} owns shard ${shard} and says: ${detail}`);
  }

  #spied(): boolean {
    if (this.#spying) this.#asked = true;
    return this.#spying;
  }

  #end(how: "not started" | "declared dead" | "left", why?: Refusal): void {
    this.#options.trace(() => `${this.process.session} ends: ${why?.detail ?? how}`);
    this.#options.count(how);
    this.process.end();
    this.#options.ended(this);
  }
}

/** No effect, and another attempt in a moment may find the shard's leader. */
function isPassing(outcome: Answer | Refusal): boolean {
  if (!isRefusal(outcome)) return false;
  return (
    outcome.code === "not_leader" ||
    (outcome.code === "draining" && outcome.facts.retry_after_ms !== undefined)
  );
}

function moving(shard: number): Refusal {
  return refuse("draining", `shard ${shard} is moving to another node`, { retry_after_ms: 1000 });
}
