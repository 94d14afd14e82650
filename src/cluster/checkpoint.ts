/**
 * The checkpoints of one shard: pages, the manifest that names them, and what they have made needless.
 *
 * A checkpoint is written under a name of its own and counts from the moment that `own/{shard}` names it. A page is
 * read when one of its records is needed, never at a start.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { CHECKPOINT_PART_BYTES, STORE_READS_AT_ONCE } from "../limits.ts";
import type { Store } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import {
  checkpointId,
  checkpointsPrefix,
  decodeObject,
  encodeObject,
  type LogObject,
  manifestKey,
  type PartHeader,
  partKey,
} from "./format.ts";
import type { Checkpoint } from "./ownership.ts";
import {
  EMPTY,
  linesOf,
  type Manifest,
  type Page,
  pageOf,
  pagesFor,
  parseManifest,
  recordOn,
  recordsOn,
  splitBySize,
} from "./pages.ts";
import type { Capture } from "./records.ts";
import { damaged, draining, used } from "./refusals.ts";

/** A checkpoint in the store that nothing names yet. */
export interface WrittenCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly manifest: Manifest;
  /** What writing it has cost. */
  readonly bytes: number;
}

export class Checkpoints {
  readonly #store: Store;
  readonly #shard: number;
  #current: { readonly checkpoint: Checkpoint | null; readonly manifest: Manifest } = {
    checkpoint: null,
    manifest: EMPTY,
  };

  constructor(store: Store, shard: number) {
    this.#store = store;
    this.#shard = shard;
  }

  /**
   * Begins with a checkpoint that is in the store.
   * @returns its common lines, and the epoch that wrote it
   */
  async open(checkpoint: Checkpoint): Promise<{ common: readonly string[]; epoch: number } | Refusal> {
    const key = manifestKey(this.#shard, checkpoint.id);
    const found = await this.#read(key);
    if (isRefusal(found)) return found;
    const manifest = parseManifest(found.lines[0]);
    if (manifest === undefined) return damaged("object", key, "is no manifest of this version");
    this.#current = { checkpoint, manifest };
    const common = await this.#parts(checkpoint.id, "common", manifest.common);
    return isRefusal(common) ? common : { common, epoch: found.header.epoch };
  }

  /**
   * The lines of one record; none where the checkpoint does not have it. Refusal: `store_unavailable`.
   *
   * Where a later checkpoint is adopted meanwhile, the answer is of the old one, or a refusal because its page is gone:
   * whoever cares must ask again (`ReadRecord`).
   */
  async record(key: string): Promise<readonly string[] | Refusal> {
    const { manifest } = this.#current;
    const lines = await this.#page(manifest, pageOf(key, manifest.pages.length));
    return isRefusal(lines) ? lines : recordOn(lines, key);
  }

  /**
   * Writes what has changed. It takes effect when the ownership names it and `adopt` is called.
   * @param seq the last slot that the capture holds
   * @param isClosing whether the shard is being given up, for which this must not be waited for
   */
  async write(
    capture: Capture,
    seq: number,
    header: () => PartHeader,
    isClosing: () => boolean = () => false,
  ): Promise<WrittenCheckpoint | Refusal> {
    const { manifest: before } = this.#current;
    const first = header();
    const id = checkpointId(seq, first.nonce);
    const count = pagesFor(before);
    const changed = Map.groupBy(capture.changed, (key) => pageOf(key, count));
    const doubled = count > before.pages.length;
    let bytes = 0;
    const put = async (name: string | number, lines: readonly string[]): Promise<Page | Refusal> => {
      if (isClosing()) return draining();
      const page = await this.#putParts(id, name, lines, header);
      if (!isRefusal(page)) bytes += page.bytes;
      return page;
    };

    const pages = await inTurns(
      Array.from({ length: count }, (_, number) => number),
      async (number) => {
        const old = before.pages[number % before.pages.length] ?? null;
        const keys = changed.get(number) ?? [];
        if (keys.length === 0 && !doubled) return old;
        const lines = await this.#merged(before, number, count, keys, capture);
        if (isRefusal(lines)) return lines;
        return lines.length === 0 ? null : put(number, lines);
      },
    );
    if (isRefusal(pages)) return pages;
    const common = capture.common.length === 0 ? undefined : await put("common", capture.common);
    if (isRefusal(common)) return common;
    const manifest: Manifest = { v: 1, pages, common: common?.parts ?? 0 };
    const written = await this.#put(manifestKey(this.#shard, id), first, [JSON.stringify(manifest)]);
    if (isRefusal(written)) return written;
    return { checkpoint: { seq, id }, manifest, bytes: bytes + written };
  }

  /** From here on records are read out of this checkpoint: the ownership names it. */
  adopt({ checkpoint, manifest }: WrittenCheckpoint): void {
    this.#current = { checkpoint, manifest };
  }

  /**
   * Deletes parts that no checkpoint names any more. Only what is older than the current one: what is newer may
   * be the next owner's, should I be deposed without knowing it.
   */
  async sweep(isClosing: () => boolean = () => false): Promise<void> {
    const { checkpoint, manifest } = this.#current;
    if (checkpoint === null) return;
    const keys = await this.#store.list(checkpointsPrefix(this.#shard));
    if (isRefusal(keys)) return;
    const prefix = checkpointsPrefix(this.#shard);
    const named = new Set(manifest.pages.flatMap((page, number) => (page ? [`${page.id}/${number}`] : [])));
    for (const key of keys) {
      if (isClosing()) return;
      const [id = "", name = ""] = key.slice(prefix.length).split("/");
      const older = Number.parseInt(id, 10) < checkpoint.seq;
      if (older && !named.has(`${id}/${name}`)) await this.#store.delete(key);
    }
  }

  /** The lines of a page as it will be. */
  async #merged(
    before: Manifest,
    number: number,
    count: number,
    changed: readonly string[],
    capture: Capture,
  ): Promise<readonly string[] | Refusal> {
    const lines = await this.#page(before, number % before.pages.length);
    if (isRefusal(lines)) return lines;
    const records = recordsOn(lines);
    for (const key of records.keys()) if (pageOf(key, count) !== number) records.delete(key);
    for (const key of changed) {
      const after = used("record", key, () => capture.lines(key, records.get(key) ?? []));
      if (isRefusal(after)) return after;
      if (after.length === 0) records.delete(key);
      else records.set(key, [...after]);
    }
    return linesOf(records);
  }

  async #page({ pages }: Manifest, number: number): Promise<readonly string[] | Refusal> {
    const page = pages[number];
    return page ? this.#parts(page.id, number, page.parts) : [];
  }

  async #parts(id: string, name: string | number, parts: number): Promise<readonly string[] | Refusal> {
    const lines: string[] = [];
    for (let part = 0; part < parts; part++) {
      const found = await this.#read(partKey(this.#shard, id, name, part));
      if (isRefusal(found)) return found;
      for (const line of found.lines) lines.push(line);
    }
    return lines;
  }

  async #putParts(
    id: string,
    name: string | number,
    lines: readonly string[],
    header: () => PartHeader,
  ): Promise<Page | Refusal> {
    let bytes = 0;
    let parts = 0;
    for (const partLines of splitBySize(lines, CHECKPOINT_PART_BYTES)) {
      const written = await this.#put(partKey(this.#shard, id, name, parts++), header(), partLines);
      if (isRefusal(written)) return written;
      bytes += written;
    }
    return { id, parts, bytes };
  }

  /** @returns the object's size. */
  async #put(key: string, header: PartHeader, lines: readonly string[]): Promise<number | Refusal> {
    const body = encodeObject(header, lines);
    const put = await settledPut(this.#store, key, body, { ifNoneMatch: "*" });
    if (put.outcome === "won") return body.length;
    return refuse("store_unavailable", `a part of the checkpoint was not written: ${key}`);
  }

  async #read(key: string): Promise<LogObject | Refusal> {
    const found = await this.#store.get(key);
    if (isRefusal(found)) return found;
    if (found === undefined) return damaged("object", key, "is missing");
    const decoded = decodeObject(found.body);
    return typeof decoded === "string" ? damaged("object", key, decoded) : decoded;
  }
}

/** Some at once, in the order of the items. @returns the first refusal, if any. */
async function inTurns<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R | Refusal>,
): Promise<R[] | Refusal> {
  const results: R[] = [];
  let next = 0;
  let failed: Refusal | undefined;
  const worker = async (): Promise<void> => {
    while (next < items.length && failed === undefined) {
      const at = next++;
      const result = await work(items[at] as T);
      if (isRefusal(result)) failed ??= result;
      else results[at] = result;
    }
  };
  await Promise.all(Array.from({ length: Math.min(items.length, STORE_READS_AT_ONCE) }, worker));
  return failed ?? results;
}
