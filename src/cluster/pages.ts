/**
 * Records on pages: how a shard's records are spread over the objects of a checkpoint.
 *
 * A record belongs to the page that its key hashes to. A checkpoint writes anew only the pages of records that changed,
 * so its cost follows the changes and not the size of the shard; the number of pages doubles as the shard grows.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../bytes.ts";
import { PAGE_BYTES, PAGES_MAX } from "../limits.ts";

/** Where the last checkpoint has one page: under which checkpoint it was written, and its size. */
export interface Page {
  readonly id: string;
  readonly parts: number;
  readonly bytes: number;
}

export interface Manifest {
  readonly v: 1;
  /** By number; `null` where no record is on the page. Their count is a power of two. */
  readonly pages: readonly (Page | null)[];
  /** Parts of the common lines. */
  readonly common: number;
}

/** @returns `undefined` where it is no manifest of this version. */
export function parseManifest(line: string | undefined): Manifest | undefined {
  try {
    const manifest = JSON.parse(line ?? "") as Manifest;
    const { v, pages, common } = manifest;
    const isSized =
      pages.length > 0 && pages.length <= PAGES_MAX && (pages.length & (pages.length - 1)) === 0;
    return v === 1 && isSized && Number.isSafeInteger(common) && pages.every(isPage) ? manifest : undefined;
  } catch {
    return undefined;
  }
}

function isPage(page: Page | null): boolean {
  return page === null || (typeof page.id === "string" && page.parts > 0 && page.bytes > 0);
}

export const EMPTY: Manifest = { v: 1, pages: [null], common: 0 };

/** `[shard, page]` hashes of a key: independent of each other, and the same for ever. */
function hashesOf(key: string): readonly [number, number] {
  const view = new DataView(sha256(utf8(key)).buffer);
  return [view.getUint32(0), view.getUint32(4)];
}

export function shardOf(key: string, shards: number): number {
  return hashesOf(key)[0] % shards;
}

/** @param pages a power of two: a page's records stay, or go to the page as many further when it doubles. */
export function pageOf(key: string, pages: number): number {
  return hashesOf(key)[1] % pages;
}

/** How many pages the next checkpoint should have. */
export function pagesFor({ pages }: Manifest): number {
  const bytes = pages.reduce((sum, page) => sum + (page?.bytes ?? 0), 0);
  const crowded = bytes > 2 * PAGE_BYTES * pages.length;
  return crowded && pages.length < PAGES_MAX ? 2 * pages.length : pages.length;
}

/** A page's lines, `key line` each, by their keys. */
export function recordsOn(lines: readonly string[]): Map<string, string[]> {
  const records = new Map<string, string[]>();
  for (const line of lines) {
    const end = line.indexOf(" ");
    const key = line.slice(0, end);
    const known = records.get(key);
    if (known === undefined) records.set(key, [line.slice(end + 1)]);
    else known.push(line.slice(end + 1));
  }
  return records;
}

/** The lines of one record of a page. */
export function recordOn(lines: readonly string[], key: string): string[] {
  const start = `${key} `;
  return lines.filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
}

export function linesOf(records: ReadonlyMap<string, readonly string[]>): string[] {
  return [...records].flatMap(([key, lines]) => lines.map((line) => `${key} ${line}`));
}

/** Runs of lines of about so many bytes; a longer line stands alone. */
export function* splitBySize(lines: readonly string[], bytesMax: number): Iterable<string[]> {
  let part: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    if (bytes > 0 && bytes + line.length > bytesMax) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(line);
    bytes += line.length;
  }
  if (part.length > 0) yield part;
}
