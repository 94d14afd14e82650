/**
 * How log objects look in the store, format 1. Text, so that a person can read a log with any S3 tool:
 *
 *     postern-log/1 <CRC-32 of all that follows, 8 hex>
 *     {"epoch":3,"session":"…","nonce":"…","kind":"entries"}
 *     <one entry, JSON on one line>
 *     …
 *
 * The nonce makes every object unique, so that reading back tells whose write won. A damaged object is found by
 * its checksum and named by its key; it is never skipped.
 */
import { fromUtf8, utf8 } from "../bytes.ts";
import { crc32 } from "../crc32.ts";

const MAGIC = "postern-log/1";

export interface Header {
  /** Number of the ownership under which it was written. */
  readonly epoch: number;
  readonly session: string;
  readonly nonce: string;
  /** A seal holds no entries: it fences every writer of a lower epoch at its slot, for ever. */
  readonly kind: "entries" | "seal" | "checkpoint";
}

export interface LogObject {
  readonly header: Header;
  /** One JSON document each, as written. */
  readonly entries: readonly string[];
}

/** Entries must hold no line feed; JSON.stringify writes none. */
export function encodeObject(header: Header, entries: readonly string[]): Uint8Array<ArrayBuffer> {
  const body = utf8([JSON.stringify(header), ...entries].join("\n"));
  const start = utf8(`${MAGIC} ${checksum(body)}\n`);
  const bytes = new Uint8Array(start.length + body.length);
  bytes.set(start);
  bytes.set(body, start.length);
  return bytes;
}

/** @returns what is wrong with the object, as a clause, where it cannot be trusted. */
export function decodeObject(bytes: Uint8Array): LogObject | string {
  const headLength = MAGIC.length + 10;
  const head = fromUtf8(bytes.subarray(0, headLength));
  if (head === undefined || !head.startsWith(`${MAGIC} `) || !head.endsWith("\n"))
    return "is not of format 1";
  const body = bytes.subarray(headLength);
  if (head.slice(MAGIC.length + 1, -1) !== checksum(body)) return "does not match its checksum";
  const [header = "", ...entries] = (fromUtf8(body) ?? "").split("\n");
  return { header: JSON.parse(header) as Header, entries };
}

function checksum(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}

const shardName = (shard: number): string => String(shard).padStart(3, "0");
const seqName = (seq: number): string => String(seq).padStart(20, "0");

export const ownKey = (shard: number): string => `own/${shardName(shard)}`;
export const logPrefix = (shard: number): string => `log/${shardName(shard)}/`;
export const logKey = (shard: number, seq: number): string => `${logPrefix(shard)}${seqName(seq)}`;
export const checkpointPrefix = (shard: number): string => `ckpt/${shardName(shard)}/`;
export const checkpointKey = (shard: number, seq: number, part: number): string =>
  `${checkpointPrefix(shard)}${seqName(seq)}/${String(part).padStart(6, "0")}`;
