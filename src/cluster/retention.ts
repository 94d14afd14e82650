/**
 * How much of its log a shard keeps: when a checkpoint is due, what it may contain, and what it makes needless.
 *
 * A checkpoint holds what had been appended at one moment, also what was still waiting to be sent. It may be written
 * once all of that is durable, and its slot is that of the last such entry.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import { CHECKPOINT_HANDOVER_SLOTS, CHECKPOINT_LOG_BYTES_MIN, CHECKPOINT_SLOT_BYTES } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import type { Checkpoints } from "./checkpoint.ts";
import { decodeSlot, logKey, logPrefix, slotOf } from "./format.ts";
import { isSameReign, type Owned, type Ownership, readOwnership, update } from "./ownership.ts";
import type { Capture, Records } from "./records.ts";
import type { Recovered } from "./recovery.ts";

export interface RetentionOptions {
  readonly store: Store;
  readonly shard: number;
  readonly session: string;
  readonly nonce: () => string;
  readonly onCheckpointFailed?: (why: Refusal) => void;
  readonly checkpointLogBytesMin?: number;
}

interface Taken {
  readonly capture: Capture;
  /** How many of the first entries in the queue it holds. */
  queued: number;
  /** The slot of the last entry that it holds, once that was sent. */
  boundary: number | undefined;
}

export class Retention {
  readonly resume: number;
  readonly #options: RetentionOptions;
  readonly #records: Records;
  readonly #checkpoints: Checkpoints;
  #owned: Owned;
  #onLost: (why: Refusal) => void = () => {};
  /** What reading the log behind the checkpoint costs, in bytes. */
  #logWeight: number;
  /** What the last checkpoint cost. */
  #checkpointBytes = 0;
  #taken: Taken | undefined;
  #closed = false;
  /** A checkpoint being written, or a sweep. */
  #working: Promise<void> | undefined;
  /** Data slots up to here have been deleted. */
  #collected: number;
  /** Slots behind it are known: data, unless they are among the seals. */
  readonly #knownFrom: number;
  readonly #seals: Set<number>;

  constructor(
    options: RetentionOptions,
    records: Records,
    owned: Owned,
    checkpoints: Checkpoints,
    recovered: Recovered,
  ) {
    this.#options = options;
    this.#records = records;
    this.#owned = owned;
    this.#checkpoints = checkpoints;
    this.resume = recovered.resume;
    this.#logWeight = recovered.logBytes + recovered.logSlots * CHECKPOINT_SLOT_BYTES;
    this.#seals = new Set(recovered.seals);
    this.#collected = owned.ownership.collected;
    this.#knownFrom = this.checkpointed;
  }

  /** @param onLost told when the ownership turns out to be lost, or what the store should hold */
  begin(onLost: (why: Refusal) => void): void {
    this.#onLost = onLost;
    // An earlier owner may not have finished its sweep. Serving need not wait for it.
    if (this.#owned.ownership.checkpoint !== null) this.#inBackground(this.#sweep());
  }

  /** The last slot of the last checkpoint that the ownership is known to name. */
  get checkpointed(): number {
    return this.#owned.ownership.checkpoint?.seq ?? 0;
  }

  /** How many waiting entries the next group may hold: none may reach over a checkpoint's last entry. */
  get groupMax(): number {
    const { queued, boundary } = this.#taken ?? { queued: 0, boundary: undefined };
    return this.#taken === undefined || boundary !== undefined ? Number.POSITIVE_INFINITY : queued;
  }

  /** Whether there is a part of the log that a checkpoint would spare somebody. */
  get isWorthwhile(): boolean {
    return this.#logWeight > CHECKPOINT_HANDOVER_SLOTS * CHECKPOINT_SLOT_BYTES;
  }

  record(key: string): Promise<readonly string[] | Refusal> {
    return this.#checkpoints.record(key);
  }

  async idle(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
  }

  /** Changes my record of the ownership. Refusals: `not_leader`, `store_unavailable`. */
  async own(changes: Partial<Ownership>): Promise<Refusal | undefined> {
    const { store, shard, nonce } = this.#options;
    for (;;) {
      const owned = await update(store, shard, this.#owned, { ...changes, nonce: nonce() });
      if (!isRefusal(owned)) {
        this.#owned = owned;
        return undefined;
      }
      if (owned.code !== "not_leader") return owned;
      // A change of mine whose end stayed unclear may have been applied after all. Then this one goes on from it.
      const now = await readOwnership(store, shard);
      if (isRefusal(now)) return now;
      if (now === undefined || !isSameReign(now, this.#owned)) return owned;
      this.#owned = now;
    }
  }

  /** A group of so many entries was sent into a slot; so many still wait. */
  sent(seq: number, bytes: number, count: number, waiting: number): void {
    this.#logWeight += bytes + CHECKPOINT_SLOT_BYTES;
    if (this.#taken === undefined) {
      if (this.#isDue()) this.take(seq, waiting);
    } else if (this.#taken.boundary === undefined) {
      this.#taken.queued -= count;
      if (this.#taken.queued === 0) this.#taken.boundary = seq;
    }
  }

  /** Captures what has been appended so far: all up to the last slot sent, and what waits. */
  take(lastSent: number, waiting: number): void {
    if (this.#closed || this.#taken !== undefined || this.#working !== undefined) return;
    const boundary = waiting === 0 ? lastSent : undefined;
    this.#taken = { capture: this.#records.capture(), queued: waiting, boundary };
  }

  /** All slots up to this one are durable. */
  durable(seq: number): void {
    const { capture, boundary } = this.#taken ?? {};
    if (capture === undefined || boundary === undefined || boundary > seq) return;
    this.#taken = undefined;
    this.#inBackground(this.#write(capture, boundary));
  }

  /** From here on the records may hold what the log has refused: nothing more is captured. */
  close(): void {
    this.#closed = true;
  }

  end(): void {
    this.close();
    this.#taken?.capture.settle(false);
    this.#taken = undefined;
  }

  /** Checkpoints cost as much as changed, so the log must have grown past the last one. */
  #isDue(): boolean {
    const { checkpointLogBytesMin = CHECKPOINT_LOG_BYTES_MIN } = this.#options;
    return (
      this.#working === undefined && this.#logWeight > Math.max(checkpointLogBytesMin, this.#checkpointBytes)
    );
  }

  #inBackground(work: Promise<void>): void {
    this.#working = work.finally(() => {
      this.#working = undefined;
    });
  }

  async #write(capture: Capture, seq: number): Promise<void> {
    this.#logWeight = 0;
    const failed = await this.#replace(capture, seq);
    capture.settle(failed === undefined);
    if (failed === undefined) await this.#sweep();
    else if (failed.code === "not_leader" || failed.facts.damaged !== undefined) this.#onLost(failed);
    // Without a checkpoint the log only stays longer.
    else if (!this.#closed) this.#options.onCheckpointFailed?.(failed);
  }

  async #replace(capture: Capture, seq: number): Promise<Refusal | undefined> {
    const { session, nonce } = this.#options;
    const { epoch } = this.#owned.ownership;
    const header = () => ({ kind: "part", epoch, session, nonce: nonce() }) as const;
    const written = await this.#checkpoints.write(capture, seq, header, () => this.#closed);
    if (isRefusal(written)) return written;
    const failed = await this.own({ checkpoint: written.checkpoint, collected: this.#collected });
    if (failed !== undefined) return failed;
    this.#checkpoints.adopt(written);
    this.#checkpointBytes = written.bytes;
    return undefined;
  }

  /** Deletes data slots and pages that the checkpoint has made needless. Seals stay for ever. */
  async #sweep(): Promise<void> {
    const { store, shard } = this.#options;
    const to = this.checkpointed;
    const keys = await store.list(logPrefix(shard));
    if (isRefusal(keys)) return;
    let complete = true;
    for (const key of keys.filter((slot) => slotOf(slot) > this.#collected && slotOf(slot) <= to)) {
      // Nobody waits for it: who takes the shard over goes on where this one stopped.
      if (this.#closed) return;
      if (!(await this.#collect(slotOf(key)))) complete = false;
    }
    // What could not be deleted now is met again by the next sweep.
    if (complete) this.#collected = to;
    await this.#checkpoints.sweep(() => this.#closed);
  }

  /** @returns whether the slot is done with. What cannot be read may be a seal: it stays. */
  async #collect(seq: number): Promise<boolean> {
    const { store, shard } = this.#options;
    const key = logKey(shard, seq);
    if (seq <= this.#knownFrom) {
      const found = await store.get(key);
      if (found === undefined || isRefusal(found)) return found === undefined;
      const decoded = decodeSlot(found.body);
      if (typeof decoded === "string" || decoded.header.kind === "seal") return true;
    } else if (this.#seals.has(seq)) return true;
    return (await store.delete(key)) === "done";
  }
}
