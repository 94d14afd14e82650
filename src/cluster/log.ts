/**
 * The fenced log of one shard: write-once slots `log/{shard}/{seq}`, group commits, checkpoints.
 *
 * `append` resolves when the entry is durable, in the order of the calls. A slot that somebody else has written,
 * or an outcome that stays unknown, ends this log for good: the node steps down, and recovery decides (law 6).
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  CHECKPOINT_LOG_BYTES_MIN,
  CHECKPOINT_PART_BYTES,
  COMMIT_BYTES_MAX,
  COMMIT_ENTRIES_MAX,
} from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import {
  checkpointKey,
  checkpointPrefix,
  decodeObject,
  encodeObject,
  type Header,
  logKey,
  logPrefix,
} from "./format.ts";
import { claim, type Owned, update } from "./ownership.ts";
import { type Recovered, recover, type Sink } from "./recovery.ts";

export interface LogOptions {
  readonly store: Store;
  readonly shard: number;
  /** Names this process in what it writes. */
  readonly session: string;
  /** A fresh unique text at each call. */
  readonly nonce: () => string;
  /** Lets other work run before a commit is cut, so that calls gather in it. */
  readonly breathe: () => Promise<void>;
  /** Called once, when this node must no longer write. */
  readonly onStepDown: (why: Refusal) => void;
  /** How long the log grows before a checkpoint. Default: `CHECKPOINT_LOG_BYTES_MIN`. */
  readonly checkpointLogBytesMin?: number;
}

/** All that the log's entries amount to, so that the entries can go. */
export interface Snapshot {
  /** Lines of JSON, taken in one step: they hold exactly what has been appended so far. */
  lines(): Iterable<string>;
}

/** A snapshot that was taken while entries that it holds were still waiting to be written. */
interface Taken {
  readonly lines: readonly string[];
  /** How many of the first entries in the queue it holds. */
  queued: number;
}

interface Pending {
  readonly entry: string;
  readonly settle: (refusal: Refusal | undefined) => void;
}

/** Takes the shard, recovers its history into the sink, and opens the log for appending. */
export async function openLog(options: LogOptions, sink: Sink & Snapshot): Promise<ShardLog | Refusal> {
  const { store, shard, session, nonce } = options;
  const owned = await claim(store, shard, session, nonce);
  if (isRefusal(owned)) return owned;
  const recovered = await recover(store, shard, owned, nonce, sink);
  if (isRefusal(recovered)) return recovered;
  return new ShardLog(options, sink, owned, recovered);
}

export class ShardLog {
  readonly #options: LogOptions;
  readonly #snapshot: Snapshot;
  #owned: Owned;
  #seq: number;
  #queue: Pending[] = [];
  #committing: Promise<void> | undefined;
  #lastAppended: Promise<Refusal | undefined> = Promise.resolve(undefined);
  /** A checkpoint being written, or a sweep. */
  #checkpointing: Promise<void> | undefined;
  #ended: Refusal | undefined;
  #logBytes: number;
  #checkpointBytes: number;
  /** Data slots up to here have been deleted. */
  #collected: number;

  constructor(options: LogOptions, snapshot: Snapshot, owned: Owned, recovered: Recovered) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#owned = owned;
    this.#seq = recovered.sealed;
    this.#logBytes = recovered.logBytes;
    this.#checkpointBytes = recovered.checkpointBytes;
    this.#collected = owned.ownership.collected;
    // An earlier owner may not have finished its sweep. Serving need not wait for it.
    this.#inBackground(this.#sweep());
  }

  /** The last slot that is known to be written. */
  get seq(): number {
    return this.#seq;
  }

  /** Why this log takes no more entries, where it does not. */
  get ended(): Refusal | undefined {
    return this.#ended;
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
      this.#committing ??= this.#commitAll();
    });
    return this.#lastAppended;
  }

  /** Resolves when all that was appended before is settled: `undefined` where it is durable. */
  async settled(): Promise<Refusal | undefined> {
    return (await this.#lastAppended) ?? this.#ended;
  }

  /** Resolves when all that was appended is settled and no checkpoint is being written. */
  async idle(): Promise<void> {
    while (this.#committing !== undefined || this.#checkpointing !== undefined)
      await (this.#committing ?? this.#checkpointing);
  }

  async #commitAll(): Promise<void> {
    let taken: Taken | undefined;
    while (this.#queue.length > 0) {
      await this.#options.breathe();
      // A checkpoint may have found meanwhile that I am deposed: all that waited has been answered.
      if (this.#ended !== undefined) break;
      const group = this.#cut(taken?.queued);
      const body = encodeObject(
        this.#header("entries"),
        group.map(({ entry }) => entry),
      );
      // The snapshot holds all that waits, too: under load the queue is never empty. Its slot is that of the last
      // entry in it, so no group may reach over that entry.
      if (taken !== undefined) taken.queued -= group.length;
      else if (this.#checkpointIsDue())
        taken = { lines: [...this.#snapshot.lines()], queued: this.#queue.length };
      const { store, shard } = this.#options;
      const put = await settledPut(store, logKey(shard, this.#seq + 1), body, { ifNoneMatch: "*" });
      if (put.outcome !== "won") {
        this.#stepDown(group, put.outcome === "lost" ? undefined : put.reason);
        break;
      }
      this.#seq++;
      this.#logBytes += body.length;
      for (const { settle } of group) settle(undefined);
      if (taken?.queued === 0) {
        this.#inBackground(this.#checkpoint(taken.lines, this.#seq));
        taken = undefined;
      }
    }
    // In the same step that found the queue empty: whoever appends next must start anew.
    this.#committing = undefined;
  }

  #inBackground(work: Promise<void>): void {
    this.#checkpointing = work.finally(() => {
      this.#checkpointing = undefined;
    });
  }

  #header(kind: Header["kind"]): Header {
    const { session, nonce } = this.#options;
    return { epoch: this.#owned.ownership.epoch, session, nonce: nonce(), kind };
  }

  /** As many waiting entries as one object may hold, and no more than `most`. */
  #cut(most = COMMIT_ENTRIES_MAX): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const { entry } of this.#queue) {
      bytes += entry.length;
      if (count > 0 && (bytes > COMMIT_BYTES_MAX || count >= Math.min(most, COMMIT_ENTRIES_MAX))) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #stepDown(group: readonly Pending[], unclear: string | undefined): void {
    const { shard, onStepDown } = this.#options;
    const fenced = refuse("not_leader", `another node has taken shard ${shard}`);
    const why =
      unclear === undefined ? fenced : refuse("store_unavailable", `the log cannot be written: ${unclear}`);
    const unknown = refuse(
      "outcome_unknown",
      "the store did not say whether the call was recorded; ask again",
    );
    const first = this.#ended === undefined;
    this.#ended ??= why;
    for (const { settle } of group) settle(unclear === undefined ? fenced : unknown);
    for (const { settle } of this.#queue.splice(0)) settle(why);
    if (first) onStepDown(why);
  }

  /** Checkpoints cost as much as they are large, so the log must have grown past the last one. */
  #checkpointIsDue(): boolean {
    const { checkpointLogBytesMin = CHECKPOINT_LOG_BYTES_MIN } = this.#options;
    const due = this.#logBytes > Math.max(checkpointLogBytesMin, this.#checkpointBytes);
    return due && this.#checkpointing === undefined;
  }

  async #checkpoint(lines: readonly string[], seq: number): Promise<void> {
    this.#logBytes = 0;
    const written = await this.#writeCheckpoint(lines, seq);
    if (isRefusal(written)) {
      // Without a checkpoint the log only stays longer; but a lost ownership means that I am deposed.
      if (written.code === "not_leader") this.#stepDown([], undefined);
      return;
    }
    this.#checkpointBytes = written;
    await this.#sweep();
  }

  async #writeCheckpoint(lines: readonly string[], seq: number): Promise<number | Refusal> {
    const { store, shard, nonce } = this.#options;
    let bytes = 0;
    let part = 0;
    for (const partLines of splitBySize(lines)) {
      const body = encodeObject(this.#header("checkpoint"), partLines);
      const put = await settledPut(store, checkpointKey(shard, seq, part++), body, { ifNoneMatch: "*" });
      if (put.outcome !== "won")
        return refuse("store_unavailable", "a part of the checkpoint was not written");
      bytes += body.length;
    }
    const before = this.#owned.ownership;
    const checkpoint = { seq, parts: part };
    const after = { ...before, nonce: nonce(), checkpoint, collected: this.#collected };
    const owned = await update(store, shard, this.#owned, after);
    if (isRefusal(owned)) return owned;
    this.#owned = owned;
    return bytes;
  }

  /** Deletes data slots and parts that the checkpoint has made needless. Seals stay for ever. */
  async #sweep(): Promise<void> {
    const { store, shard } = this.#options;
    const { checkpoint } = this.#owned.ownership;
    if (checkpoint === null) return;
    const slots = await store.list(logPrefix(shard));
    const parts = await store.list(checkpointPrefix(shard));
    if (isRefusal(slots) || isRefusal(parts)) return;
    const [from, to] = [logKey(shard, this.#collected), logKey(shard, checkpoint.seq)];
    let complete = true;
    for (const key of slots) {
      if (key > from && key <= to && !(await this.#collect(key))) complete = false;
    }
    // What could not be deleted now is met again by the next sweep.
    if (complete) this.#collected = checkpoint.seq;
    for (const key of parts) {
      if (key < checkpointKey(shard, checkpoint.seq, 0)) await store.delete(key);
    }
  }

  /** @returns whether the slot is done with. What cannot be read may be a seal: it stays. */
  async #collect(key: string): Promise<boolean> {
    const { store } = this.#options;
    const found = await store.get(key);
    if (found === undefined || isRefusal(found)) return found === undefined;
    const decoded = decodeObject(found.body);
    if (typeof decoded === "string" || decoded.header.kind === "seal") return true;
    return (await store.delete(key)) === "done";
  }
}

function* splitBySize(lines: readonly string[]): Iterable<string[]> {
  let part: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    if (bytes > 0 && bytes + line.length > CHECKPOINT_PART_BYTES) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(line);
    bytes += line.length;
  }
  if (part.length > 0) yield part;
}
