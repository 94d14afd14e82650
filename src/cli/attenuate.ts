/** `postern attenuate`: narrows a token, offline. Nobody needs to be asked, and nobody can widen it again. */
import { isRefusal } from "../errors.ts";
import { narrow } from "../narrow.ts";
import { type Command, UsageProblem } from "./command.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { holdingOf } from "./token-holder.ts";
import { readSoleToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";
import { printToken, TOKEN_OUTPUT, TOKEN_OUTPUT_HELP } from "./token-output.ts";

export const attenuate: Command = {
  name: "attenuate",
  summary: "narrow a token, offline",
  usage: "[--token FILE] [--message a,b] [--protocol EXPRESSION] [--expires 15m] …",
  options: { ...TOKEN_OPTIONS, ...TOKEN_INPUT, ...TOKEN_OUTPUT },
  help: { ...TOKEN_HELP, ...TOKEN_INPUT_HELP, ...TOKEN_OUTPUT_HELP },
  async run(environment, values) {
    const caveats = caveatsFromFlags(environment, values);
    if (caveats instanceof UsageProblem) return caveats;
    if (caveats.length === 0)
      return new UsageProblem("nothing to add: give --message, --protocol, --expires …");
    const wide = await readSoleToken(environment, values);
    if (wide instanceof UsageProblem || isRefusal(wide)) return wide;
    const macaroon = narrow(wide, caveats);
    if (isRefusal(macaroon)) return macaroon;
    if (holdingOf(macaroon).contradictory && !holdingOf(wide).contradictory)
      return new UsageProblem(
        "the token is bound to another key already, and bound to two it is nobody's; " +
          "its holder can hand it on with `postern delegate`",
      );
    return printToken(macaroon, values);
  },
};
