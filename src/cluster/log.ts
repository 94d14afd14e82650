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
}

/** All that the log's entries amount to, so that the entries can go. */
export interface Snapshot {
  /** Lines of JSON; taken in one step, between two commits. */
  lines(): Iterable<string>;
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
  const log = new ShardLog(options, sink, owned, recovered);
  await log.sweep();
  return log;
}

export class ShardLog {
  readonly #options: LogOptions;
  readonly #snapshot: Snapshot;
  #owned: Owned;
  #seq: number;
  #queue: Pending[] = [];
  #committing: Promise<void> | undefined;
  #lastAppended: Promise<Refusal | undefined> = Promise.resolve(undefined);
  #checkpointing: Promise<void> | undefined;
  #ended: Refusal | undefined;
  #seals: Set<number>;
  #logBytes: number;
  #checkpointBytes: number;

  constructor(options: LogOptions, snapshot: Snapshot, owned: Owned, recovered: Recovered) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#owned = owned;
    this.#seq = recovered.sealed;
    this.#seals = new Set(recovered.seals);
    this.#logBytes = recovered.logBytes;
    this.#checkpointBytes = recovered.checkpointBytes;
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
      this.#committing ??= this.#commitAll().finally(() => {
        this.#committing = undefined;
      });
    });
    return this.#lastAppended;
  }

  /** Resolves when all that was appended before is settled: `undefined` where it is durable. */
  async settled(): Promise<Refusal | undefined> {
    return (await this.#lastAppended) ?? this.#ended;
  }

  /** Resolves when all that was appended is settled and no checkpoint is being written. */
  async idle(): Promise<void> {
    while (this.#committing !== undefined) await this.#committing;
    await this.#checkpointing;
  }

  async #commitAll(): Promise<void> {
    while (this.#queue.length > 0 && this.#ended === undefined) {
      await this.#options.breathe();
      const group = this.#cut();
      const body = encodeObject(
        this.#header("entries"),
        group.map(({ entry }) => entry),
      );
      // The snapshot must hold exactly what the log holds up to this group, so it is taken as the group is cut.
      const lines =
        this.#checkpointIsDue() && this.#queue.length === 0 ? [...this.#snapshot.lines()] : undefined;
      const { store, shard } = this.#options;
      const put = await settledPut(store, logKey(shard, this.#seq + 1), body, { ifNoneMatch: "*" });
      if (put.outcome !== "won")
        return this.#stepDown(group, put.outcome === "lost" ? undefined : put.reason);
      this.#seq++;
      this.#logBytes += body.length;
      for (const { settle } of group) settle(undefined);
      if (lines !== undefined) {
        this.#checkpointing = this.#checkpoint(lines, this.#seq).finally(() => {
          this.#checkpointing = undefined;
        });
      }
    }
  }

  #header(kind: Header["kind"]): Header {
    const { session, nonce } = this.#options;
    return { epoch: this.#owned.ownership.epoch, session, nonce: nonce(), kind };
  }

  /** As many waiting entries as one object may hold. */
  #cut(): Pending[] {
    let bytes = 0;
    let count = 0;
    for (const { entry } of this.#queue) {
      bytes += entry.length;
      if (count > 0 && (bytes > COMMIT_BYTES_MAX || count >= COMMIT_ENTRIES_MAX)) break;
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
    this.#ended = why;
    for (const { settle } of group) settle(unclear === undefined ? fenced : unknown);
    for (const { settle } of this.#queue.splice(0)) settle(why);
    onStepDown(why);
  }

  /** Checkpoints cost as much as they are large, so the log must have grown past the last one. */
  #checkpointIsDue(): boolean {
    const due = this.#logBytes > Math.max(CHECKPOINT_LOG_BYTES_MIN, this.#checkpointBytes);
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
    await this.sweep();
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
    const collected = before.checkpoint?.seq ?? 0;
    const after = { ...before, nonce: nonce(), checkpoint: { seq, parts: part }, collected };
    const owned = await update(store, shard, this.#owned, after);
    if (isRefusal(owned)) return owned;
    this.#owned = owned;
    return bytes;
  }

  /** Deletes data slots and parts that the checkpoint has made needless. Seals stay for ever. */
  async sweep(): Promise<void> {
    const { store, shard } = this.#options;
    const { checkpoint, collected } = this.#owned.ownership;
    if (checkpoint === null) return;
    for (let seq = collected + 1; seq <= checkpoint.seq; seq++) {
      if (!(await this.#isSeal(seq))) await store.delete(logKey(shard, seq));
    }
    const parts = await store.list(checkpointPrefix(shard));
    if (isRefusal(parts)) return;
    for (const key of parts) {
      if (key < checkpointKey(shard, checkpoint.seq, 0)) await store.delete(key);
    }
  }

  async #isSeal(seq: number): Promise<boolean> {
    if (this.#seals.has(seq)) return true;
    const found = await this.#options.store.get(logKey(this.#options.shard, seq));
    if (found === undefined || isRefusal(found)) return isRefusal(found);
    const decoded = decodeObject(found.body);
    return typeof decoded !== "string" && decoded.header.kind === "seal";
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
