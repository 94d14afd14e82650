/**
 * How the objects of a shard look in the store, format 2. Text, so that a person can read a log with any S3 tool:
 *
 *     postern-log/2 <CRC-32 of all that follows, 8 hex>
 *     {"kind":"entries","epoch":3,"session":"…","nonce":"…","durable":41}
 *     <one entry, JSON on one line>
 *     …
 *
 * The nonce makes every object unique, so that reading back tells whose write won. A damaged object is found by
 * its checksum and named by its key; it is never skipped.
 */
import { fromUtf8, utf8 } from "../bytes.ts";
import { decodeChecked, encodeChecked } from "../checked.ts";

const FORMAT = "postern-log/2";

interface Written {
  /** Number of the ownership under which it was written. */
  readonly epoch: number;
  readonly session: string;
  readonly nonce: string;
}

/** A group of entries, in one slot of the log. */
export interface EntriesHeader extends Written {
  readonly kind: "entries";
  /** Every slot up to this one was known to be durable: what is missing below was lost, not unwritten. */
  readonly durable: number;
}

/** Fences every writer of a lower epoch at its slot, for ever. It holds no lines. */
export interface SealHeader extends Written {
  readonly kind: "seal";
  /** Where this epoch's entries begin. What stands between is void: a deposed writer's window may still land there. */
  readonly resume: number;
}

/** Part of a checkpoint: what its key says. */
export interface PartHeader extends Written {
  readonly kind: "part";
}

export type SlotHeader = EntriesHeader | SealHeader;
export type Header = SlotHeader | PartHeader;

export interface LogObject<H extends Header = Header> {
  readonly header: H;
  /** For entries: one JSON document each, as written. */
  readonly lines: readonly string[];
}

/** Lines must hold no line feed; JSON.stringify writes none. */
export function encodeObject(header: Header, lines: readonly string[]): Uint8Array<ArrayBuffer> {
  return encodeChecked(FORMAT, utf8([JSON.stringify(header), ...lines].join("\n")));
}

/** @returns what is wrong with the object, as a clause, where it cannot be trusted. */
export function decodeObject(bytes: Uint8Array): LogObject | string {
  const body = decodeChecked(FORMAT, bytes);
  if (typeof body === "string") return body;
  const [head, ...lines] = (fromUtf8(body) ?? "").split("\n");
  const header = parseHeader(head);
  return header === undefined ? "has no header of this version" : { header, lines };
}

function parseHeader(line = ""): Header | undefined {
  try {
    return JSON.parse(line) as Header;
  } catch {
    return undefined;
  }
}

/** @returns what is wrong with it, as a clause, where it is no slot of a log. */
export function decodeSlot(bytes: Uint8Array): LogObject<SlotHeader> | string {
  const object = decodeObject(bytes);
  if (typeof object === "string") return object;
  const { header, lines } = object;
  return header.kind === "part" ? "is no slot of a log" : { header, lines };
}

// ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────

const shardName = (shard: number): string => String(shard).padStart(3, "0");
const seqName = (seq: number): string => String(seq).padStart(20, "0");

export const META_KEY = "meta/cluster";
export const NODE_PREFIX = "node/";
export const nodeKey = (session: string): string => `${NODE_PREFIX}${session}`;
export const OWN_PREFIX = "own/";
export const ownKey = (shard: number): string => `${OWN_PREFIX}${shardName(shard)}`;
export const logPrefix = (shard: number): string => `log/${shardName(shard)}/`;
export const logKey = (shard: number, seq: number): string => `${logPrefix(shard)}${seqName(seq)}`;
/** The slot that a key of a log names. */
export const slotOf = (key: string): number => Number(key.slice(key.lastIndexOf("/") + 1));

export const checkpointsPrefix = (shard: number): string => `ckpt/${shardName(shard)}/`;
/** The nonce in the name: what an abandoned attempt has left is never mistaken for this one. */
export const checkpointId = (seq: number, nonce: string): string => `${seqName(seq)}-${nonce}`;
export const checkpointPrefix = (shard: number, id: string): string => `${checkpointsPrefix(shard)}${id}/`;
export const manifestKey = (shard: number, id: string): string => `${checkpointPrefix(shard, id)}manifest`;
/** @param name `common`, or the number of a page */
export const partKey = (shard: number, id: string, name: string | number, part: number): string =>
  `${checkpointPrefix(shard, id)}${name}/${String(part).padStart(6, "0")}`;
