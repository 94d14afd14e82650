/**
 * What the store has ever held, and what follows from it: the one history of each shard.
 *
 * Every change of the bucket passes here, whoever made it, and is checked in that moment. The history of a shard is a
 * walk over its slots as they were first written, from seal to seal; it needs no checkpoint and no recovery, and both
 * are compared with it.
 */
import {
  checkpointsPrefix,
  decodeObject,
  decodeSlot,
  type LogObject,
  logKey,
  manifestKey,
  partKey,
  type SlotHeader,
  slotOf,
} from "../../../src/cluster/format.ts";
import { type Ownership, parseOwnership } from "../../../src/cluster/ownership.ts";
import type { Manifest } from "../../../src/cluster/pages.ts";
import type { StoredObject } from "../../../src/store/contract.ts";
import type { Accounts } from "./accounts.ts";
import { Bucket, type Observer } from "./bucket.ts";
import type { Occasion } from "./profile.ts";
import type { Counted } from "./tally.ts";

interface HistoryEntry {
  readonly slot: number;
  readonly text: string;
}

class ShardHistory {
  /** The first value of each slot. */
  readonly slots = new Map<number, LogObject<SlotHeader> & { readonly etag: string }>();
  readonly entries: HistoryEntry[] = [];
  /** The first slot that is not written, and the reign whose entries count there. */
  next = 1;
  reign = 0;
  ownership: Ownership | undefined;
  /** Pages and objects of the checkpoint that counts. */
  pages = 1;
  named: ReadonlySet<string> = new Set();
  /** The slot that the store has lost. */
  lost: number | undefined;
}

export interface HistoryOptions {
  readonly accounts: Accounts;
  readonly count: (what: Counted) => void;
  readonly fail: (what: string) => void;
  /** A shard has changed hands; `before` is who had it, `null` where it was free. */
  readonly claimed: (shard: number, before: string | null, by: string) => void;
  readonly released: (shard: number, by: string) => void;
  readonly leaseWritten: (session: string, body: Uint8Array, by: string) => void;
  readonly occasion: (what: Occasion, by: string) => void;
}

export class History implements Observer {
  readonly bucket = new Bucket(this);
  readonly #options: HistoryOptions;
  readonly #shards = new Map<number, ShardHistory>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  ownership(shard: number): Ownership | undefined {
    return this.#of(shard).ownership;
  }

  /** Whether the shard rightly stops, because the store has lost a slot that no checkpoint holds. */
  isBroken(shard: number): boolean {
    const { lost, ownership } = this.#of(shard);
    return lost !== undefined && lost > (ownership?.checkpoint?.seq ?? 0);
  }

  put(key: string, body: Uint8Array, before: StoredObject | undefined, by: string): void {
    const [kind, name = ""] = key.split("/");
    const etag = this.bucket.get(key)?.etag ?? "";
    if (kind === "node") this.#options.occasion(name === by ? "renewal" : "burial", by);
    else if (kind === "log" || kind === "ckpt" || kind === "own") this.#options.occasion(kind, by);
    if (kind === "log") this.#slotWritten(Number(name), slotOf(key), body, etag, before);
    else if (kind === "own") this.#ownershipWritten(Number(name), body, before, by);
    else if (kind === "node") this.#options.leaseWritten(name, body, by);
    else if (before !== undefined) this.#options.fail(`${key} was written over`);
  }

  listed(prefix: string, by: string): void {
    const [kind, name = ""] = prefix.split("/");
    const { reign, ownership } = this.#of(Number(name));
    const isMine = kind === "log" && ownership?.session === by;
    // Not of a new shard: there is nothing to lose.
    if (isMine && ownership.epoch > reign && ownership.checkpoint !== null)
      this.#options.occasion("recovery", by);
  }

  deleted(key: string, by: string): void {
    const [kind, name = ""] = key.split("/");
    if (kind === "own") this.#options.fail(`${by} deleted ${key}`);
    const shard = this.#of(Number(name));
    if (kind === "ckpt" && shard.named.has(key)) this.#options.fail(`${by} deleted ${key}, which is needed`);
    if (kind !== "log") return;
    if (slotOf(key) > (shard.ownership?.checkpoint?.seq ?? 0))
      this.#options.fail(`${by} deleted ${key}, which no checkpoint holds`);
    if (shard.slots.get(slotOf(key))?.header.kind === "seal")
      this.#options.fail(`${by} deleted the seal ${key}`);
    this.#options.count("collected");
  }

  /** The entries that a recovery applied must be the history between its checkpoint and its seal. */
  recovered(number: number, checkpoint: number, durable: number, applied: readonly string[]): void {
    const { entries } = this.#of(number);
    const from = entries.findLastIndex(({ slot }) => slot <= checkpoint) + 1;
    const to = entries.findLastIndex(({ slot }) => slot <= durable) + 1;
    const expected = entries.slice(from, to);
    const same = expected.length === applied.length && expected.every(({ text }, i) => text === applied[i]);
    if (!same)
      this.#options.fail(
        `recovery of shard ${number} up to ${durable} found ${applied.length} entries behind ${checkpoint}, not the ${expected.length} of its history`,
      );
  }

  /**
   * Has the store lose a slot that a later one says was durable.
   * @param choose one of some
   * @param seals whether it may be a seal
   * @returns whether there is one
   */
  lose(number: number, choose: (slots: readonly number[]) => number, seals: boolean): boolean {
    const shard = this.#of(number);
    const from = (shard.ownership?.checkpoint?.seq ?? 0) + 1;
    const durable = [...shard.slots.values()].reduce(
      (most, { header }) => (header.kind === "entries" ? Math.max(most, header.durable) : most),
      0,
    );
    const known = [...shard.slots].filter(
      ([
        slot,
        {
          header: { kind, epoch },
        },
      ]) => slot >= from && slot <= durable && epoch === shard.reign && (seals || kind === "entries"),
    );
    if (known.length === 0 || shard.lost !== undefined) return false;
    shard.lost = choose(known.map(([slot]) => slot));
    this.bucket.lose(logKey(number, shard.lost));
    return true;
  }

  #of(shard: number): ShardHistory {
    const known = this.#shards.get(shard) ?? new ShardHistory();
    this.#shards.set(shard, known);
    return known;
  }

  #slotWritten(
    number: number,
    slot: number,
    body: Uint8Array,
    etag: string,
    before: StoredObject | undefined,
  ): void {
    const shard = this.#of(number);
    if (before !== undefined) this.#options.fail(`slot ${slot} of shard ${number} was written over`);
    const first = shard.slots.get(slot);
    if (first !== undefined) {
      // A collected slot may be written again; nobody reads it.
      const unseen = slot <= (shard.ownership?.checkpoint?.seq ?? 0);
      if (first.etag !== etag && !unseen && slot !== shard.lost)
        this.#options.fail(`slot ${slot} of shard ${number} has had two values`);
      return;
    }
    const object = decodeSlot(body);
    if (typeof object === "string") return this.#options.fail(`slot ${slot} of shard ${number} ${object}`);
    shard.slots.set(slot, { ...object, etag });
    if (slot < shard.next) this.#options.count("void");
    this.#walk(number, shard);
  }

  #walk(number: number, shard: ShardHistory): void {
    for (let found = shard.slots.get(shard.next); found !== undefined; found = shard.slots.get(shard.next)) {
      const { header, lines } = found;
      const slot = shard.next;
      if (header.kind === "seal") {
        if (header.epoch <= shard.reign)
          this.#options.fail(`slot ${slot} of shard ${number} is sealed by a reign that was over`);
        shard.reign = header.epoch;
        shard.next = header.resume;
        for (let seq = slot; ++seq < header.resume; ) if (shard.slots.has(seq)) this.#options.count("void");
        continue;
      }
      if (header.epoch > shard.reign)
        this.#options.fail(`slot ${slot} of shard ${number} was written by a reign without a seal`);
      if (header.epoch === shard.reign)
        for (const text of lines) {
          shard.entries.push({ slot, text });
          this.#options.accounts.counted(text);
        }
      shard.next++;
    }
  }

  #ownershipWritten(number: number, body: Uint8Array, before: StoredObject | undefined, by: string): void {
    const shard = this.#of(number);
    const now = parseOwnership(body);
    if (now === undefined) return this.#options.fail(`own/${number} was damaged`);
    const was = before === undefined ? undefined : parseOwnership(before.body);
    shard.ownership = now;
    const isClaim = now.session !== null && now.epoch === (was?.epoch ?? 0) + 1;
    const isOwn = now.epoch === was?.epoch && was.session === by;
    if (!isClaim && !(isOwn && (now.session === by || now.session === null)))
      this.#options.fail(
        `${by} made epoch ${now.epoch} of ${now.session} out of ${was?.epoch} of ${was?.session}`,
      );
    if ((now.checkpoint?.seq ?? 0) < (was?.checkpoint?.seq ?? 0) || now.collected < (was?.collected ?? 0))
      this.#options.fail(`${by} turned the checkpoint of shard ${number} back`);
    if (now.checkpoint?.id !== was?.checkpoint?.id) this.#checkpointed(number, shard, now);
    if (isClaim) this.#options.claimed(number, was?.session ?? null, by);
    else if (now.session === null) this.#options.released(number, by);
  }

  /** From here on the checkpoint counts: all that it says is durable, and all of it is there. */
  #checkpointed(number: number, shard: ShardHistory, { checkpoint }: Ownership): void {
    if (checkpoint === null) return;
    if (checkpoint.seq >= shard.next)
      this.#options.fail(
        `the checkpoint of shard ${number} holds slot ${checkpoint.seq}, which is not durable`,
      );
    const key = manifestKey(number, checkpoint.id);
    const found = this.bucket.get(key);
    const object = found === undefined ? "is missing" : decodeObject(found.body);
    if (typeof object === "string") return this.#options.fail(`${key} ${object}`);
    const { pages, common } = JSON.parse(object.lines[0] ?? "") as Manifest;
    this.#options.count("checkpoint");
    if (pages.length > shard.pages) this.#options.count("pages doubled");
    shard.pages = pages.length;
    const named = new Set([key]);
    const name = (id: string, page: string | number, parts: number): void => {
      for (let part = 0; part < parts; part++) named.add(partKey(number, id, page, part));
    };
    name(checkpoint.id, "common", common);
    for (const [page, at] of pages.entries()) if (at !== null) name(at.id, page, at.parts);
    const present = new Set(this.bucket.list(checkpointsPrefix(number), ""));
    for (const part of named) if (!present.has(part)) this.#options.fail(`${part} is missing`);
    shard.named = named;
  }
}
