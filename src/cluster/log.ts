/**
 * The fenced log of one shard: write-once slots `log/{shard}/{seq}`, group commits, several in flight.
 *
 * `append` resolves when the entry is durable, in the order of the calls: what stands in a slot counts only when every
 * slot before it is durable, too. A slot that somebody else has written, or an outcome that stays unknown, ends this
 * log for good: the node steps down, and recovery decides (law 6).
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { type Settled, settledPut } from "../store/settle.ts";
import { Checkpoints } from "./checkpoint.ts";
import type { Clock } from "./clock.ts";
import { encodeObject, logKey } from "./format.ts";
import { Gathering } from "./gathering.ts";
import { claim, isSameReign, type Owned, readOwnership } from "./ownership.ts";
import type { Records } from "./records.ts";
import { recover } from "./recovery.ts";
import { deposed } from "./refusals.ts";
import { Retention } from "./retention.ts";

export interface LogOptions {
  readonly store: Store;
  readonly shard: number;
  /** Names this process in what it writes. */
  readonly session: string;
  readonly clock: Clock;
  /** A fresh unique text at each call. */
  readonly nonce: () => string;
  /** Lets other work run before a commit is cut, so that calls gather in it. */
  readonly breathe: () => Promise<void>;
  /** Group commits in flight at once, up to `COMMIT_WINDOW_MAX`. */
  readonly window: number;
  /** Whether no other node can have taken over, as far as clocks can tell; where not, the store is asked. */
  readonly leaseIsValid: () => boolean;
  /** Called once, when this node must no longer write, unless it has handed the shard over itself. */
  readonly onStepDown: (why: Refusal) => void;
  /** A checkpoint was not written. The log goes on without; it grows. */
  readonly onCheckpointFailed?: (why: Refusal) => void;
  /** How much the log grows before a checkpoint. Default: `CHECKPOINT_LOG_BYTES_MIN`. */
  readonly checkpointLogBytesMin?: number;
}

interface Pending {
  readonly entry: string;
  readonly settle: (refusal: Refusal | undefined) => void;
}

/** A group commit on its way. */
interface Flight {
  readonly seq: number;
  readonly group: readonly Pending[];
  outcome: Settled | undefined;
  /** Resolves when the outcome is there. */
  landed: Promise<void>;
}

type Failed = Exclude<Settled, { readonly outcome: "won" }>;

/**
 * Takes the shard as it was found, recovers its history into the records, and opens the log for appending.
 * Refusals: `not_leader`, `store_unavailable`.
 */
export async function openLog(
  options: LogOptions,
  found: Owned | undefined,
  records: Records,
): Promise<ShardLog | Refusal> {
  const { store, shard, session, nonce } = options;
  const owned = await claim(store, shard, found, session, nonce());
  if (isRefusal(owned)) return owned;
  const checkpoints = new Checkpoints(store, shard);
  const recovered = await recover(store, shard, owned, nonce, checkpoints, records);
  if (isRefusal(recovered)) return recovered;
  return new ShardLog(options, owned, new Retention(options, records, owned, checkpoints, recovered));
}

export class ShardLog {
  readonly #options: LogOptions;
  readonly #retention: Retention;
  readonly #reign: Owned;
  readonly #gathering: Gathering;
  /** Every slot up to here is durable or void. */
  #durable: number;
  #queue: Pending[] = [];
  #flights: Flight[] = [];
  #pumping: Promise<void> | undefined;
  #lastAppended: Promise<Refusal | undefined> = Promise.resolve(undefined);
  #ended: Refusal | undefined;

  constructor(options: LogOptions, owned: Owned, retention: Retention) {
    this.#options = options;
    this.#reign = owned;
    this.#retention = retention;
    this.#gathering = new Gathering(options.clock, options.breathe);
    this.#durable = retention.resume - 1;
    retention.begin((why) => void this.#lose(why));
  }

  get epoch(): number {
    return this.#reign.ownership.epoch;
  }

  /** The last slot that is known to be durable. */
  get seq(): number {
    return this.#durable;
  }

  /** Why this log takes no more entries, where it does not. */
  get ended(): Refusal | undefined {
    return this.#ended;
  }

  /** The last slot of the last checkpoint. */
  get checkpointed(): number {
    return this.#retention.checkpointed;
  }

  /** The lines of a record in the last checkpoint. */
  async record(key: string): Promise<readonly string[] | Refusal> {
    const lines = await this.#retention.record(key);
    // A page that is gone may have been replaced by a newer owner.
    return isRefusal(lines) ? ((await this.#stillMine()) ?? lines) : lines;
  }

  /**
   * @param entry one JSON document without line feeds
   * @returns `undefined` once it is durable; `outcome_unknown` where that cannot be told; otherwise a refusal,
   *   and then the entry is not in the log and never will be.
   */
  append(entry: string): Promise<Refusal | undefined> {
    if (this.#ended !== undefined) return Promise.resolve(this.#ended);
    this.#lastAppended = new Promise((settle) => {
      this.#queue.push({ entry, settle });
      this.#pumping ??= this.#pump();
    });
    return this.#lastAppended;
  }

  /** Resolves when all that was appended before is settled: `undefined` where it is durable. */
  async settled(): Promise<Refusal | undefined> {
    return (await this.#lastAppended) ?? this.#ended;
  }

  /** Resolves when it is certain that no other node leads: what was seen here until now was the truth. */
  async confirm(): Promise<Refusal | undefined> {
    if (this.#ended !== undefined) return this.#ended;
    return this.#options.leaseIsValid() ? undefined : this.#stillMine();
  }

  /** Resolves when all that was appended is settled and no checkpoint is being written. */
  async idle(): Promise<void> {
    await this.#quiet();
    await this.#retention.idle();
  }

  /** Writes a checkpoint now where it spares a successor some reading. */
  async checkpoint(): Promise<void> {
    if (this.#ended !== undefined || !this.#retention.isWorthwhile) return;
    await this.#retention.idle();
    this.#retention.take(this.#flights.at(-1)?.seq ?? this.#durable, this.#queue.length);
    this.#retention.durable(this.#durable);
    await this.idle();
  }

  /**
   * Gives the shard up: nothing is taken from now on, and when all that was taken is durable, nobody owns it.
   * @returns why not, where it is not certain; the log is ended in any case.
   */
  async handOver(): Promise<Refusal | undefined> {
    if (this.#ended !== undefined) return this.#ended;
    this.#ended = refuse("not_leader", `shard ${this.#options.shard} is being handed over`);
    this.#retention.close();
    await this.idle();
    return this.#retention.own({ session: null });
  }

  // ── Commits ──────────────────────────────────────────────────────────────────────────────────────────────

  async #quiet(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping;
    await this.#lastAppended;
  }

  /** Sends what waits, group by group. What was queued before a hand-over is still sent. */
  async #pump(): Promise<void> {
    while (this.#queue.length > 0) {
      const front = this.#flights[0];
      if (front !== undefined && this.#flights.length >= this.#options.window) await front.landed;
      else {
        await this.#gathering.wait(() => this.#queue.length);
        if (this.#queue.length > 0) this.#send();
      }
    }
    // In the same step that found the queue empty: whoever appends next must start anew.
    this.#pumping = undefined;
  }

  #send(): void {
    const { store, shard, session, nonce } = this.#options;
    const seq = (this.#flights.at(-1)?.seq ?? this.#durable) + 1;
    const group = this.#cut(this.#retention.groupMax);
    const entries = group.map(({ entry }) => entry);
    const body = encodeObject(
      { kind: "entries", epoch: this.epoch, session, nonce: nonce(), durable: this.#durable },
      entries,
    );
    this.#retention.sent(seq, body.length, group.length, this.#queue.length);
    const ended = this.#gathering.sent(group.length);
    const put = settledPut(store, logKey(shard, seq), body, { ifNoneMatch: "*" });
    const flight: Flight = { seq, group, outcome: undefined, landed: Promise.resolve() };
    flight.landed = put.then((outcome) => {
      ended();
      flight.outcome = outcome;
      if (outcome.outcome !== "won") this.#stepDown(this.#reasonOf(outcome));
      return this.#land();
    });
    this.#flights.push(flight);
  }

  /** As many waiting entries as one object may hold, and no more than `most`. */
  #cut(most: number): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const { entry } of this.#queue) {
      bytes += entry.length;
      if (count > 0 && (bytes > COMMIT_BYTES_MAX || count >= Math.min(most, COMMIT_ENTRIES_MAX))) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** Acknowledges the durable prefix. The first slot that was not won ends it, and all behind it. */
  #land(): void {
    for (let front = this.#flights[0]; front?.outcome !== undefined; front = this.#flights[0]) {
      if (front.outcome.outcome !== "won") {
        this.#fail(front.outcome);
        return;
      }
      this.#flights.shift();
      this.#durable = front.seq;
      for (const { settle } of front.group) settle(undefined);
      this.#retention.durable(front.seq);
    }
  }

  /** Behind a slot of somebody else all is void. Behind one that may be mine all may count. */
  #fail(outcome: Failed): void {
    const unknown = refuse(
      "outcome_unknown",
      "the store did not say whether the call was recorded; ask again",
    );
    const answer = outcome.outcome === "unknown" ? unknown : this.#reasonOf(outcome);
    for (const { group } of this.#flights.splice(0)) for (const { settle } of group) settle(answer);
  }

  #reasonOf(outcome: Failed): Refusal {
    return outcome.outcome === "unknown"
      ? refuse("store_unavailable", `the log cannot be written: ${outcome.reason}`)
      : deposed(this.#options.shard);
  }

  // ── Ends ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Nothing more is taken. What is in flight is answered when its slot is. */
  #stepDown(why: Refusal): void {
    const first = this.#ended === undefined;
    this.#ended ??= why;
    for (const { settle } of this.#queue.splice(0)) settle(why);
    this.#retention.end();
    if (first) this.#options.onStepDown(why);
  }

  /** What is missing where somebody else owns the shard is not damaged: he has replaced it. */
  async #lose(why: Refusal): Promise<void> {
    if (why.code !== "not_leader") await this.#stillMine();
    this.#stepDown(why);
  }

  async #stillMine(): Promise<Refusal | undefined> {
    const { store, shard } = this.#options;
    const now = await readOwnership(store, shard);
    if (isRefusal(now)) return now;
    if (isSameReign(now, this.#reign)) return this.#ended;
    if (this.#ended === undefined) this.#stepDown(deposed(shard));
    return this.#ended;
  }
}
