/**
 * The v2 binary format of libmacaroons: fields of (varint type, varint length, bytes), sections ended by a zero.
 *
 *     2  [location] identifier EOS  ( [location] cid [vid] EOS )*  EOS  signature
 *
 * Decoding is strict: every bound is checked before a byte is copied, varints are minimal, fields come once and
 * in order, nothing follows the signature. The decoded bytes are the MAC inputs; nothing is ever re-encoded to
 * decide a MAC.
 */
import { concat, fromUtf8, utf8 } from "../bytes.ts";
import { type Refusal, refuse } from "../errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, TOKEN_BYTES_MAX } from "../limits.ts";
import type { Macaroon, UnsafeCaveat } from "./macaroon.ts";

const VERSION = 2;
const EOS = 0;
const LOCATION = 1;
const IDENTIFIER = 2;
const VID = 4;
const SIGNATURE = 6;
const SIGNATURE_BYTES = 32;

export function encodeV2(macaroon: Macaroon): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [Uint8Array.of(VERSION)];
  if (macaroon.location !== "") parts.push(...field(LOCATION, utf8(macaroon.location)));
  parts.push(...field(IDENTIFIER, macaroon.identifier), Uint8Array.of(EOS));
  for (const caveat of macaroon.unsafeCaveats) {
    if (caveat.location !== undefined) parts.push(...field(LOCATION, utf8(caveat.location)));
    parts.push(...field(IDENTIFIER, caveat.cid));
    if (caveat.vid !== undefined) parts.push(...field(VID, caveat.vid));
    parts.push(Uint8Array.of(EOS));
  }
  parts.push(Uint8Array.of(EOS), ...field(SIGNATURE, macaroon.signature));
  return concat(...parts);
}

function field(type: number, bytes: Uint8Array): Uint8Array[] {
  return [Uint8Array.of(type, ...varint(bytes.length)), bytes];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return bytes;
}

export function decodeV2(bytes: Uint8Array): Macaroon | Refusal {
  if (bytes.length > TOKEN_BYTES_MAX)
    return refuse("token_malformed", `a token has at most ${TOKEN_BYTES_MAX} bytes`);
  const reader = new Reader(bytes);
  const macaroon = reader.macaroon();
  return macaroon ?? refuse("token_malformed", `the macaroon cannot be read: ${reader.problem}`);
}

/** Reads forward over the bytes; the first problem found is kept and everything after it yields `undefined`. */
class Reader {
  problem = "";
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  macaroon(): Macaroon | undefined {
    if (this.#bytes[this.#at++] !== VERSION) return this.#fail("it is not in v2 format");
    const location = this.#optional(LOCATION);
    const identifier = this.#required(IDENTIFIER, "the identifier");
    if (identifier === undefined || !this.#ends("the header")) return undefined;
    const unsafeCaveats: UnsafeCaveat[] = [];
    while (this.problem === "" && this.#peek() !== EOS) {
      const caveat = this.#caveat();
      if (caveat === undefined) return undefined;
      if (unsafeCaveats.push(caveat) > CAVEATS_MAX)
        return this.#fail(`it has more than ${CAVEATS_MAX} caveats`);
    }
    if (!this.#ends("the caveats")) return undefined;
    const signature = this.#required(SIGNATURE, "the signature");
    if (signature === undefined) return undefined;
    if (signature.length !== SIGNATURE_BYTES) return this.#fail("its signature has not 32 bytes");
    if (this.#at !== this.#bytes.length) return this.#fail("bytes follow its signature");
    const place = location === undefined ? "" : fromUtf8(location);
    if (place === undefined) return this.#fail("its location is not UTF-8");
    return { location: place, identifier, unsafeCaveats, signature };
  }

  #caveat(): UnsafeCaveat | undefined {
    const location = this.#optional(LOCATION);
    const cid = this.#required(IDENTIFIER, "a caveat's identifier");
    const vid = this.#optional(VID);
    if (cid === undefined || !this.#ends("a caveat")) return undefined;
    if (cid.length > CAVEAT_BYTES_MAX) return this.#fail(`a caveat has more than ${CAVEAT_BYTES_MAX} bytes`);
    const place = location === undefined ? undefined : fromUtf8(location);
    if (location !== undefined && place === undefined) return this.#fail("a caveat's location is not UTF-8");
    return {
      cid,
      ...(vid === undefined ? {} : { vid }),
      ...(place === undefined ? {} : { location: place }),
    };
  }

  #peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  #ends(section: string): boolean {
    if (this.problem !== "") return false;
    if (this.#bytes[this.#at++] === EOS) return true;
    this.#fail(`${section} does not end where it should`);
    return false;
  }

  #optional(type: number): Uint8Array | undefined {
    return this.problem === "" && this.#peek() === type ? this.#field() : undefined;
  }

  #required(type: number, what: string): Uint8Array | undefined {
    if (this.problem !== "") return undefined;
    return this.#peek() === type ? this.#field() : this.#fail(`${what} is missing`);
  }

  #field(): Uint8Array | undefined {
    this.#at++;
    const length = this.#varint();
    if (length === undefined) return undefined;
    const end = this.#at + length;
    if (end > this.#bytes.length) return this.#fail("a field is longer than the token");
    const value = this.#bytes.slice(this.#at, end);
    this.#at = end;
    return value;
  }

  #varint(): number | undefined {
    let value = 0;
    for (let shift = 0; shift <= 14; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) return this.#fail("it ends within a length");
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        return byte === 0 && shift > 0 ? this.#fail("a length is not in its shortest form") : value;
      }
    }
    return this.#fail("a length is out of bounds");
  }

  #fail(problem: string): undefined {
    if (this.problem === "") this.problem = problem;
    return undefined;
  }
}
