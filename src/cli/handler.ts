/** `postern handler VERB`: builds a handler from its source, checks a module, and runs one turn of it. */
import { type Command, type Environment, type Outcome, UsageProblem, type Values } from "./command.ts";
import { buildFolders } from "./handler-build.ts";
import { checkModules } from "./handler-check.ts";
import { runOneTurn } from "./handler-run.ts";

type Verb = (environment: Environment, values: Values, subjects: readonly string[]) => Promise<Outcome>;

const VERBS: Readonly<Record<string, Verb>> = {
  build: buildFolders,
  check: checkModules,
  run: runOneTurn,
};

export const handler: Command = {
  name: "handler",
  summary: "build a handler, check a module, or run one turn of it",
  usage: "build DIRECTORY… | check FILE.wasm… | run FILE.wasm TURN.json",
  positionals: Number.POSITIVE_INFINITY,
  options: {},
  help: {},
  async run(environment, values, [verb = "", ...subjects]) {
    const run = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (run === undefined) return new UsageProblem(`handler does one of ${Object.keys(VERBS).join(", ")}`);
    return run(environment, values, subjects);
  },
};
