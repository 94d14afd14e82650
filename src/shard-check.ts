/**
 * Is a shard whole? Its log as recovery would read it, and every page of its checkpoint, which recovery would not.
 *
 * The owner may be at work meanwhile. What it deletes and replaces has changed its record before; so a shard that is found
 * damaged while its record changed is read again.
 */
import {
  checkpointsPrefix,
  decodeObject,
  decodeSlot,
  type LogObject,
  logKey,
  logPrefix,
  manifestKey,
  ownKey,
  partKey,
  type SlotHeader,
  slotOf,
} from "./cluster/format.ts";
import { type Owned, type Ownership, readOwnership } from "./cluster/ownership.ts";
import { EMPTY, type Manifest, pageOf, parseManifest } from "./cluster/pages.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { COMMIT_WINDOW_MAX, SHARD_CHECKS_MAX } from "./limits.ts";
import type { Store } from "./store/contract.ts";
import { forEachObject, type Progress } from "./store-walk.ts";

export interface StoreProblem {
  readonly key: string;
  readonly detail: string;
}

/** Refusal: `store_unavailable`. */
export async function checkShard(
  store: Store,
  shard: number,
  progress: Progress,
): Promise<readonly StoreProblem[] | Refusal> {
  for (let attempt = 1; ; attempt++) {
    const before = await readRecord(store, shard);
    if (isRefusal(before)) return before;
    const problems = await new ShardCheck(store, shard, before).run(progress);
    if (isRefusal(problems) || problems.length === 0 || attempt === SHARD_CHECKS_MAX) return problems;
    const after = await readRecord(store, shard);
    if (isRefusal(after)) return after;
    if (before === "damaged" || after === "damaged" || before?.etag === after?.etag) return problems;
  }
}

type OwnRecord = Owned | undefined | "damaged";

async function readRecord(store: Store, shard: number): Promise<OwnRecord | Refusal> {
  const found = await store.get(ownKey(shard));
  if (isRefusal(found)) return found;
  const owned = await readOwnership(store, shard);
  return isRefusal(owned) ? "damaged" : owned;
}

interface Part {
  readonly records: readonly string[];
  readonly bytes: number;
}

class ShardCheck {
  readonly #store: Store;
  readonly #shard: number;
  readonly #record: OwnRecord;
  readonly #problems: StoreProblem[] = [];
  readonly #slots = new Map<number, SlotHeader>();
  readonly #damaged = new Set<number>();
  /** Parts that the manifest names: the page, or common lines. */
  readonly #named = new Map<string, number | "common">();
  #manifest: Manifest = EMPTY;
  /** The epoch that wrote the checkpoint; `undefined` where it cannot be read. */
  #epoch: number | undefined;
  /** The records of each named part, in their order, and its size. */
  readonly #parts = new Map<string, Part | "damaged">();

  constructor(store: Store, shard: number, record: OwnRecord) {
    this.#store = store;
    this.#shard = shard;
    this.#record = record;
  }

  async run(progress: Progress): Promise<readonly StoreProblem[] | Refusal> {
    const { ownership } = this.#record === "damaged" || this.#record === undefined ? {} : this.#record;
    const failed = ownership?.checkpoint ? await this.#readManifest(ownership.checkpoint.id) : undefined;
    if (failed !== undefined) return failed;
    const logs = await this.#store.list(logPrefix(this.#shard));
    if (isRefusal(logs)) return logs;
    const parts = await this.#store.list(checkpointsPrefix(this.#shard));
    if (isRefusal(parts)) return parts;
    const keys = [ownKey(this.#shard), ...[...logs, ...parts].toSorted()];
    const refused = await forEachObject(this.#store, keys, progress, (key, body) => this.#object(key, body));
    if (refused !== undefined) return refused;

    if (this.#record === "damaged") this.#report(ownKey(this.#shard), "it is no ownership record");
    else if (this.#record === undefined) this.#report(ownKey(this.#shard), "it is missing");
    if (ownership === undefined) return this.#problems;
    this.#epochs(ownership);
    this.#sequence(ownership);
    this.#pages();
    return this.#problems;
  }

  #report(key: string, detail: string): void {
    this.#problems.push({ key, detail });
  }

  // ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────

  async #readManifest(id: string): Promise<Refusal | undefined> {
    const key = manifestKey(this.#shard, id);
    const found = await this.#store.get(key);
    if (isRefusal(found)) return found;
    if (found === undefined) {
      this.#report(key, "it is missing");
      return undefined;
    }
    // A damaged one is reported when all objects are read.
    const decoded = decodeObject(found.body);
    if (typeof decoded === "string") return undefined;
    const manifest = parseManifest(decoded.lines[0]);
    if (manifest === undefined) {
      this.#report(key, "it is no manifest of this version");
      return undefined;
    }
    this.#manifest = manifest;
    this.#epoch = decoded.header.epoch;
    for (let part = 0; part < manifest.common; part++)
      this.#named.set(partKey(this.#shard, id, "common", part), "common");
    for (const [number, page] of manifest.pages.entries()) {
      for (let part = 0; part < (page?.parts ?? 0); part++)
        this.#named.set(partKey(this.#shard, page?.id ?? "", number, part), number);
    }
    return undefined;
  }

  #object(key: string, body: Uint8Array): void {
    // Read before all others: it says what must be there.
    if (key === ownKey(this.#shard)) return;
    if (key.startsWith(logPrefix(this.#shard))) {
      this.#slot(key, decodeSlot(body));
      return;
    }
    const decoded = decodeObject(body);
    if (typeof decoded === "string") this.#report(key, `it ${decoded}`);
    else if (decoded.header.kind !== "part") this.#report(key, "it is no part of a checkpoint");
    const page = this.#named.get(key);
    if (page === undefined) return;
    if (typeof decoded === "string") this.#parts.set(key, "damaged");
    else {
      const records = page === "common" ? [] : this.#recordsOf(key, decoded.lines);
      this.#parts.set(key, { records, bytes: body.length });
    }
  }

  #slot(key: string, decoded: LogObject<SlotHeader> | string): void {
    const seq = slotOf(key);
    if (typeof decoded === "string") {
      this.#damaged.add(seq);
      this.#report(key, `it ${decoded}`);
      return;
    }
    const { header, lines } = decoded;
    this.#slots.set(seq, header);
    if (header.kind === "seal" && (header.resume <= seq || lines.length > 0))
      this.#report(key, "it is no seal as nodes write them");
    if (header.kind === "entries" && header.durable >= seq)
      this.#report(key, "it says that slots behind it were durable before it");
  }

  /** The keys of the records on a part, once for each run of lines. */
  #recordsOf(key: string, lines: readonly string[]): readonly string[] {
    const records: string[] = [];
    for (const line of lines) {
      const end = line.indexOf(" ");
      const record = line.slice(0, Math.max(0, end));
      if (end < 1) this.#report(key, "it has a line of no record");
      else if (records.at(-1) !== record) records.push(record);
    }
    return records;
  }

  // ── The log ──────────────────────────────────────────────────────────────────────────────────────────────

  /** No slot is of a newer epoch than the owner's, and seals follow each other in the order of their epochs. */
  #epochs({ epoch }: Ownership): void {
    let sealed = 0;
    for (const [seq, header] of [...this.#slots].toSorted(([a], [b]) => a - b)) {
      const key = logKey(this.#shard, seq);
      if (header.epoch > epoch) this.#report(key, "its epoch is above that of the owner");
      if (header.kind !== "seal") continue;
      if (header.epoch <= sealed) this.#report(key, "its epoch is not above that of the seal before it");
      sealed = header.epoch;
    }
  }

  /**
   * From the checkpoint to the end, as recovery goes. A slot that is missing or damaged may have been a seal: then it is
   * not known how many slots behind it are void, nor whose reign follows.
   */
  #sequence({ checkpoint }: Ownership): void {
    const last = Math.max(0, ...this.#slots.keys(), ...this.#damaged);
    let reign = checkpoint === null ? 0 : this.#epoch;
    let uncertainTo = 0;
    for (let seq = (checkpoint?.seq ?? 0) + 1; seq <= last; seq++) {
      const header = this.#slots.get(seq);
      const isUncertain = seq < uncertainTo;
      if (header === undefined) {
        if (isUncertain && !this.#damaged.has(seq)) continue;
        // Behind the end only what the last writer had in flight may stand.
        if (!this.#damaged.has(seq) && !this.#isLost(seq)) return;
        if (!this.#damaged.has(seq)) this.#report(logKey(this.#shard, seq), "it is missing");
        reign = undefined;
        uncertainTo = seq + COMMIT_WINDOW_MAX;
      } else if (header.kind === "seal") {
        reign = header.epoch;
        // What is between is void, whatever stands there.
        seq = Math.max(seq, header.resume - 1);
      } else if (!isUncertain) {
        this.#entriesAt(seq, header.epoch, reign);
        reign = Math.max(reign ?? 0, header.epoch);
      }
    }
  }

  /** Told once: what follows in the same epoch is no news. */
  #entriesAt(seq: number, epoch: number, reign = epoch): void {
    const key = logKey(this.#shard, seq);
    if (epoch > reign) this.#report(key, "no seal of its epoch stands before it");
    if (epoch < reign) this.#report(key, "its epoch was over when it was written");
  }

  /** Whether a later slot shows that this one was written once. */
  #isLost(seq: number): boolean {
    for (const [later, header] of this.#slots) {
      if (later <= seq) continue;
      if (later >= seq + COMMIT_WINDOW_MAX || header.kind === "seal" || header.durable >= seq) return true;
    }
    return false;
  }

  // ── The checkpoint ───────────────────────────────────────────────────────────────────────────────────────

  /** Every part that the manifest names is there, and every record where it is looked for, once. */
  #pages(): void {
    for (const key of this.#named.keys()) if (!this.#parts.has(key)) this.#report(key, "it is missing");
    const { pages } = this.#manifest;
    for (const [number, page] of pages.entries()) {
      if (page === null) continue;
      const parts = Array.from({ length: page.parts }, (_, part) =>
        this.#parts.get(partKey(this.#shard, page.id, number, part)),
      );
      const whole = parts.filter((part) => part !== undefined && part !== "damaged");
      // What is not there has been told.
      if (whole.length < parts.length) continue;
      const key = partKey(this.#shard, page.id, number, 0);
      const bytes = whole.reduce((sum, part) => sum + part.bytes, 0);
      if (bytes !== page.bytes) this.#report(key, "the page's size is not that of the manifest");
      const records = whole.flatMap((part) => part.records);
      this.#records(key, number, records);
    }
  }

  #records(key: string, number: number, records: readonly string[]): void {
    const seen = new Set<string>();
    for (const [i, record] of records.entries()) {
      // One that is longer than a part goes on in the next.
      if (record === records[i - 1]) continue;
      if (seen.has(record)) this.#report(key, `the record ${record} is there twice`);
      else if (pageOf(record, this.#manifest.pages.length) !== number)
        this.#report(key, `the record ${record} belongs to another page`);
      seen.add(record);
    }
  }
}
