/** A token from a file or standard input, decoded, with the discharges that came with it. */
import { isRefusal, type Refusal } from "../errors.ts";
import { decodeTokens, encodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";
import { type Environment, text, UsageProblem, type Values } from "./command.ts";
import { readSecretText } from "./inputs.ts";

export const TOKEN_INPUT = { token: { type: "string" } } as const;
export const TOKEN_INPUT_HELP = { token: "file with the token (default: standard input)" };

export interface TokenInput {
  readonly macaroon: Macaroon;
  readonly discharges: readonly Macaroon[];
  /** All of them as a request carries them. */
  readonly text: string;
}

/** In any format that a gate reads, and v2 JSON as it stands. */
export async function readToken(
  environment: Environment,
  values: Values,
): Promise<TokenInput | UsageProblem | Refusal> {
  const content = await readSecretText(environment, text(values, "token"));
  if (content instanceof UsageProblem) return content;
  const tokens = decodeTokens(content);
  if (isRefusal(tokens)) return tokens;
  const [macaroon, ...discharges] = tokens;
  return { macaroon, discharges, text: tokens.map(encodeToken).join(",") };
}

/** A token that is to be narrowed: discharges that came with it would be worth nothing beside the new one. */
export async function readSoleToken(
  environment: Environment,
  values: Values,
): Promise<Macaroon | UsageProblem | Refusal> {
  const input = await readToken(environment, values);
  if (input instanceof UsageProblem || isRefusal(input)) return input;
  return input.discharges.length === 0
    ? input.macaroon
    : new UsageProblem(
        "discharges are bound to the token as it is: narrow the token alone, and discharge the new one",
      );
}
