/**
 * One turn of a module that implements wasm/handler.wit by the canonical ABI: its function `handle`.
 *
 * The turn goes in as strings and records, each where the module's own `cabi_realloc` wants it; what it answers is read
 * out of its memory, once, and becomes the document that a handler of the plain interface would have answered. Whoever
 * reads that document checks it. The instance is thrown away after, so nothing is freed.
 * Source: WebAssembly/component-model, design/mvp/CanonicalABI.md.
 */
import { fromUtf8, utf8 } from "../bytes.ts";
import type { CapabilityNote } from "../handles.ts";
import { SENDS_PER_CALL_MAX } from "../limits.ts";

export interface CanonicalExports {
  readonly memory: WebAssembly.Memory;
  readonly cabi_realloc: (old_ptr: number, old_size: number, alignment: number, size: number) => number;
  readonly handle: (...flat: readonly (number | bigint)[]) => number;
}

/** What the input document holds (wasm/handler.wit). */
interface Input {
  readonly state: unknown;
  readonly message: string;
  readonly args: unknown;
  readonly caps: readonly CapabilityNote[];
  readonly now: number;
  readonly seed: string;
  readonly actor: string;
}

/** record capability; offsets and size in bytes */
const CAPABILITY = { size: 40, id: 0, actor: 4, messages: 12, expires: 24 } as const;
/** result<done, error>: a discriminant, then `done` or `error`. */
const RESULT = { size: 44, reply: 4, state: 12, become: 24, sends: 36, code: 4, detail: 12 } as const;
/** record send */
const SEND = { size: 40, to: 0, actor: 8, message: 20, args: 28 } as const;
/** Behind the discriminant of an option: a string or list, or a u64. */
const OPTION = { text: 4, u64: 8 } as const;

/**
 * @param input the input document, which the gateway wrote
 * @returns the output document, or how it broke the ABI
 * @throws what the handler's code traps with
 */
export function callHandle(
  exports: CanonicalExports,
  input: Uint8Array,
  output_bytes_max: number,
): Uint8Array<ArrayBuffer> | string {
  const turn = JSON.parse(fromUtf8(input) ?? "") as Input;
  const lower = new Lower(exports);
  const flat = [
    ...lower.text(JSON.stringify(turn.state)),
    ...lower.text(turn.message),
    ...lower.text(JSON.stringify(turn.args)),
    ...lower.capabilities(turn.caps),
    BigInt(turn.now),
    ...lower.text(turn.seed),
    ...lower.text(turn.actor),
  ];
  if (lower.problem !== undefined) return lower.problem;
  const at = exports.handle(...flat) >>> 0;
  const lift = new Lift(exports.memory.buffer, output_bytes_max);
  const document = lift.result(at);
  return lift.problem ?? utf8(document);
}

/** A string or a list, as two parameters or fields. */
type Span = readonly [ptr: number, length: number];

class Lower {
  problem: string | undefined;
  readonly #exports: CanonicalExports;

  constructor(exports: CanonicalExports) {
    this.#exports = exports;
  }

  text(text: string): Span {
    const bytes = utf8(text);
    const ptr = this.#place(1, bytes.length);
    if (this.problem !== undefined) return [0, 0];
    new Uint8Array(this.#exports.memory.buffer).set(bytes, ptr);
    return [ptr, bytes.length];
  }

  /** Records refer to what was placed before: each place is written only after all of them are there. */
  capabilities(notes: readonly CapabilityNote[]): Span {
    const records = notes.map(({ id, actor, messages, expires }) => ({
      id,
      actor: this.text(actor),
      messages: messages && this.#texts(messages),
      expires,
    }));
    const ptr = this.#place(8, notes.length * CAPABILITY.size);
    if (this.problem !== undefined) return [0, 0];
    const view = new DataView(this.#exports.memory.buffer);
    for (const [index, { id, actor, messages, expires }] of records.entries()) {
      const at = ptr + index * CAPABILITY.size;
      view.setUint32(at + CAPABILITY.id, id, true);
      setSpan(view, at + CAPABILITY.actor, actor);
      view.setUint8(at + CAPABILITY.messages, messages === undefined ? 0 : 1);
      setSpan(view, at + CAPABILITY.messages + OPTION.text, messages ?? [0, 0]);
      view.setUint8(at + CAPABILITY.expires, expires === undefined ? 0 : 1);
      view.setBigUint64(at + CAPABILITY.expires + OPTION.u64, BigInt(expires ?? 0), true);
    }
    return [ptr, notes.length];
  }

  #texts(texts: readonly string[]): Span {
    const spans = texts.map((text) => this.text(text));
    const ptr = this.#place(4, spans.length * 8);
    if (this.problem !== undefined) return [0, 0];
    const view = new DataView(this.#exports.memory.buffer);
    for (const [index, span] of spans.entries()) setSpan(view, ptr + index * 8, span);
    return [ptr, texts.length];
  }

  #place(alignment: number, size: number): number {
    if (this.problem !== undefined) return 0;
    const ptr = this.#exports.cabi_realloc(0, 0, alignment, size) >>> 0;
    if (ptr % alignment !== 0 || ptr + size > this.#exports.memory.buffer.byteLength)
      this.problem = `cabi_realloc answered ${size} bytes at ${ptr}, which is unaligned or outside its memory`;
    return ptr;
  }
}

function setSpan(view: DataView, at: number, [ptr, length]: Span): void {
  view.setUint32(at, ptr, true);
  view.setUint32(at + 4, length, true);
}

/** Reads one result; the first thing that is wrong is kept, and from then on everything is empty. */
class Lift {
  problem: string | undefined;
  readonly #view: DataView;
  #bytes_left: number;

  constructor(memory: ArrayBuffer, bytes_max: number) {
    this.#view = new DataView(memory);
    this.#bytes_left = bytes_max;
  }

  /** The output document. */
  result(at: number): string {
    if (!this.#isPlace(at, RESULT.size)) return "";
    if (this.#flag(at)) {
      const code = quote(this.#text(at + RESULT.code));
      return object({ error: object({ code, detail: quote(this.#text(at + RESULT.detail)) }) });
    }
    return object({
      reply: this.#json(at + RESULT.reply),
      state: this.#flag(at + RESULT.state) ? this.#json(at + RESULT.state + OPTION.text) : undefined,
      become: this.#flag(at + RESULT.become)
        ? quote(this.#text(at + RESULT.become + OPTION.text))
        : undefined,
      sends: this.#sends(at + RESULT.sends),
    });
  }

  #sends(at: number): string {
    const ptr = this.#view.getUint32(at, true);
    const count = this.#view.getUint32(at + 4, true);
    if (count === 0) return "[]";
    if (count > SENDS_PER_CALL_MAX)
      return this.#fail(`handle answered ${count} sends; at most ${SENDS_PER_CALL_MAX} may be`);
    if (!this.#isPlace(ptr, count * SEND.size)) return "";
    return `[${Array.from({ length: count }, (_, index) => this.#send(ptr + index * SEND.size)).join(",")}]`;
  }

  #send(at: number): string {
    return object({
      to: this.#json(at + SEND.to),
      actor: this.#flag(at + SEND.actor) ? quote(this.#text(at + SEND.actor + OPTION.text)) : undefined,
      message: quote(this.#text(at + SEND.message)),
      args: this.#flag(at + SEND.args) ? this.#json(at + SEND.args + OPTION.text) : undefined,
    });
  }

  /** A place of records, which stand at multiples of four. */
  #isPlace(at: number, size: number): boolean {
    if (at % 4 === 0 && at + size <= this.#view.byteLength) return true;
    this.#fail(`handle answered a record at ${at}, which is unaligned or outside its memory`);
    return false;
  }

  /** Of an option, or of the result. */
  #flag(at: number): boolean {
    const found = this.#view.getUint8(at);
    if (found > 1) this.#fail(`handle answered a variant ${found}, of which there are 2`);
    return found === 1;
  }

  #text(at: number): string {
    if (this.problem !== undefined) return "";
    const ptr = this.#view.getUint32(at, true);
    const length = this.#view.getUint32(at + 4, true);
    this.#bytes_left -= length;
    if (this.#bytes_left < 0) return this.#fail("handle answered more bytes than may be");
    if (ptr + length > this.#view.byteLength)
      return this.#fail(`handle answered ${length} bytes at ${ptr}, which is outside its memory`);
    const bytes = new Uint8Array(this.#view.buffer, ptr, length).slice();
    return fromUtf8(bytes) ?? this.#fail("handle answered a string that is not UTF-8");
  }

  /** Text of one JSON value: it must not be able to be anything else where it is put together. */
  #json(at: number): string {
    const text = this.#text(at);
    if (this.problem !== undefined) return "";
    try {
      JSON.parse(text);
      return text;
    } catch {
      return this.#fail("handle answered a json that is none");
    }
  }

  #fail(why: string): string {
    this.problem ??= why;
    return "";
  }
}

function quote(text: string): string {
  return JSON.stringify(text);
}

/** A JSON object of members that are JSON text, or absent. */
function object(members: Readonly<Record<string, string | undefined>>): string {
  const present = Object.entries(members).filter(([, text]) => text !== undefined);
  return `{${present.map(([name, text]) => `${quote(name)}:${text}`).join(",")}}`;
}
