/** `postern split` and `postern restrict`: narrower orders out of a token, offline, that are shown to fit. */
import { isRefusal } from "../errors.ts";
import { restrict as restrictMacaroon, split as splitMacaroon } from "../sdk/split.ts";
import { type Command, messagesOf, text, texts, UsageProblem } from "./command.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { readSoleToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";
import { printToken, TOKEN_OUTPUT, TOKEN_OUTPUT_HELP, tokenTexts } from "./token-output.ts";

const AFTER_HELP = "messages sent before through this token, in order (default: none)";

export const split: Command = {
  name: "split",
  summary: "make tokens for parts of a token's order that never refuse each other, offline",
  usage: "[--token FILE] --protocol P1 --protocol P2 … [--after a,b] [--expires 15m] …",
  options: {
    ...TOKEN_OPTIONS,
    ...TOKEN_INPUT,
    ...TOKEN_OUTPUT,
    protocol: { type: "string", multiple: true },
    after: { type: "string" },
  },
  help: {
    ...TOKEN_HELP,
    ...TOKEN_INPUT_HELP,
    ...TOKEN_OUTPUT_HELP,
    protocol: "expression: the order of one part; given for each part",
    after: AFTER_HELP,
  },
  async run(environment, values) {
    const protocols = texts(values, "protocol");
    if (protocols.length < 2) return new UsageProblem("--protocol is needed for each part, twice or more");
    const { protocol: _, ...others } = values;
    const caveats = caveatsFromFlags(environment, others);
    if (caveats instanceof UsageProblem) return caveats;
    const wide = await readSoleToken(environment, values);
    if (wide instanceof UsageProblem || isRefusal(wide)) return wide;
    const random = (length: number) => environment.random(length);
    const parts = splitMacaroon(wide, protocols, {
      after: messagesOf(values, "after"),
      caveats,
      random,
    });
    if (isRefusal(parts)) return parts;
    const tokens = tokenTexts(parts, values);
    if (tokens instanceof UsageProblem || isRefusal(tokens)) return tokens;
    return { json: { tokens }, text: tokens.join("\n") };
  },
};

export const restrict: Command = {
  name: "restrict",
  summary: "narrow a token to an order that fits its own, offline",
  usage: "[--token FILE] --protocol EXPRESSION [--after a,b] [--expires 15m] …",
  options: { ...TOKEN_OPTIONS, ...TOKEN_INPUT, ...TOKEN_OUTPUT, after: { type: "string" } },
  help: { ...TOKEN_HELP, ...TOKEN_INPUT_HELP, ...TOKEN_OUTPUT_HELP, after: AFTER_HELP },
  async run(environment, values) {
    const protocol = text(values, "protocol");
    if (protocol === undefined) return new UsageProblem("--protocol EXPRESSION is needed");
    const { protocol: _, ...others } = values;
    const caveats = caveatsFromFlags(environment, others);
    if (caveats instanceof UsageProblem) return caveats;
    const wide = await readSoleToken(environment, values);
    if (wide instanceof UsageProblem || isRefusal(wide)) return wide;
    const macaroon = restrictMacaroon(wide, protocol, {
      after: messagesOf(values, "after"),
      caveats,
    });
    return isRefusal(macaroon) ? macaroon : printToken(macaroon, values);
  },
};
