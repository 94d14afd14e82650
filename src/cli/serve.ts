/** `postern serve`: runs a node until it is stopped. Standard output carries one JSON document a line. */
import { isRefusal, type Refusal } from "../errors.ts";
import { type Commission, commissionOf, endSupervised, Supervised } from "../server/supervision.ts";
import { Supervisor } from "../server/supervisor.ts";
import type { Server } from "../server.ts";
import {
  type Command,
  type Environment,
  EXIT,
  type Outcome,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
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
    const commission = commissionOf(environment.env);
    if (commission === undefined) return supervise(environment);
    const supervised = new Supervised();
    const opened = await openStore(environment, values, "serve");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    // Whoever published something else since the start meant it.
    const published = commission.restarted ? undefined : await publishFirst(opened, environment, values);
    if (published !== undefined) {
      await opened.store.close();
      return published;
    }
    return run(opened, environment, options, supervised, commission);
  },
  ended(environment, exitCode) {
    if (commissionOf(environment.env) !== undefined) endSupervised(exitCode);
  },
};

/** Runs the same command in a process that can be killed. */
async function supervise(environment: Environment): Promise<Outcome> {
  const supervisor = new Supervisor({
    command: [...process.execArgv, ...process.argv.slice(1)],
    env: environment.env,
    event: (event, detail, facts) => {
      const time = new Date(environment.now_ms()).toISOString();
      environment.write(`${JSON.stringify({ time, event, ...facts, detail })}\n`);
    },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => supervisor.stop(signal));
  const exitCode = (await supervisor.run()) ?? EXIT.unavailable;
  return { json: {}, text: "", printed: true, exitCode };
}

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
  options: NodeOptions,
  supervised: Supervised,
  { port = options.port, blamed }: Commission,
): Promise<Outcome> {
  const { startServer } = await import("../server.ts");
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
