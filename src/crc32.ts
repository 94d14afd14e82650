/** CRC-32: finds what was cut or damaged by accident; it protects against nobody. */

/** Eight tables of 256: what a byte does that stands so many bytes before the end of a step. */
const TABLES = new Uint32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  TABLES[byte] = crc;
}
for (let i = 256; i < TABLES.length; i++) {
  const crc = TABLES[i - 256] ?? 0;
  TABLES[i] = (crc >>> 8) ^ (TABLES[crc & 0xff] ?? 0);
}

const at = (table: number, byte: number): number => TABLES[table * 256 + (byte & 0xff)] ?? 0;

/** CRC-32 of ISO 3309, as in zlib and PNG; eight bytes a step (Kounavis and Berry 2005): a commit has up to 8 MiB. */
export function crc32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let crc = 0xffffffff;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    const low = crc ^ view.getUint32(i, true);
    const high = view.getUint32(i + 4, true);
    crc = at(7, low) ^ at(6, low >>> 8) ^ at(5, low >>> 16) ^ at(4, low >>> 24);
    crc ^= at(3, high) ^ at(2, high >>> 8) ^ at(1, high >>> 16) ^ at(0, high >>> 24);
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ at(0, crc ^ (bytes[i] ?? 0));
  return (crc ^ 0xffffffff) >>> 0;
}
