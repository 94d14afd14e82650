/** `postern serve`: runs a node until it is stopped. Standard output carries one JSON document a line. */
import { isRefusal } from "../errors.ts";
import { startServer } from "../server.ts";
import { type Command, type Environment, type Outcome, text, UsageProblem, type Values } from "./command.ts";
import { DEFAULT_STORE, messageOf, type OpenStore, openStore } from "./inputs.ts";
import { NODE_HELP, NODE_OPTIONS, type NodeOptions, readNodeOptions } from "./node-options.ts";
import { folderFailed, publishAll, readPolicyFolder } from "./policy-folder.ts";

export const serve: Command = {
  name: "serve",
  summary: "run a node",
  usage: "[--policies DIRECTORY] [--store URL] [--host HOST] [--port PORT] [--authority HOST:PORT] …",
  options: {
    policies: { type: "string" },
    wasm: { type: "string" },
    store: { type: "string" },
    ...NODE_OPTIONS,
  },
  help: {
    policies: "publish this folder first",
    wasm: "where the built handlers are (default: wasm beside the policies)",
    store: `the node's store: file:DIRECTORY or s3://BUCKET/PREFIX (default ${DEFAULT_STORE})`,
    ...NODE_HELP,
  },
  async run(environment, values) {
    const options = readNodeOptions(values);
    if (options instanceof UsageProblem) return options;
    const opened = await openStore(environment, values, "serve");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    const published = await publishFirst(opened, environment, values);
    if (published !== undefined) {
      await opened.store.close();
      return published;
    }
    return run(opened, environment, options);
  },
};

async function publishFirst(
  opened: OpenStore,
  environment: Environment,
  values: Values,
): Promise<Outcome | undefined> {
  const directory = text(values, "policies");
  if (directory === undefined) return undefined;
  const folder = await readPolicyFolder(directory, text(values, "wasm"));
  if (folder instanceof UsageProblem) return folder;
  if (!folder.ok) return folderFailed(folder.problems);
  const changed = await publishAll(folder.tenants, opened, (length) => environment.random(length));
  return isRefusal(changed) ? changed : undefined;
}

async function run(opened: OpenStore, environment: Environment, options: NodeOptions): Promise<Outcome> {
  // From before the first line on: whoever reads that the node listens may end it at once.
  const interrupted = environment.interrupted();
  let server: Awaited<ReturnType<typeof startServer>>;
  try {
    server = await startServer({
      ...options,
      store: opened.store,
      master: opened.master,
      write: (line) => environment.write(line),
    });
  } catch (error) {
    await opened.store.close();
    return new UsageProblem(`cannot listen on ${options.host}:${options.port}: ${messageOf(error)}`);
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
