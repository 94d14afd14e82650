/**
 * A component of the world in wasm/handler.wit, as the one core module that is in it.
 *
 * Whoever builds with component tooling gets the core module wrapped in types. Where it is the only one, the wrapping
 * adds nothing that runs: the gateway calls the module as the canonical ABI says (canonical-abi.ts). A component of
 * several modules, or of other components, is wired together by code that would be the host's: refused.
 * Source: WebAssembly/component-model, design/mvp/Binary.md.
 */
import type { AdmissionProblem } from "./wasm-binary.ts";
import { Reader } from "./wasm-reader.ts";

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const SECTION = { core_module: 1, component: 4, canon: 8, export: 11 } as const;
/** Options of a canonical function: string encodings, the memory, `realloc`, `post-return`; others are of async ones. */
const OPTION = { utf8: 0, latin1_utf16: 2, post_return: 5 } as const;

export function isComponent(bytes: Uint8Array): boolean {
  return HEADER.every((byte, index) => bytes[index] === byte);
}

/** @returns its core module, not checked; it takes time linear in the bytes for every input */
export function coreModuleOf(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | AdmissionProblem {
  const reader = new Reader(bytes, HEADER.length);
  const found: Found = { modules: [], lifted: 0, exports_handle: false };
  while (!reader.done) {
    const id = reader.byte();
    const length = reader.u32();
    const section = new Reader(bytes, reader.at, Math.min(reader.at + length, bytes.length));
    const at = reader.at;
    reader.skip(length);
    if (reader.failure !== undefined)
      return { code: "module_invalid", detail: `the component: ${reader.failure}` };
    const strange = readSection(found, id, section);
    if (strange !== undefined) return unsupported(`${strange}, at byte ${at}`);
  }
  const { modules, lifted, exports_handle } = found;
  const [module] = modules;
  if (module === undefined) return unsupported("it has no core module");
  if (modules.length > 1)
    return unsupported(
      `it is made of ${modules.length} core modules, most likely because it uses WASI; build it without ` +
        "(wasm32-unknown-unknown, or a toolchain's way to leave WASI out)",
    );
  if (lifted !== 1) return unsupported(`it lifts ${lifted} functions, where the world has one`);
  return exports_handle ? module : unsupported("it exports no handle");
}

/** What was read of a component so far. */
interface Found {
  readonly modules: Uint8Array<ArrayBuffer>[];
  lifted: number;
  exports_handle: boolean;
}

/** @returns what is not supported of it */
function readSection(found: Found, id: number, section: Reader): string | undefined {
  switch (id) {
    case SECTION.core_module:
      found.modules.push(section.bytes.slice(section.at, section.end));
      return undefined;
    case SECTION.component:
      return "it has another component inside";
    case SECTION.canon:
      return readCanon(found, section);
    case SECTION.export:
      // The first one: a world with one function has no other.
      section.skip(2);
      found.exports_handle ||= section.name() === "handle";
      return undefined;
  }
  return undefined;
}

function unsupported(why: string): AdmissionProblem {
  return { code: "component_unsupported", detail: `the component is not one plain core module: ${why}` };
}

/** What is there beside lifted functions with UTF-8 strings. */
function readCanon(found: Found, reader: Reader): string | undefined {
  for (let left = reader.u32(); left > 0 && reader.failure === undefined; left--) {
    if (reader.byte() !== 0 || reader.byte() !== 0) return "it takes functions or resources of its host";
    found.lifted++;
    reader.u32();
    for (let options = reader.u32(); options > 0 && reader.failure === undefined; options--) {
      const option = reader.byte();
      if (option > OPTION.utf8 && option <= OPTION.latin1_utf16) return "its strings are not UTF-8";
      if (option > OPTION.post_return) return "its functions are asynchronous";
      if (option > OPTION.latin1_utf16) reader.u32();
    }
    reader.u32();
  }
  return reader.failure;
}
