/** The node of `postern serve`, until it is told to stop. Standard output carries one JSON document a line. */
import { isRefusal, type Refusal } from "../errors.ts";
import { type Commission, Supervised } from "../server/supervision.ts";
import { type Server, startServer } from "../server.ts";
import { type Environment, type Outcome, text, UsageProblem, type Values } from "./command.ts";
import { messageOf, type OpenStore, openStore } from "./inputs.ts";
import type { NodeOptions } from "./node-options.ts";
import { folderFailed, publishAll, readPolicyFolder } from "./policy-folder.ts";

export async function serveNode(
  environment: Environment,
  values: Values,
  options: NodeOptions,
  commission: Commission,
): Promise<Outcome> {
  const supervised = new Supervised();
  const opened = await openStore(environment, values, "serve");
  if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
  // Whoever has published something else since the start meant it.
  const published = commission.restarted ? undefined : await publishFirst(opened, environment, values);
  if (published !== undefined) {
    await opened.store.close();
    return published;
  }
  return run(opened, environment, options, supervised, commission);
}

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

async function run(
  opened: OpenStore,
  environment: Environment,
  options: NodeOptions,
  supervised: Supervised,
  { port = options.port, blamed }: Commission,
): Promise<Outcome> {
  let server: Server | Refusal;
  try {
    server = await startServer({
      ...options,
      port,
      blamed,
      store: opened.store,
      master: opened.master,
      write: (line) => environment.write(line),
    });
  } catch (error) {
    await opened.store.close();
    return new UsageProblem(`cannot listen on ${options.host}:${port}: ${messageOf(error)}`);
  }
  if (isRefusal(server)) {
    await opened.store.close();
    return server;
  }
  const { url, tenants } = server;
  const { pid } = process;
  supervised.listens(url, () => server.beat());
  environment.write(`${JSON.stringify({ event: "listening", url, store: opened.url, tenants, pid })}\n`);
  const served =
    tenants.length === 0 ? "no tenant yet: `postern apply` publishes one" : `tenants: ${tenants.join(", ")}`;
  environment.note(`postern listens on ${url} with ${opened.url} (${served})`);

  const cause = await Promise.race([server.ended, supervised.stopped]);
  // Ctrl-C wants an end now; SIGTERM comes from something that moves traffic away first.
  if (cause === "SIGTERM") environment.note("draining");
  await (cause === "SIGTERM" ? server.stop() : server.stop(0));
  const why = await server.ended;
  const stopped = { event: "stopped", url };
  return why ?? { json: stopped, text: JSON.stringify(stopped) };
}
