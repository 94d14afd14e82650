/**
 * A shard's history as it is kept: its last checkpoint and the entries behind it, read without taking the shard.
 *
 * It is read as recovery reads it, and nothing is written: no seal, so a node may be at work meanwhile. What that node
 * makes needless it deletes; whoever reads must see afterwards that the checkpoint is still the same (`isCurrent`). The
 * shard must have been found whole before (`checkShard`): a slot that is missing here is the end.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import type { Store } from "../store/contract.ts";
import { Checkpoints } from "./checkpoint.ts";
import { decodeSlot, type LogObject, logKey, type SlotHeader } from "./format.ts";
import { type Checkpoint, readOwnership } from "./ownership.ts";
import { damaged } from "./refusals.ts";

/** Where an entry stands: the slot of the log, and the line in it, counted from 0. */
export interface Place {
  readonly slot: number;
  readonly index: number;
}

export class History {
  readonly #store: Store;
  readonly #shard: number;
  readonly #checkpoints: Checkpoints;
  readonly #checkpoint: Checkpoint | null;
  /** The reign whose entries count behind the checkpoint. */
  readonly #reign: number;

  private constructor(
    store: Store,
    shard: number,
    checkpoints: Checkpoints,
    checkpoint: Checkpoint | null,
    reign: number,
  ) {
    this.#store = store;
    this.#shard = shard;
    this.#checkpoints = checkpoints;
    this.#checkpoint = checkpoint;
    this.#reign = reign;
  }

  /** @returns `undefined` where nobody has owned the shard yet. Refusal: `store_unavailable`. */
  static async open(store: Store, shard: number): Promise<History | undefined | Refusal> {
    const owned = await readOwnership(store, shard);
    if (owned === undefined || isRefusal(owned)) return owned;
    const { checkpoint } = owned.ownership;
    const checkpoints = new Checkpoints(store, shard);
    if (checkpoint === null) return new History(store, shard, checkpoints, null, 0);
    const opened = await checkpoints.open(checkpoint);
    return isRefusal(opened) ? opened : new History(store, shard, checkpoints, checkpoint, opened.epoch);
  }

  /** The lines of a record in the checkpoint; none where it is not there. Refusal: `store_unavailable`. */
  record(key: string): Promise<readonly string[] | Refusal> {
    return this.#checkpoints.record(key);
  }

  /**
   * Every entry that took effect, in order.
   * @param visit a refusal ends the reading
   */
  async forEachEntry(
    visit: (entry: string, place: Place) => Promise<Refusal | undefined>,
  ): Promise<Refusal | undefined> {
    let reign = this.#reign;
    for (let slot = (this.#checkpoint?.seq ?? 0) + 1; ; ) {
      const found = await this.#slot(slot);
      if (found === undefined || isRefusal(found)) return found;
      const { header, lines } = found;
      if (header.kind === "seal") {
        reign = header.epoch;
        // What is between is void, whatever stands there.
        slot = header.resume;
        continue;
      }
      if (header.epoch >= reign) {
        for (const [index, line] of lines.entries()) {
          const refused = await visit(line, { slot, index });
          if (refused !== undefined) return refused;
        }
      }
      slot++;
    }
  }

  /** Whether the shard still has this checkpoint: then nothing that was to be read here has been deleted. */
  async isCurrent(): Promise<boolean | Refusal> {
    const now = await readOwnership(this.#store, this.#shard);
    if (isRefusal(now)) return now;
    return now?.ownership.checkpoint?.id === this.#checkpoint?.id;
  }

  async #slot(seq: number): Promise<LogObject<SlotHeader> | undefined | Refusal> {
    const key = logKey(this.#shard, seq);
    const found = await this.#store.get(key);
    if (found === undefined || isRefusal(found)) return found;
    const decoded = decodeSlot(found.body);
    return typeof decoded === "string" ? damaged("object", key, decoded) : decoded;
  }
}
