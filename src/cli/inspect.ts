/** `postern inspect`: what a token says, caveat by caveat. Offline, unless a store is given to verify it with. */
import { parseCaveat } from "../authorize/caveats.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { readKeyring } from "../tenants.ts";
import { encodeV2 } from "../token/codec-v2.ts";
import { verifyingKey } from "../token/keyring.ts";
import { type Macaroon, parseIdentifier } from "../token/macaroon.ts";
import { verify } from "../token/verify.ts";
import { type Command, type Environment, printable, UsageProblem, type Values } from "./command.ts";
import { openStore } from "./inputs.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP } from "./token-input.ts";

export const inspect: Command = {
  name: "inspect",
  summary: "read a token",
  usage: "[--token FILE] [--store URL]",
  options: { ...TOKEN_INPUT, store: { type: "string" } },
  help: { ...TOKEN_INPUT_HELP, store: "verify it with the keys in this store (default: not checked)" },
  async run(environment, values) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const checked =
      values["store"] === undefined ? "not checked" : await check(input.macaroon, environment, values);
    if (checked instanceof UsageProblem) return checked;

    const identifier = parseIdentifier(input.macaroon.identifier);
    const verified = checked === undefined;
    const caveats = input.macaroon.unsafeCaveats.map(({ cid, vid }, index) => {
      const text = vid === undefined ? printable(fromUtf8(cid) ?? "(not UTF-8)") : "(third party)";
      return { text, verified, known: vid === undefined && !isRefusal(parseCaveat(text, index)) };
    });
    const size_bytes = encodeV2(input.macaroon).length;
    const status = checked === undefined ? "verified" : isRefusal(checked) ? checked.detail : checked;
    const identifierText = printable(fromUtf8(input.macaroon.identifier) ?? "(not UTF-8)");
    return {
      json: {
        identifier: identifierText,
        tenant: identifier?.tenant,
        kid: identifier?.kid,
        caveats,
        size_bytes,
        status,
      },
      text: [
        identifierText,
        ...caveats.map(
          ({ text, known }, index) => `  ${index}  ${text}${known ? "" : "   (unknown: a gate refuses it)"}`,
        ),
        `${size_bytes} bytes; ${status}`,
      ].join("\n"),
      failed: isRefusal(checked),
    };
  },
};

/** @returns `undefined` where the token verifies. */
async function check(
  macaroon: Macaroon,
  environment: Environment,
  values: Values,
): Promise<Refusal | UsageProblem | undefined> {
  const opened = await openStore(environment, values, "read");
  if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
  try {
    const identifier = parseIdentifier(macaroon.identifier);
    if (identifier === undefined) return refuse("token_invalid", "the token's identifier is not Postern's");
    const ring = await readKeyring(opened.store, identifier.tenant, opened.master);
    if (isRefusal(ring)) return ring;
    const key = verifyingKey(ring, identifier.kid);
    if (key === undefined) return refuse("token_invalid", `the token's key ${identifier.kid} is not in use`);
    const token = verify(macaroon, key.secret);
    return isRefusal(token) ? token : undefined;
  } finally {
    await opened.store.close();
  }
}
