/**
 * `postern vouch`: a third party's answer without a service, offline: whoever has its key reads what a token asks of it, and
 * writes the discharge. The token may be shown to the third party: it is worth nothing without its holder's key.
 */
import { formatExpiry } from "../authorize/expiry.ts";
import { fromBase64url } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DISCHARGE_LIFETIME_MS } from "../limits.ts";
import { readServiceKey, type ServiceKey } from "../sdk/service-key.ts";
import { mintDischarge } from "../token/discharge.ts";
import { encodeToken } from "../token/envelope.ts";
import { type OpenTicket, openTicket } from "../token/third-party.ts";
import {
  type Command,
  type Environment,
  flag,
  printable,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { readSecretText } from "./inputs.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

const { protocol: _option, ...OPTIONS } = TOKEN_OPTIONS;
const { protocol: _help, ...HELP } = TOKEN_HELP;

export const vouch: Command = {
  name: "vouch",
  summary: "as a third party, read what a token asks of you, and write the discharge; offline",
  usage: "--key FILE [--token FILE | --ticket TICKET] (--show | [--expires 5m] [--uses 1] [--when …] …)",
  options: {
    ...OPTIONS,
    ...TOKEN_INPUT,
    key: { type: "string" },
    ticket: { type: "string" },
    show: { type: "boolean" },
  },
  help: {
    key: "file with the third party's secret key, as `postern keygen --alg x25519` writes it",
    ...TOKEN_INPUT_HELP,
    ticket: "the ticket alone, where one does not have the token",
    show: "print what is asked for, and vouch for nothing",
    ...HELP,
    expires: `${HELP.expires} (default 5m)`,
  },
  async run(environment, values) {
    const key = await readKey(environment, values);
    if (key instanceof UsageProblem) return key;
    const caveats = caveatsFromFlags(environment, values);
    if (caveats instanceof UsageProblem) return caveats;
    const asked = await readAsked(environment, values, key);
    if (asked instanceof UsageProblem || isRefusal(asked)) return asked;
    const conditions = asked.map(({ condition }) => condition);
    if (flag(values, "show"))
      return { json: { conditions }, text: conditions.map((condition) => printable(condition)).join("\n") };

    const expiry = formatExpiry(environment.now_ms() + DISCHARGE_LIFETIME_MS);
    const additions = values["expires"] === undefined ? [expiry, ...caveats] : caveats;
    const discharges: string[] = [];
    for (const { ticket, rootKey } of asked) {
      const discharge = mintDischarge(ticket, rootKey, additions, "");
      if (isRefusal(discharge)) return discharge;
      discharges.push(encodeToken(discharge));
    }
    return { json: { conditions, discharges }, text: discharges.join(",") };
  },
};

interface Asked extends OpenTicket {
  readonly ticket: Uint8Array;
}

async function readKey(environment: Environment, values: Values): Promise<ServiceKey | UsageProblem> {
  const path = text(values, "key");
  if (path === undefined) return new UsageProblem("--key FILE is needed");
  const content = await readSecretText(environment, path);
  if (content instanceof UsageProblem) return content;
  return (
    readServiceKey(content) ??
    new UsageProblem(`${path} holds no secret key as \`postern keygen --alg x25519\` writes them`)
  );
}

/** What is asked of whoever has this key. */
async function readAsked(
  environment: Environment,
  values: Values,
  { secret }: ServiceKey,
): Promise<readonly Asked[] | UsageProblem | Refusal> {
  const tickets = await readTickets(environment, values);
  if (tickets instanceof UsageProblem || isRefusal(tickets)) return tickets;
  const asked = tickets.flatMap((ticket): Asked[] => {
    const open = openTicket(ticket, secret);
    return open === undefined ? [] : [{ ...open, ticket }];
  });
  return asked.length > 0 ? asked : refuse("discharge_denied", "nothing is asked of whoever has this key");
}

async function readTickets(
  environment: Environment,
  values: Values,
): Promise<readonly Uint8Array[] | UsageProblem | Refusal> {
  const given = text(values, "ticket");
  if (given !== undefined) {
    const ticket = fromBase64url(given.trim());
    return ticket === undefined ? new UsageProblem("--ticket is not base64url") : [ticket];
  }
  const input = await readToken(environment, values);
  if (input instanceof UsageProblem || isRefusal(input)) return input;
  return [input.macaroon, ...input.discharges].flatMap(({ unsafeCaveats }) =>
    unsafeCaveats.flatMap(({ cid, vid }) => (vid === undefined ? [] : [cid])),
  );
}
