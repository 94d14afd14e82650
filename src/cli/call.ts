/** `postern call`: signs a message, a batch or a question, and sends it. */
import { fetch } from "undici";
import { utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { type Json, parseJson } from "../json.ts";
import { readBatch } from "../request/batch.ts";
import {
  type Caller,
  type CallOutcome,
  type Description,
  type SignedQuestion,
  type SignedRequest,
  send,
  signBatch,
  signCall,
  signDescribe,
} from "../sdk/client.ts";
import { parseIdentifier } from "../token/macaroon.ts";
import {
  type Command,
  type Environment,
  flag,
  type Outcome,
  printableLines,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { describedText } from "./description.ts";
import { messageOf, readSecretText, readSigner } from "./inputs.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

export const DEFAULT_URL = "http://127.0.0.1:8787";

export const call: Command = {
  name: "call",
  summary: "sign a message and send it; or a batch, or the question what may be sent",
  usage: "type/id (MESSAGE [JSON] | --batch FILE | --describe) --key FILE [--token FILE] [--url URL]",
  positionals: 3,
  options: {
    ...TOKEN_INPUT,
    key: { type: "string" },
    batch: { type: "string" },
    describe: { type: "boolean" },
    url: { type: "string" },
    "idempotency-key": { type: "string" },
    "timeout-ms": { type: "string" },
  },
  help: {
    ...TOKEN_INPUT_HELP,
    key: "file with the holder's secret key",
    batch: 'file, or - for standard input, with [{"message":"name","args":{}}], all of it done or nothing',
    describe: "ask what this token may send to the actor now",
    url: `where the gate is (default ${DEFAULT_URL})`,
    "idempotency-key": "repeat an earlier call under its key (default: a fresh one)",
    "timeout-ms": "give up before the call runs, after so long",
  },
  async run(environment, values, positionals) {
    const keyFile = text(values, "key");
    const asked = await readAsked(environment, values, positionals);
    if (asked instanceof UsageProblem) return asked;
    if (keyFile === undefined) return new UsageProblem("--key FILE is needed");
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
    if (!URL.canParse(caller.url)) return new UsageProblem("--url is no URL");
    const timeout = text(values, "timeout-ms");
    if (timeout !== undefined && !/^[1-9][0-9]*$/.test(timeout))
      return new UsageProblem("--timeout-ms must be a whole number of milliseconds");
    const idempotencyKey = text(values, "idempotency-key");
    const request = signAsked(caller, asked, {
      tenant,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...(timeout !== undefined && { timeout_ms: Number(timeout) }),
    });
    const outcome = await answered(request);
    return isRefusal(outcome) ? outcome : shown(outcome, asked);
  },
};

/** What is sent to which actor. */
type Asked = { readonly actor: string } & (
  | { readonly kind: "message"; readonly message: string; readonly args: Json }
  | { readonly kind: "batch"; readonly calls: string }
  | { readonly kind: "describe" }
);

async function readAsked(
  environment: Environment,
  values: Values,
  [actor, message, json]: readonly string[],
): Promise<Asked | UsageProblem> {
  const batch = text(values, "batch");
  const kinds = [message !== undefined, batch !== undefined, flag(values, "describe")];
  if (actor === undefined || kinds.filter(Boolean).length !== 1)
    return new UsageProblem("type/id and one of MESSAGE, --batch FILE and --describe are needed");
  if (batch !== undefined) return readCalls(environment, values, actor, batch);
  if (message === undefined) return { kind: "describe", actor };
  const args = parseJson(utf8(json ?? "{}"));
  if (isRefusal(args)) return new UsageProblem(`the arguments are not JSON: ${args.detail}`);
  return { kind: "message", actor, message, args: args.value };
}

/** Read as the gate will read it, so that what is wrong is said before anything is sent. */
async function readCalls(
  environment: Environment,
  values: Values,
  actor: string,
  file: string,
): Promise<Asked | UsageProblem> {
  const tokenFile = text(values, "token") ?? "-";
  if (file === "-" && tokenFile === "-")
    return new UsageProblem("the batch and the token cannot both come from standard input");
  const calls = await readSecretText(environment, file);
  if (calls instanceof UsageProblem) return calls;
  const batch = readBatch(utf8(calls));
  if (!isRefusal(batch)) return { kind: "batch", actor, calls };
  const { call: at, path = "" } = batch.facts;
  const place = at === undefined ? "" : ` at call ${at}${path === "" ? "" : `, ${path}`}`;
  return new UsageProblem(`the batch is refused${place}: ${batch.detail}`);
}

function signAsked(
  caller: Caller,
  asked: Asked,
  common: { readonly tenant: string; readonly idempotencyKey?: string; readonly timeout_ms?: number },
): SignedRequest | SignedQuestion {
  switch (asked.kind) {
    case "message":
      return signCall(caller, { ...common, ...asked });
    case "batch":
      return signBatch(caller, { ...common, ...asked });
    case "describe":
  }
  return signDescribe(caller, { ...common, ...asked });
}

async function answered(request: SignedRequest | SignedQuestion): Promise<CallOutcome | Refusal> {
  try {
    return await send(request, fetch);
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const { origin } = new URL(request.url);
    return refuse("overloaded", `the gate at ${origin} cannot be reached: ${messageOf(cause)}`);
  }
}

function shown(outcome: CallOutcome, { kind }: Asked): Outcome {
  if ("result" in outcome) {
    const { result } = outcome;
    const described = kind === "describe" ? describedText(result as unknown as Description) : undefined;
    return { json: outcome, text: described ?? JSON.stringify(result) };
  }
  const { title, detail, code, enabled, status, call: at } = outcome.problem;
  const where = at === undefined ? "" : `, at call ${at} of the batch`;
  const now = enabled === undefined ? "" : `\nadmitted now: ${enabled.join(", ") || "nothing"}`;
  const changed = (outcome.differs ?? []).map((what) => `\nchanged on the way: ${what}`).join("");
  const problem = printableLines(`${status} ${code}: ${title}${where}\n${detail}${now}${changed}`);
  return { json: outcome, text: problem, failed: true, unavailable: status === 503 };
}
