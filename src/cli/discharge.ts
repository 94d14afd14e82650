/** `postern discharge`: fetches what a token's third parties vouch for, and prints token and discharges as they are sent. */
import { fetch } from "undici";
import { sameBytes } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { DISCHARGE_PATIENCE_MS } from "../limits.ts";
import { Discharges } from "../sdk/discharges.ts";
import { bindDischarge } from "../token/discharge.ts";
import { decodeTokens, encodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";
import { isLocation } from "../token/third-party.ts";
import {
  type Command,
  type Environment,
  type Outcome,
  text,
  texts,
  UsageProblem,
  type Values,
} from "./command.ts";
import { parseDuration } from "./duration.ts";
import { readSecretText } from "./inputs.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

export const discharge: Command = {
  name: "discharge",
  summary: "get a token's discharges from its third parties, and bind them to it",
  usage: "[--token FILE] (--service URL … [--timeout 2m] | --bind FILE)",
  options: {
    ...TOKEN_INPUT,
    service: { type: "string", multiple: true },
    timeout: { type: "string" },
    bind: { type: "string" },
  },
  help: {
    ...TOKEN_INPUT_HELP,
    service: "a third party that you trust to be asked, as the caveat has its address; may be repeated",
    timeout: "how long to wait for one decision (default 2m)",
    bind: "file with discharges that you have already, joined by commas: nobody is asked",
  },
  async run(environment, values) {
    const [services, bind] = [texts(values, "service"), text(values, "bind")];
    const patience_ms = parseDuration(text(values, "timeout") ?? `${DISCHARGE_PATIENCE_MS}ms`);
    if (patience_ms === undefined) return new UsageProblem("--timeout must be a duration such as 30s or 5m");
    if (bind !== undefined && services.length > 0)
      return new UsageProblem("--service and --bind exclude each other");
    const wrong = services.find((location) => !isLocation(location));
    if (wrong !== undefined) return new UsageProblem(`--service ${wrong} is no http or https URL`);
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    // Discharges that came with it are fetched anew.
    const root = input.macaroon;
    const token =
      bind === undefined
        ? await fetchAll(environment, root, services, patience_ms)
        : await bindAll(environment, values, root, bind);
    return typeof token === "string" ? { json: { token }, text: token } : token;
  },
};

async function fetchAll(
  environment: Environment,
  root: Macaroon,
  services: readonly string[],
  patience_ms: number,
): Promise<string | Refusal> {
  const discharges = new Discharges({
    services: services.map((location) => ({ location })),
    fetch,
    now_ms: () => environment.now_ms(),
    random: (length) => environment.random(length),
    pause: (ms) => {
      environment.status("waiting for a third party to decide");
      return environment.pause(ms);
    },
    patience_ms,
  });
  const token = await discharges.complete(encodeToken(root));
  environment.status("");
  if (!isRefusal(token) || token.facts.discharges === undefined) return token;
  return refuse(token.code, `${token.detail}: say --service for those that you trust`, token.facts);
}

async function bindAll(
  environment: Environment,
  values: Values,
  root: Macaroon,
  file: string,
): Promise<string | Outcome> {
  if (file === "-" && (text(values, "token") ?? "-") === "-")
    return new UsageProblem("the discharges and the token cannot both come from standard input");
  const content = await readSecretText(environment, file);
  if (content instanceof UsageProblem) return content;
  const discharges = decodeTokens(content);
  if (isRefusal(discharges)) return discharges;
  const asking = [root, ...discharges].flatMap(({ unsafeCaveats }) => unsafeCaveats);
  const strange = discharges.findIndex(
    ({ identifier }) => !asking.some(({ cid, vid }) => vid !== undefined && sameBytes(cid, identifier)),
  );
  if (strange >= 0)
    return refuse("token_invalid", `discharge ${strange + 1} is for no third party of the token`, {
      token: strange + 1,
    });
  return [root, ...discharges.map((each) => bindDischarge(each, root))].map(encodeToken).join(",");
}
