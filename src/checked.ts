/**
 * Text objects of the store under a checksum: what was cut or damaged is found when it is read, and never guessed at.
 *
 *     postern-log/2 <CRC-32 of all that follows, 8 hex>
 *     <text>
 *
 * The first word says what the object is, and in which version of its format. A person can read it with any S3 tool.
 */
import { concat, fromUtf8, utf8 } from "./bytes.ts";
import { crc32 } from "./crc32.ts";

/** What an object is, and the version of its format. */
export type Format = `postern-${string}/${number}`;

export function encodeChecked(format: Format, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat(utf8(`${format} ${checksum(body)}\n`), body);
}

/** @returns what is wrong with the object, as a clause, where it cannot be trusted. */
export function decodeChecked(format: Format, bytes: Uint8Array): Uint8Array | string {
  const bodyAt = format.length + 10;
  const head = fromUtf8(bytes.subarray(0, bodyAt)) ?? "";
  if (!head.startsWith(`${format} `) || !head.endsWith("\n"))
    return `is not of format ${format.slice(format.indexOf("/") + 1)}`;
  const body = bytes.subarray(bodyAt);
  return head.slice(format.length + 1, -1) === checksum(body) ? body : "does not match its checksum";
}

/** One JSON document. */
export function encodeDocument(format: Format, document: object): Uint8Array<ArrayBuffer> {
  return encodeChecked(format, utf8(JSON.stringify(document)));
}

/** @returns `undefined` where it is damaged, or something else. What is in the document is still to be checked. */
export function decodeDocument(format: Format, bytes: Uint8Array): object | undefined {
  const body = decodeChecked(format, bytes);
  if (typeof body === "string") return undefined;
  try {
    const document: unknown = JSON.parse(fromUtf8(body) ?? "");
    return typeof document === "object" && document !== null ? document : undefined;
  } catch {
    return undefined;
  }
}

function checksum(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, "0");
}
