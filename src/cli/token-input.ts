/** A token from a file or standard input, decoded. */
import { isRefusal, type Refusal } from "../errors.ts";
import { decodeV1 } from "../token/codec-v1.ts";
import { decodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";
import { type Environment, text, UsageProblem, type Values } from "./command.ts";
import { readSecretText } from "./inputs.ts";

export const TOKEN_INPUT = { token: { type: "string" } } as const;
export const TOKEN_INPUT_HELP = { token: "file with the token (default: standard input)" };

export interface TokenInput {
  readonly macaroon: Macaroon;
  /** As it was read: what a request carries. */
  readonly text: string;
}

export async function readToken(
  environment: Environment,
  values: Values,
): Promise<TokenInput | UsageProblem | Refusal> {
  const content = await readSecretText(environment, text(values, "token"));
  if (content instanceof UsageProblem) return content;
  const macaroon = decodeToken(content, decodeV1);
  return isRefusal(macaroon) ? macaroon : { macaroon, text: content };
}
