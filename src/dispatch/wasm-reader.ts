/**
 * Reading and writing the Wasm binary format's primitives.
 *
 * The reader never leaves its window and never throws: the first failure is kept with its byte offset, and
 * from then on every read answers 0 and the window is at its end. So a loop over a count that was read is
 * bounded by the bytes that are really there, and a caller checks `failure` once, after a whole piece.
 */
import { fromUtf8 } from "../bytes.ts";

export class Reader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly end: number;
  at: number;
  failure: string | undefined;

  constructor(bytes: Uint8Array<ArrayBuffer>, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  fail(what: string): void {
    this.failure ??= `${what} at byte ${this.at}`;
    this.at = this.end;
  }

  peek(): number {
    return this.at < this.end ? (this.bytes[this.at] ?? 0) : 0;
  }

  byte(): number {
    if (this.at >= this.end) {
      this.fail("cut off");
      return 0;
    }
    return this.bytes[this.at++] ?? 0;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value <= 0xffff_ffff) return value;
        break;
      }
    }
    this.fail("a number of more than 32 bits");
    return 0;
  }

  /** Steps over a signed LEB128 whose value does not matter here; validation has the last word on it. */
  skipSigned(bits: 32 | 64): void {
    const length_max = Math.ceil(bits / 7);
    for (let i = 0; i < length_max; i++) if (this.byte() < 0x80) return;
    this.fail(`a number of more than ${bits} bits`);
  }

  skip(length: number): void {
    if (length > this.end - this.at) this.fail("cut off");
    else this.at += length;
  }

  name(): string {
    const length = this.u32();
    const start = this.at;
    this.skip(length);
    if (this.failure !== undefined) return "";
    const text = fromUtf8(this.bytes.subarray(start, start + length));
    if (text === undefined) this.fail("a name that is not UTF-8");
    return text ?? "";
  }
}

export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  byte(...bytes: readonly number[]): this {
    this.#reserve(bytes.length);
    for (const byte of bytes) this.#bytes[this.#length++] = byte;
    return this;
  }

  u32(value: number): this {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest = Math.floor(rest / 128);
    }
    return this.byte(rest);
  }

  /** Signed LEB128 of an integer from -64 up to 2^53: every constant that is injected. */
  s64(value: number): this {
    let rest = value;
    while (rest > 63) {
      this.byte((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    return this.byte(rest & 0x7f);
  }

  name(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u32(bytes.length).raw(bytes);
  }

  /** One section or body: its length, then its bytes. */
  sized(inner: Writer): this {
    return this.u32(inner.length).raw(inner.view());
  }

  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.view());
    this.#bytes = grown;
  }
}
