/** `postern serve`: runs a node until it is stopped. Standard output carries one JSON document a line. */
import { isRefusal } from "../errors.ts";
import { startServer } from "../server.ts";
import {
  type Command,
  type Environment,
  type Outcome,
  text,
  texts,
  UsageProblem,
  type Values,
} from "./command.ts";
import { DEFAULT_STORE, messageOf, type OpenStore, openStore } from "./inputs.ts";
import { folderFailed, publishAll, readPolicyFolder } from "./policy-folder.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = "8787";

export const serve: Command = {
  name: "serve",
  summary: "run a node",
  usage: "[--policies DIRECTORY] [--store URL] [--host HOST] [--port PORT] [--authority HOST:PORT]",
  options: {
    policies: { type: "string" },
    wasm: { type: "string" },
    store: { type: "string" },
    host: { type: "string" },
    port: { type: "string" },
    authority: { type: "string", multiple: true },
  },
  help: {
    policies: "publish this folder first",
    wasm: "where the built handlers are (default: wasm beside the policies)",
    store: `the node's store: file:DIRECTORY or s3://BUCKET/PREFIX (default ${DEFAULT_STORE})`,
    host: `address to listen on (default ${DEFAULT_HOST})`,
    port: `port to listen on, 0 for any (default ${DEFAULT_PORT})`,
    authority: "a host under which callers address this node, beside loopback; may be repeated",
  },
  async run(environment, values) {
    const port = text(values, "port") ?? DEFAULT_PORT;
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
      return new UsageProblem(`--port ${port} is not a port`);
    const misspelt = texts(values, "authority").find((name) => URL.parse(`http://${name}`)?.host !== name);
    if (misspelt !== undefined)
      return new UsageProblem(
        `--authority ${misspelt} must be a host in lower case, with its port where it has one`,
      );
    const opened = await openStore(environment, values, "serve");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    const published = await publishFirst(opened, environment, values);
    if (published !== undefined) {
      await opened.store.close();
      return published;
    }
    return run(opened, environment, values, Number(port));
  },
};

async function publishFirst(
  opened: OpenStore,
  environment: Environment,
  values: Values,
): Promise<Outcome | undefined> {
  const directory = text(values, "policies");
  if (directory === undefined) return undefined;
  const folder = readPolicyFolder(directory, text(values, "wasm"));
  if (folder instanceof UsageProblem) return folder;
  if (!folder.ok) return folderFailed(folder.problems);
  const changed = await publishAll(folder.tenants, opened, (length) => environment.random(length));
  return isRefusal(changed) ? changed : undefined;
}

async function run(
  opened: OpenStore,
  environment: Environment,
  values: Values,
  port: number,
): Promise<Outcome> {
  // From before the first line on: whoever reads that the node listens may end it at once.
  const interrupted = environment.interrupted();
  let server: Awaited<ReturnType<typeof startServer>>;
  const host = text(values, "host") ?? DEFAULT_HOST;
  try {
    server = await startServer({
      store: opened.store,
      master: opened.master,
      host,
      port,
      authorities: texts(values, "authority"),
      write: (line) => environment.write(line),
    });
  } catch (error) {
    await opened.store.close();
    return new UsageProblem(`cannot listen on ${host}:${port}: ${messageOf(error)}`);
  }
  if (isRefusal(server)) {
    await opened.store.close();
    return server;
  }
  const { url, tenants } = server;
  environment.write(`${JSON.stringify({ event: "listening", url, store: opened.url, tenants })}\n`);
  const served =
    tenants.length === 0 ? "no tenant yet: `postern apply` publishes one" : `tenants: ${tenants.join(", ")}`;
  environment.note(`postern listens on ${url} with ${opened.url} (${served})`);

  const cause = await Promise.race([server.ended, interrupted]);
  // Ctrl-C wants an end now; SIGTERM comes from something that moves traffic away first.
  if (cause === "SIGTERM") environment.note("draining");
  await (cause === "SIGTERM" ? server.stop() : server.stop(0));
  const why = await server.ended;
  const stopped = { event: "stopped", url };
  return why ?? { json: stopped, text: JSON.stringify(stopped) };
}
