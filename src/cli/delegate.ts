/** `postern delegate`: hands a bound token on to another key, offline. */
import { isRefusal } from "../errors.ts";
import { delegate as delegateMacaroon } from "../sdk/delegate.ts";
import { type Command, text, UsageProblem } from "./command.ts";
import { readSigner } from "./inputs.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { readSoleToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";
import { printToken, TOKEN_OUTPUT, TOKEN_OUTPUT_HELP } from "./token-output.ts";

const { holder: _option, ...OPTIONS } = TOKEN_OPTIONS;
const { holder: _help, ...HELP } = TOKEN_HELP;

export const delegate: Command = {
  name: "delegate",
  summary: "hand a token that is bound to your key on to another key, offline",
  usage: "--to PUBLIC_KEY --key FILE [--token FILE] [--message a,b] [--expires 15m] …",
  options: { ...OPTIONS, ...TOKEN_INPUT, ...TOKEN_OUTPUT, to: { type: "string" }, key: { type: "string" } },
  help: {
    to: "public key of the new holder, as `postern keygen` prints it",
    key: "file with the present holder's secret key",
    ...HELP,
    ...TOKEN_INPUT_HELP,
    ...TOKEN_OUTPUT_HELP,
  },
  async run(environment, values) {
    const [to, keyFile] = [text(values, "to"), text(values, "key")];
    if (to === undefined || keyFile === undefined)
      return new UsageProblem("--to PUBLIC_KEY and --key FILE are needed");
    const caveats = caveatsFromFlags(environment, values);
    if (caveats instanceof UsageProblem) return caveats;
    const signer = await readSigner(environment, keyFile);
    if (signer instanceof UsageProblem) return signer;
    const wide = await readSoleToken(environment, values);
    if (wide instanceof UsageProblem || isRefusal(wide)) return wide;
    const macaroon = delegateMacaroon(wide, to, signer, { caveats });
    return isRefusal(macaroon) ? macaroon : printToken(macaroon, values);
  },
};
