/**
 * One turn of a module that implements wasm/handler.wit by the canonical ABI: its function `handle`.
 *
 * The turn goes in as strings, each where the module's own `cabi_realloc` wants it; what it answers is read out of its
 * memory, once, and becomes the document that a handler of the plain interface would have answered. Whoever reads
 * that document checks it. The instance is thrown away after, so nothing is freed.
 * Source: WebAssembly/component-model, design/mvp/CanonicalABI.md.
 */
import { fromUtf8, utf8 } from "../bytes.ts";

export interface CanonicalExports {
  readonly memory: WebAssembly.Memory;
  readonly cabi_realloc: (old_ptr: number, old_size: number, alignment: number, size: number) => number;
  readonly handle: (...flat: readonly (number | bigint)[]) => number;
}

/** result<done, error>, in bytes: a discriminant, then `reply: json, state: option<json>, become: option<string>`. */
const RESULT_BYTES = 36;
const AT = { reply: 4, state: 12, become: 24, code: 4, detail: 12 } as const;

/** What the input document holds (wasm/handler.wit). */
interface Input {
  readonly state: unknown;
  readonly message: string;
  readonly args: unknown;
  readonly now: number;
  readonly seed: string;
  readonly actor: string;
}

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
  const flat: (number | bigint)[] = [];
  for (const text of [JSON.stringify(turn.state), turn.message, JSON.stringify(turn.args)]) {
    const lowered = lowerText(exports, text);
    if (typeof lowered === "string") return lowered;
    flat.push(...lowered);
  }
  // Capabilities: a list without entries, which still has an aligned place.
  flat.push(exports.cabi_realloc(0, 0, 4, 0), 0, BigInt(turn.now));
  for (const text of [turn.seed, turn.actor]) {
    const lowered = lowerText(exports, text);
    if (typeof lowered === "string") return lowered;
    flat.push(...lowered);
  }
  return liftResult(exports, exports.handle(...flat) >>> 0, output_bytes_max);
}

function lowerText(
  { memory, cabi_realloc }: CanonicalExports,
  text: string,
): readonly [number, number] | string {
  const bytes = utf8(text);
  const ptr = cabi_realloc(0, 0, 1, bytes.length) >>> 0;
  if (ptr + bytes.length > memory.buffer.byteLength)
    return `cabi_realloc answered ${bytes.length} bytes at ${ptr}, which is outside its memory`;
  new Uint8Array(memory.buffer).set(bytes, ptr);
  return [ptr, bytes.length];
}

function liftResult(
  { memory }: CanonicalExports,
  at: number,
  bytes_max: number,
): Uint8Array<ArrayBuffer> | string {
  if (at % 4 !== 0 || at + RESULT_BYTES > memory.buffer.byteLength)
    return `handle answered a result at ${at}, which is unaligned or outside its memory`;
  const result = new Lift(memory.buffer, at, bytes_max);
  const failed = result.discriminant(0);
  const members = failed
    ? {
        error: `{"code":${JSON.stringify(result.text(AT.code))},"detail":${JSON.stringify(result.text(AT.detail))}}`,
      }
    : {
        reply: result.json(AT.reply),
        state: result.discriminant(AT.state) ? result.json(AT.state + 4) : undefined,
        become: result.discriminant(AT.become) ? JSON.stringify(result.text(AT.become + 4)) : undefined,
      };
  if (result.problem !== undefined) return result.problem;
  const present = Object.entries(members).filter(([, text]) => text !== undefined);
  return utf8(`{${present.map(([name, text]) => `"${name}":${text}`).join(",")}}`);
}

/** Reads one result; the first thing that is wrong is kept. */
class Lift {
  problem: string | undefined;
  readonly #view: DataView;
  readonly #at: number;
  #bytes_left: number;

  constructor(memory: ArrayBuffer, at: number, bytes_max: number) {
    this.#view = new DataView(memory);
    this.#at = at;
    this.#bytes_left = bytes_max;
  }

  discriminant(offset: number): boolean {
    const found = this.#view.getUint8(this.#at + offset);
    if (found > 1) this.#fail(`handle answered a variant ${found}, of which there are 2`);
    return found === 1;
  }

  text(offset: number): string {
    const ptr = this.#view.getUint32(this.#at + offset, true);
    const length = this.#view.getUint32(this.#at + offset + 4, true);
    if (this.problem !== undefined) return "";
    this.#bytes_left -= length;
    if (this.#bytes_left < 0) return this.#fail("handle answered more bytes than may be");
    if (ptr + length > this.#view.byteLength)
      return this.#fail(`handle answered ${length} bytes at ${ptr}, which is outside its memory`);
    const bytes = new Uint8Array(this.#view.buffer, ptr, length).slice();
    return fromUtf8(bytes) ?? this.#fail("handle answered a string that is not UTF-8");
  }

  /** Text of one JSON value: it must not be able to be anything else where it is put together. */
  json(offset: number): string {
    const text = this.text(offset);
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
