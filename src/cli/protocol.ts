/**
 * `postern protocol VERB`: reads, checks, draws and formats protocols. Each verb is an entry of `VERBS`; `types`
 * belongs there, too.
 */
import { isRefusal } from "../errors.ts";
import { PROTOCOL_BYTES_MAX } from "../limits.ts";
import { parseProtocol } from "../protocol/grammar.ts";
import { formatProtocol, printProtocol } from "../protocol/print.ts";
import { type Command, type Environment, type Outcome, text, UsageProblem, type Values } from "./command.ts";
import { checkProtocol } from "./protocol-check.ts";
import { graphProtocol } from "./protocol-graph.ts";
import { TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

type Verb = (
  environment: Environment,
  values: Values,
  subject: string | undefined,
) => Outcome | Promise<Outcome>;

const VERBS: Readonly<Record<string, Verb>> = {
  check: checkProtocol,
  graph: graphProtocol,
  format: formatExpression,
};

export const protocol: Command = {
  name: "protocol",
  summary: "check, draw or format an order of messages",
  usage:
    "check EXPRESSION|DIRECTORY [--within P] | graph EXPRESSION|ACTOR.yaml|--token FILE | format EXPRESSION",
  positionals: 2,
  options: {
    ...TOKEN_INPUT,
    within: { type: "string" },
    after: { type: "string" },
    of: { type: "string" },
    mermaid: { type: "boolean" },
    svg: { type: "boolean" },
    width: { type: "string" },
  },
  help: {
    within: "check: expression that must admit everything that may be sent",
    ...TOKEN_INPUT_HELP,
    token: "graph: file with a token, whose protocols are drawn as one (- for standard input)",
    after: "graph: messages sent before, in order: where it stands (default: none)",
    of: "graph: protocol or behaviour of an actor's policy (default: behaviour)",
    mermaid: "graph: print Mermaid instead of a drawing",
    svg: "graph: print SVG instead of a drawing",
    width: "graph, format: columns that a line may take (default: the terminal's)",
  },
  async run(environment, values, [verb = "", subject]) {
    const run = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (run === undefined) return new UsageProblem(`protocol does one of ${Object.keys(VERBS).join(", ")}`);
    return run(environment, values, subject);
  },
};

function formatExpression(environment: Environment, values: Values, subject: string | undefined): Outcome {
  if (subject === undefined) return new UsageProblem("format needs an expression");
  const width = widthOf(environment, values);
  if (width instanceof UsageProblem) return width;
  const parsed = parseProtocol(subject);
  if (isRefusal(parsed)) return parsed;
  const canonical = printProtocol(parsed);
  const spaced = formatProtocol(parsed, width);
  // Spaces count, too: what is formatted must still be read.
  const formatted = spaced.length > PROTOCOL_BYTES_MAX ? canonical : spaced;
  return { json: { formatted, canonical }, text: formatted };
}

/** `--width`, or what the terminal has. */
export function widthOf({ columns }: Environment, values: Values): number | UsageProblem {
  const given = text(values, "width");
  if (given === undefined) return columns;
  return /^[1-9]\d{0,4}$/.test(given)
    ? Number(given)
    : new UsageProblem(`--width ${given} is no number of columns`);
}
