/** A node ends in order however little keeps its process alive: exit code 13 would be Node's word for giving up. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../../src/", import.meta.url));

/** Its store answers by timers that keep no process alive, as a client between two attempts does. */
const SCRIPT = `
  import { setTimeout } from "node:timers/promises";
  import { Secret } from "${SRC}secret.ts";
  import { startServer } from "${SRC}server.ts";
  import { memoryStore } from "${SRC}store/memory.ts";

  const inner = memoryStore();
  let isSlow = false;
  const slowly = async (request) => {
    if (isSlow) await setTimeout(20, undefined, { ref: false });
    return request();
  };
  const store = {
    get: (key) => slowly(() => inner.get(key)),
    put: (...put) => slowly(() => inner.put(...put)),
    delete: (key) => slowly(() => inner.delete(key)),
    list: (prefix) => slowly(() => inner.list(prefix)),
    close: () => inner.close(),
  };
  const node = await startServer({
    store,
    master: new Secret(new Uint8Array(32)),
    host: "127.0.0.1",
    port: 0,
    authorities: [],
    shards: 2,
    write: () => {},
  });
  isSlow = true;
  await node.stop(0);
  process.stdout.write("stopped");
`;

it("stops in order where only its store's timers are left", async () => {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", SCRIPT]);
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  expect([code, output]).toEqual([0, "stopped"]);
});
