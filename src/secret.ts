/**
 * A secret in memory: root keys, master keys, holder keys.
 *
 * Whatever prints it, joins it or serialises it shows `[secret]` (law 7). Only `expose` gives the bytes, so that
 * a search for that word finds every place that handles them.
 */
export class Secret {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes);
  }

  expose(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}
