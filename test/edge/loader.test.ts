/** What is handed to the platform's loader: the bytes that the hash names, and no way out. */
import { expect, it } from "vitest";
import { EdgeHandlers, type LoaderBinding } from "../../src/edge/handlers.ts";
import { loadedWorker } from "../../src/edge/loaded.ts";
import { TURN_FUEL_MAX } from "../../src/limits.ts";
import { hashOf, moduleKey } from "../../src/publish.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { answering, instrumented, TURN } from "../dispatch/guests.ts";

type Code = Awaited<ReturnType<Parameters<LoaderBinding["get"]>[1]>>;

const bytes = instrumented(answering('{"reply":1}'));
const hash = hashOf(bytes);
const bundled = { handlers: new Map(), loaded: "the script", compatibilityDate: "2026-11-01" };
const ALLOWANCE = { fuel: TURN_FUEL_MAX, deadline_ms: Infinity };

/** Runs one turn by a loader that runs the script's own code here. */
async function turn(stored: Uint8Array | undefined, fails = false) {
  const store = memoryStore();
  if (stored !== undefined) await store.put(moduleKey(hash), stored, { ifNoneMatch: "*" });
  const loads: Code[] = [];
  const loader: LoaderBinding = {
    get: (_name, code) => ({
      getEntrypoint: () => ({
        fetch: async (url, init) => {
          const loaded = await code();
          loads.push(loaded);
          const { wasm } = loaded.modules["handler.wasm"] as { wasm: ArrayBuffer };
          if (fails) throw new Error("the isolate has exceeded its memory limit");
          return loadedWorker(new WebAssembly.Module(wasm)).fetch(new Request(url, init));
        },
      }),
    }),
  };
  const run = await new EdgeHandlers(bundled, store, loader).get(hash, "acme");
  return { outcome: await run?.(TURN, ALLOWANCE), loads };
}

it("what is loaded runs, and has neither bindings nor network", async () => {
  const { outcome, loads } = await turn(bytes);
  expect(outcome).toMatchObject({ reply: 1 });
  expect(loads).toMatchObject([
    { globalOutbound: null, env: {}, mainModule: "main.js", modules: { "main.js": { js: "the script" } } },
  ]);
});

it("what is not there, or is something else, is not loaded", async () => {
  for (const stored of [undefined, instrumented(answering('{"reply":2}'))]) {
    const { outcome, loads } = await turn(stored);
    expect(outcome).toMatchObject({
      code: "store_unavailable",
      detail: expect.stringContaining(hash) as string,
    });
    expect(loads).toEqual([]);
  }
});

it("an isolate that ends has trapped", async () => {
  expect((await turn(bytes, true)).outcome).toMatchObject({ code: "handler_trapped" });
});

it("without a loader and unbundled, a handler is not run here", async () => {
  expect(await new EdgeHandlers(bundled, memoryStore(), undefined).get(hash, "acme")).toBeUndefined();
});
