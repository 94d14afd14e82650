/**
 * A node with one shard on a store that is further away: `node bench/slow-node.ts STORE_URL LATENCY_MS WINDOW`.
 *
 * Everything but the added latency is what `postern serve` runs. Each message from the parent is answered with how
 * many puts the store has taken so far: all of them, leases and checkpoints too.
 */
import { fromHex } from "../src/bytes.ts";
import { isRefusal } from "../src/errors.ts";
import { Secret } from "../src/secret.ts";
import { startServer } from "../src/server.ts";
import { s3Store } from "../src/store/s3.ts";
import { threadedSqliteStore } from "../src/store/threaded.ts";
import { s3Options } from "../test/support/s3-options.ts";
import { slowStore } from "./slow-store.ts";

const [url = "", latency_ms, window] = process.argv.slice(2);
const master = new Secret(fromHex(process.env["POSTERN_MASTER_KEY"] ?? "") ?? new Uint8Array());
const inner = url.startsWith("s3:")
  ? s3Store(s3Options(url, process.env as Record<string, string>))
  : await threadedSqliteStore(url.slice("file:".length));
const store = slowStore(inner, Number(latency_ms));

const node = await startServer({
  store,
  master,
  host: "127.0.0.1",
  port: 0,
  authorities: [],
  shards: 1,
  window: Number(window),
  write: (line) => void process.stdout.write(line),
});
if (isRefusal(node)) throw new Error(node.detail);
process.stdout.write(`${JSON.stringify({ event: "listening", url: node.url })}\n`);
process.on("message", () => process.send?.({ puts: store.puts }));
process.once("SIGINT", () => void node.stop(0).then(() => process.exit()));
