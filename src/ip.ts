/**
 * IP addresses and ranges of them: IPv4 (dotted decimal) and IPv6 (RFC 4291 section 2.2).
 *
 * One address has one value here, however it was written: an IPv4 address that is mapped into IPv6 (`::ffff:10.0.0.1`,
 * as a socket that listens on both shows it) is that IPv4 address. A range of one family never holds one of the other.
 */

/** 4 or 16 bytes. */
export type Address = Uint8Array;

export interface Range {
  /** The first address; bits past `bits` are zero. */
  readonly address: Address;
  /** How many leading bits decide. */
  readonly bits: number;
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const MAPPED_BITS = 8 * MAPPED_PREFIX.length;

/** @returns `undefined` where the text is no address. A zone (`%eth0`) is none. */
export function parseAddress(text: string): Address | undefined {
  if (!text.includes(":")) return parseV4(text);
  const address = parseV6(text);
  return address !== undefined && isMapped(address) ? address.slice(MAPPED_PREFIX.length) : address;
}

/** Lower case, without leading zeros; the longest run of zero groups of IPv6 as `::` (RFC 5952). */
export function formatAddress(address: Address): string {
  if (address.length === 4) return address.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((address[2 * i] ?? 0) << 8) | (address[2 * i + 1] ?? 0),
  );
  const text = groups.map((group) => group.toString(16)).join(":");
  const runs = text.match(/(?:^|:)0(?::0)+(?=:|$)/g) ?? [];
  const longest = runs.reduce((best, run) => (zeros(run) > zeros(best) ? run : best), "");
  if (longest === "") return text;
  const at = text.indexOf(longest);
  return `${text.slice(0, at)}::${text.slice(at + longest.length).replace(/^:/, "")}`;
}

const zeros = (run: string): number => run.replaceAll(":", "").length;

/** `address/bits`. Refuses a range with bits set past its prefix: one of the two is a mistake. */
export function parseRange(text: string): Range | undefined {
  const [, given = "", digits = ""] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = parseAddress(given);
  if (address === undefined) return undefined;
  // Of a mapped range only what lies within the mapped addresses is IPv4.
  const bits = given.includes(":") && address.length === 4 ? Number(digits) - MAPPED_BITS : Number(digits);
  if (bits < 0 || bits > 8 * address.length) return undefined;
  const isBare = address.every((byte, index) => (byte & ~maskOf(bits, index) & 0xff) === 0);
  return isBare ? { address, bits } : undefined;
}

export function isWithin(address: Address, range: Range): boolean {
  return (
    address.length === range.address.length &&
    address.every((byte, index) => (byte & maskOf(range.bits, index)) === range.address[index])
  );
}

/** Which bits of the byte at this index decide. */
function maskOf(bits: number, index: number): number {
  const here = Math.min(8, Math.max(0, bits - 8 * index));
  return (0xff << (8 - here)) & 0xff;
}

function isMapped(address: Address): boolean {
  return MAPPED_PREFIX.every((byte, index) => address[index] === byte);
}

function parseV4(text: string): Address | undefined {
  const parts = text.split(".");
  // A leading zero means octal to some readers: refused.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255))
    return undefined;
  return Uint8Array.from(parts, Number);
}

function parseV6(text: string): Address | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = [bytesOf(halves[0], halves.length === 1), bytesOf(halves[1], true)];
  if (head === undefined || tail === undefined) return undefined;
  const left = 16 - head.length - tail.length;
  // `::` stands for one group at least.
  if (halves.length === 2 ? left < 2 : left !== 0) return undefined;
  return Uint8Array.from([...head, ...Array.from({ length: left }, () => 0), ...tail]);
}

/** Groups of one side of a `::`. @param ends the last group may be an IPv4 address */
function bytesOf(text: string | undefined, ends: boolean): readonly number[] | undefined {
  if (text === undefined || text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const v4 = ends && index === groups.length - 1 ? parseV4(group) : undefined;
    if (v4 === undefined) return undefined;
    bytes.push(...v4);
  }
  return bytes;
}
