/**
 * The other side of `sandbox.vs_extism`: a plugin of Extism's JavaScript SDK that answers one document.
 *
 * Its guest does through Extism's host functions what ours does through memory. Extism meters nothing: neither side
 * computes, so what is compared is a call with all that belongs to it.
 */
import { createPlugin, type Plugin } from "@extism/extism";
import binaryen from "binaryen";

/** A guest whose `run` outputs the document, as text. */
function guest(document: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(document);
  const stores = [...bytes].map(
    (byte, i) => `(call $store (i64.add (local.get $at) (i64.const ${i})) (i32.const ${byte}))`,
  );
  const length = `(i64.const ${bytes.length})`;
  const module = binaryen.parseText(`(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
    (import "extism:host/env" "output_set" (func $output (param i64 i64)))
    (memory (export "memory") 1)
    (func (export "run") (result i32) (local $at i64)
      (local.set $at (call $alloc ${length})) ${stores.join(" ")}
      (call $output (local.get $at) ${length}) (i32.const 0)))`);
  try {
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}

export class ExtismSide {
  readonly #module: WebAssembly.Module;
  readonly #kept: Plugin;

  private constructor(module: WebAssembly.Module, kept: Plugin) {
    this.#module = module;
    this.#kept = kept;
  }

  static async of(document: string): Promise<ExtismSide> {
    const module = new WebAssembly.Module(guest(document));
    return new ExtismSide(module, await createPlugin(module, { useWasi: false }));
  }

  /** A new plugin of the compiled module, which nothing of an earlier call can have touched. @returns the document, parsed */
  async fresh(input: string): Promise<unknown> {
    const plugin = await createPlugin(this.#module, { useWasi: false });
    const output = await plugin.call("run", input);
    await plugin.close();
    return output?.json();
  }

  /** The same plugin again and again: it keeps its guest's memory from call to call. */
  async kept(input: string): Promise<unknown> {
    const output: unknown = (await this.#kept.call("run", input))?.json();
    // Else it fails after some thousand calls.
    await this.#kept.reset();
    return output;
  }

  close(): Promise<void> {
    return this.#kept.close();
  }
}
