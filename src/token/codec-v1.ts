/**
 * The v1 packet format, which every macaroon library reads and older ones write:
 *
 *     location identifier ( cid [vid] [cl] )* signature
 *
 * A packet is four hex digits (its whole length), a name, a space, the value and a line feed. Decoding is strict, as
 * that of v2 is: packets come in this order and no other, nothing is inside or behind them that is not read. The
 * values are bytes; a caveat's bytes are the MAC input as they came.
 */
import { concatAll, fromUtf8, utf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, TOKEN_BYTES_MAX } from "../limits.ts";
import type { Macaroon, UnsafeCaveat } from "./macaroon.ts";

const LENGTH_DIGITS = 4;
const SPACE = 0x20;
const LINE_FEED = 0x0a;
const SIGNATURE_BYTES = 32;

/** Do the bytes begin as a v1 packet does? */
export function looksLikeV1(bytes: Uint8Array): boolean {
  return /^[0-9a-f]{4}$/.test(String.fromCharCode(...bytes.subarray(0, LENGTH_DIGITS)));
}

/** @returns `token_malformed` where a value is too long for a packet, or the whole for a token. */
export function encodeV1(macaroon: Macaroon): Uint8Array<ArrayBuffer> | Refusal {
  const { location, identifier, unsafeCaveats, signature } = macaroon;
  const packets = [packet("location", utf8(location)), packet("identifier", identifier)];
  for (const { cid, vid, location: place } of unsafeCaveats) {
    packets.push(packet("cid", cid));
    if (vid !== undefined) packets.push(packet("vid", vid));
    if (place !== undefined) packets.push(packet("cl", utf8(place)));
  }
  const bytes = concatAll([...packets, packet("signature", signature)]);
  return bytes.length <= TOKEN_BYTES_MAX
    ? bytes
    : refuse("token_malformed", `in v1 format the token has more than ${TOKEN_BYTES_MAX} bytes`);
}

function packet(name: string, value: Uint8Array): Uint8Array {
  const length = LENGTH_DIGITS + name.length + value.length + 2;
  return concatAll([utf8(`${length.toString(16).padStart(LENGTH_DIGITS, "0")}${name} `), value, utf8("\n")]);
}

export function decodeV1(bytes: Uint8Array): Macaroon | Refusal {
  if (bytes.length > TOKEN_BYTES_MAX)
    return refuse("token_malformed", `a token has at most ${TOKEN_BYTES_MAX} bytes`);
  const macaroon = read(bytes);
  return typeof macaroon === "string"
    ? refuse("token_malformed", `the v1 macaroon cannot be read: ${macaroon}`)
    : macaroon;
}

/** The packets in their order; a string says what is wrong. */
function read(bytes: Uint8Array): Macaroon | string {
  const packets = new Packets(bytes);
  const location = packets.take("location");
  const identifier = packets.take("identifier");
  if (location === undefined || identifier === undefined)
    return "it does not begin with a location and an identifier";
  const unsafeCaveats: UnsafeCaveat[] = [];
  for (let cid = packets.take("cid"); cid !== undefined; cid = packets.take("cid")) {
    if (cid.length > CAVEAT_BYTES_MAX) return `a caveat has more than ${CAVEAT_BYTES_MAX} bytes`;
    const vid = packets.take("vid");
    const place = packets.take("cl");
    const cl = place && fromUtf8(place);
    if (place !== undefined && cl === undefined) return "a caveat's location is not UTF-8";
    unsafeCaveats.push({ cid, ...(vid && { vid }), ...(cl !== undefined && { location: cl }) });
    if (unsafeCaveats.length > CAVEATS_MAX) return `it has more than ${CAVEATS_MAX} caveats`;
  }
  const signature = packets.take("signature");
  if (signature === undefined) return "a packet is damaged or out of order, or there is no signature";
  if (signature.length !== SIGNATURE_BYTES) return `its signature has not ${SIGNATURE_BYTES} bytes`;
  if (!packets.ended) return "bytes follow its signature";
  const place = fromUtf8(location);
  if (place === undefined) return "its location is not UTF-8";
  return { location: place, identifier, unsafeCaveats, signature };
}

/** Reads forward over the packets; what is no packet ends it. */
class Packets {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The next packet's value where the packet is one of this name; else nothing is read. */
  take(name: string): Uint8Array | undefined {
    const rest = this.#bytes.subarray(this.#at);
    const length = looksLikeV1(rest) ? Number.parseInt(String.fromCharCode(...rest.subarray(0, 4)), 16) : 0;
    const valueAt = LENGTH_DIGITS + name.length + 1;
    if (length <= valueAt || length > rest.length || rest[length - 1] !== LINE_FEED) return undefined;
    const isNamed = fromUtf8(rest.subarray(LENGTH_DIGITS, valueAt - 1)) === name;
    if (!isNamed || rest[valueAt - 1] !== SPACE) return undefined;
    this.#at += length;
    return rest.slice(valueAt, length - 1);
  }
}
