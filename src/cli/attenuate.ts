/** `postern attenuate`: narrows a token, offline. Nobody needs to be asked, and nobody can widen it again. */
import { isRefusal } from "../errors.ts";
import { attenuate as narrow } from "../token/chain.ts";
import { encodeToken } from "../token/envelope.ts";
import { type Command, UsageProblem } from "./command.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

export const attenuate: Command = {
  name: "attenuate",
  summary: "narrow a token, offline",
  usage: "[--token FILE] [--message a,b] [--protocol EXPRESSION] [--expires 15m] …",
  options: { ...TOKEN_OPTIONS, ...TOKEN_INPUT },
  help: { ...TOKEN_HELP, ...TOKEN_INPUT_HELP },
  async run(environment, values) {
    const caveats = caveatsFromFlags(environment, values);
    if (caveats instanceof UsageProblem) return caveats;
    if (caveats.length === 0)
      return new UsageProblem("nothing to add: give --message, --protocol, --expires …");
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const macaroon = narrow(input.macaroon, caveats);
    if (isRefusal(macaroon)) return macaroon;
    const token = encodeToken(macaroon);
    return { json: { token }, text: token };
  },
};
