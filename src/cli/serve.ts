/** `postern serve`: runs a node, and beside it the small process that watches it, until they are stopped. */
import { commissionOf, endSupervised } from "../server/supervision.ts";
import { Supervisor } from "../server/supervisor.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  EXIT,
  type Outcome,
  UsageProblem,
} from "./command.ts";
import { NODE_HELP, NODE_OPTIONS, readNodeOptions } from "./node-options.ts";

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
    // The supervisor has no use for all that a node is made of.
    const { serveNode } = await import("./serve-node.ts");
    return serveNode(environment, values, options, commission);
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
    unavailable: EXIT.unavailable,
    event: (event, detail, facts) => {
      const time = new Date(environment.now_ms()).toISOString();
      environment.write(`${JSON.stringify({ time, event, ...facts, detail })}\n`);
    },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => supervisor.stop(signal));
  const exitCode = (await supervisor.run()) ?? EXIT.unavailable;
  return { json: {}, text: "", printed: true, exitCode };
}
