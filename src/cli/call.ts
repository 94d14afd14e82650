/** `postern call`: signs one message and sends it. */
import { fetch } from "undici";
import { utf8 } from "../bytes.ts";
import { isRefusal, refuse } from "../errors.ts";
import { type Json, parseJson } from "../json.ts";
import { type CallOutcome, send, signCall } from "../sdk/client.ts";
import { parseIdentifier } from "../token/macaroon.ts";
import { type Command, type Outcome, printableLines, text, UsageProblem } from "./command.ts";
import { messageOf, readSigner } from "./inputs.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

export const DEFAULT_URL = "http://127.0.0.1:8787";

export const call: Command = {
  name: "call",
  summary: "sign a message and send it",
  usage: "type/id MESSAGE [JSON] --key FILE [--token FILE] [--url URL]",
  positionals: 3,
  options: {
    ...TOKEN_INPUT,
    key: { type: "string" },
    url: { type: "string" },
    "idempotency-key": { type: "string" },
    "timeout-ms": { type: "string" },
  },
  help: {
    ...TOKEN_INPUT_HELP,
    key: "file with the holder's secret key",
    url: `where the gate is (default ${DEFAULT_URL})`,
    "idempotency-key": "repeat an earlier call under its key (default: a fresh one)",
    "timeout-ms": "give up before the call runs, after so long",
  },
  async run(environment, values, [actor, message, json = "{}"]) {
    const keyFile = text(values, "key");
    if (actor === undefined || message === undefined || keyFile === undefined)
      return new UsageProblem("type/id, MESSAGE and --key FILE are needed");
    const args = parseJson(utf8(json));
    if (isRefusal(args)) return new UsageProblem(`the arguments are not JSON: ${args.detail}`);
    const signer = await readSigner(environment, keyFile);
    if (signer instanceof UsageProblem) return signer;
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const tenant = parseIdentifier(input.macaroon.identifier)?.tenant;
    if (tenant === undefined) return refuse("token_invalid", "the token's identifier names no tenant");

    const random = (length: number): Uint8Array => environment.random(length);
    const caller = {
      url: text(values, "url") ?? DEFAULT_URL,
      token: input.text,
      signer,
      now_ms: () => environment.now_ms(),
      random,
    };
    const timeout = text(values, "timeout-ms");
    if (timeout !== undefined && !/^[1-9][0-9]*$/.test(timeout))
      return new UsageProblem("--timeout-ms must be a whole number of milliseconds");
    if (!URL.canParse(caller.url)) return new UsageProblem("--url is no URL");
    const idempotencyKey = text(values, "idempotency-key");
    return sendCall(caller, {
      tenant,
      actor,
      message,
      args: args.value,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...(timeout !== undefined && { timeout_ms: Number(timeout) }),
    });
  },
};

async function sendCall(...input: Parameters<typeof signCall>): Promise<Outcome> {
  let outcome: CallOutcome;
  try {
    outcome = await send(signCall(...input), fetch);
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return refuse("overloaded", `the gate at ${input[0].url} cannot be reached: ${messageOf(cause)}`);
  }
  if ("result" in outcome) return { json: outcome, text: JSON.stringify(outcome.result satisfies Json) };
  const { title, detail, code, enabled, status } = outcome.problem;
  const now = enabled === undefined ? "" : `\nadmitted now: ${enabled.join(", ") || "nothing"}`;
  const shown = printableLines(`${status} ${code}: ${title}\n${detail}${now}`);
  return { json: outcome, text: shown, failed: true, unavailable: status === 503 };
}
