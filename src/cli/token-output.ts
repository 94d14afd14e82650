/** A token as a command prints it: Postern's own form, or one for another macaroon library. */
import { toBase64url } from "../bytes.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { encodeJson } from "../token/codec-json.ts";
import { encodeV1 } from "../token/codec-v1.ts";
import { encodeV2 } from "../token/codec-v2.ts";
import { encodeToken } from "../token/envelope.ts";
import type { Macaroon } from "../token/macaroon.ts";
import { type Outcome, text, UsageProblem, type Values } from "./command.ts";

type Format = "pst" | "v1" | "v2" | "json";

const ENCODERS: Readonly<Record<Format, (macaroon: Macaroon) => string | Refusal>> = {
  pst: encodeToken,
  v1(macaroon) {
    const packets = encodeV1(macaroon);
    return isRefusal(packets) ? packets : toBase64url(packets);
  },
  v2: (macaroon) => toBase64url(encodeV2(macaroon)),
  json: encodeJson,
};

export const TOKEN_OUTPUT = { format: { type: "string" } } as const;
export const TOKEN_OUTPUT_HELP = {
  format: "pst, or for other libraries v2, v1 (base64url) or json (v2 JSON) (default pst)",
};

/** What a command that makes one token ends with. */
export function printToken(macaroon: Macaroon, values: Values): Outcome {
  const texts = tokenTexts([macaroon], values);
  if (texts instanceof UsageProblem || isRefusal(texts)) return texts;
  const [token = ""] = texts;
  return { json: { token }, text: token };
}

/** One text for each token, in the format that `--format` names. */
export function tokenTexts(
  macaroons: readonly Macaroon[],
  values: Values,
): readonly string[] | UsageProblem | Refusal {
  const format = text(values, "format") ?? "pst";
  if (!isFormat(format)) return new UsageProblem(`--format ${format} is none of pst, v2, v1 and json`);
  const texts: string[] = [];
  for (const macaroon of macaroons) {
    const encoded = ENCODERS[format](macaroon);
    if (isRefusal(encoded)) return encoded;
    texts.push(encoded);
  }
  return texts;
}

function isFormat(name: string): name is Format {
  return Object.hasOwn(ENCODERS, name);
}
