/**
 * A changed text as a splice of the one before: what is kept of its start, what stands in between, what is kept of
 * its end, all counted in UTF-16 units.
 *
 * A splice fits the text that it was made from and no other: it carries that text's checksum. It may cut a surrogate
 * pair in two; JSON.stringify escapes the half, so it survives the log's UTF-8.
 */
import { utf8 } from "../bytes.ts";
import { crc32 } from "../crc32.ts";

export type Delta = readonly [start: number, between: string, end: number, crc32_before: number];

export function deltaOf(before: string, after: string): Delta {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before.charCodeAt(start) === after.charCodeAt(start)) start++;
  let end = 0;
  while (
    end < most - start &&
    before.charCodeAt(before.length - 1 - end) === after.charCodeAt(after.length - 1 - end)
  )
    end++;
  return [start, after.slice(start, after.length - end), end, crc32(utf8(before))];
}

/** @returns `undefined` where the delta was made from another text. */
export function applyDelta(before: string, [start, between, end, crc]: Delta): string | undefined {
  if (crc32(utf8(before)) !== crc) return undefined;
  return before.slice(0, start) + between + before.slice(before.length - end);
}
