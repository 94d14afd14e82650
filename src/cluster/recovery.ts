/**
 * Recovery: from the checkpoint over the log to a seal, after which no older writer can append.
 *
 * Every slot is read in order. The first free slot gets my seal, by If-None-Match: whoever still believes to own the
 * shard finds its next slot taken. Then the ownership is read again, because somebody newer may have come while I
 * read (law 6).
 *
 * A deposed writer may have had a window of slots in flight, and some of those behind its first lost one may have been
 * written, or will be. My seal names where my entries begin, beyond any such slot: what stands between is void.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { COMMIT_WINDOW_MAX, STORE_READS_AT_ONCE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import type { Checkpoints } from "./checkpoint.ts";
import {
  decodeSlot,
  encodeObject,
  type LogObject,
  logKey,
  logPrefix,
  partKey,
  type SlotHeader,
  slotOf,
} from "./format.ts";
import { type Owned, readOwnership } from "./ownership.ts";
import type { Records } from "./records.ts";
import { damaged, deposed, used } from "./refusals.ts";

export interface Recovered {
  /** The slot of my first entries. All before it is settled for ever. */
  readonly resume: number;
  /** Bytes and slots of the log after the checkpoint. */
  readonly logBytes: number;
  readonly logSlots: number;
  /** The slots among them that hold seals, mine included. */
  readonly seals: readonly number[];
}

export function recover(
  store: Store,
  shard: number,
  owned: Owned,
  nonce: () => string,
  checkpoints: Checkpoints,
  records: Records,
): Promise<Recovered | Refusal> {
  return new Recovery(store, shard, owned, nonce).run(checkpoints, records);
}

type Slot = LogObject<SlotHeader> & { readonly bytes: number };

class Recovery {
  readonly #store: Store;
  readonly #shard: number;
  readonly #owned: Owned;
  readonly #nonce: () => string;
  /** Slots that a list has shown and that are being read ahead. */
  readonly #ahead = new Map<number, Promise<Slot | undefined | Refusal>>();
  #listed: readonly number[] = [];
  #logBytes = 0;
  #logSlots = 0;
  readonly #seals: number[] = [];

  constructor(store: Store, shard: number, owned: Owned, nonce: () => string) {
    this.#store = store;
    this.#shard = shard;
    this.#owned = owned;
    this.#nonce = nonce;
  }

  async run(checkpoints: Checkpoints, records: Records): Promise<Recovered | Refusal> {
    const { epoch, checkpoint } = this.#owned.ownership;
    /** The reign whose entries count here. */
    let reign = 0;
    if (checkpoint !== null) {
      const opened = await checkpoints.open(checkpoint);
      if (isRefusal(opened)) return opened;
      const misfit = used("object", partKey(this.#shard, checkpoint.id, "common", 0), () => {
        for (const line of opened.common) records.restore(line);
      });
      if (misfit !== undefined) return misfit;
      reign = opened.epoch;
    }
    const listed = await this.#list();
    if (listed !== undefined) return listed;
    for (let seq = (checkpoint?.seq ?? 0) + 1; ; ) {
      const slot = (await this.#slot(seq)) ?? (await this.#seal(seq));
      if (isRefusal(slot)) return slot;
      const { header, lines, bytes } = slot;
      if (header.epoch > epoch) return deposed(this.#shard);
      this.#logBytes += bytes;
      this.#logSlots++;
      if (header.kind === "seal") {
        this.#seals.push(seq);
        reign = header.epoch;
        seq = header.resume;
        if (reign === epoch) return (await this.#confirm()) ?? this.#recovered(seq);
        continue;
      }
      if (header.epoch > reign)
        return damaged("object", logKey(this.#shard, seq), "is without the seal before it");
      // Of an epoch that was over when it was written: void. No node writes there whose window is within bounds.
      const isVoid = header.epoch < reign;
      const misfit = used("object", logKey(this.#shard, seq), () => {
        if (!isVoid) for (const line of lines) records.apply(line);
      });
      if (misfit !== undefined) return misfit;
      seq++;
    }
  }

  #recovered(resume: number): Recovered {
    return { resume, logBytes: this.#logBytes, logSlots: this.#logSlots, seals: this.#seals };
  }

  /** Writes my seal into a slot that was free. @returns what stands in the slot now: my seal, or what came before it. */
  async #seal(seq: number): Promise<Slot | Refusal> {
    const hole = await this.#refuseHole(seq);
    if (hole !== undefined) return hole;
    const { epoch, session } = this.#owned.ownership;
    const resume = seq + COMMIT_WINDOW_MAX;
    const header: SlotHeader = { kind: "seal", epoch, session: session ?? "", nonce: this.#nonce(), resume };
    const body = encodeObject(header, []);
    const put = await settledPut(this.#store, logKey(this.#shard, seq), body, { ifNoneMatch: "*" });
    if (put.outcome === "unknown")
      return refuse("store_unavailable", `the seal of shard ${this.#shard}: ${put.reason}`);
    if (put.outcome === "won") return { header, lines: [], bytes: body.length };
    return (await this.#read(seq)) ?? damaged("object", logKey(this.#shard, seq), "is gone");
  }

  /**
   * A free slot is the end of the log, or a loss. Behind the end only slots of the last writer's window may stand,
   * and none that says that this one was durable. A seal over a loss would cut off the rest of the history.
   */
  async #refuseHole(seq: number): Promise<Refusal | undefined> {
    for (const later of this.#listed.filter((slot) => slot > seq)) {
      const found = later < seq + COMMIT_WINDOW_MAX ? await this.#read(later) : "beyond";
      if (isRefusal(found)) return found;
      if (found === undefined) continue;
      const lost = found === "beyond" || found.header.kind === "seal" || found.header.durable >= seq;
      if (!lost) continue;
      // Its writer is not late: what the list has shown was there before this slot was read. But a newer owner may
      // have collected it.
      const gone = damaged("object", logKey(this.#shard, seq), "is missing");
      return (await this.#confirm()) ?? gone;
    }
    return undefined;
  }

  /**
   * My seal holds only if I own the shard exactly as I took it. A newer owner may have read past here before my seal
   * stood, or have collected what I was reading: then the slots that I took for the end are behind its checkpoint.
   */
  async #confirm(): Promise<Refusal | undefined> {
    const now = await readOwnership(this.#store, this.#shard);
    if (isRefusal(now)) return now;
    return now?.etag === this.#owned.etag ? undefined : deposed(this.#shard);
  }

  /** Once, before anything is read: a slot that was lost has had others behind it for long. */
  async #list(): Promise<Refusal | undefined> {
    const keys = await this.#store.list(logPrefix(this.#shard));
    if (isRefusal(keys)) return keys;
    this.#listed = keys.map(slotOf).toSorted((a, b) => a - b);
    return undefined;
  }

  /** Reads a slot, and begins to read those that follow: a long log must not cost a round trip for each slot. */
  #slot(seq: number): Promise<Slot | undefined | Refusal> {
    const begin = this.#ahead.size === 0 ? this.#listed.findIndex((listed) => listed >= seq) : -1;
    if (begin >= 0)
      for (const next of this.#listed.slice(begin, begin + STORE_READS_AT_ONCE))
        this.#ahead.set(next, this.#read(next));
    const known = this.#ahead.get(seq);
    // What was read ahead as absent may have been written since; what stands in a slot stays.
    this.#ahead.delete(seq);
    for (const passed of this.#ahead.keys()) if (passed < seq) this.#ahead.delete(passed);
    return known ?? this.#read(seq);
  }

  async #read(seq: number): Promise<Slot | undefined | Refusal> {
    const key = logKey(this.#shard, seq);
    const found = await this.#store.get(key);
    if (found === undefined || isRefusal(found)) return found;
    const decoded = decodeSlot(found.body);
    if (typeof decoded === "string") return damaged("object", key, decoded);
    return { ...decoded, bytes: found.body.length };
  }
}
