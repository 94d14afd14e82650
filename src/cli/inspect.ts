/** `postern inspect`: what a token says, caveat by caveat. Offline, unless a store is given to verify it with. */
import { parseCaveat } from "../authorize/caveats.ts";
import { fromUtf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { TOKEN_LENGTH_COMFORTABLE } from "../limits.ts";
import { readKeyring } from "../tenants.ts";
import { encodeV2 } from "../token/codec-v2.ts";
import { verifyingKey } from "../token/keyring.ts";
import { type Macaroon, parseIdentifier } from "../token/macaroon.ts";
import { verify } from "../token/verify.ts";
import {
  type Command,
  type Environment,
  printable,
  shortened,
  UsageProblem,
  type Values,
} from "./command.ts";
import { openStore } from "./inputs.ts";
import { holdingOf } from "./token-holder.ts";
import { readToken, TOKEN_INPUT, TOKEN_INPUT_HELP, type TokenInput } from "./token-input.ts";

export const inspect: Command = {
  name: "inspect",
  summary: "read a token",
  usage: "[--token FILE] [--store URL]",
  options: { ...TOKEN_INPUT, store: { type: "string" } },
  help: { ...TOKEN_INPUT_HELP, store: "verify it with the keys in this store (default: not checked)" },
  async run(environment, values) {
    const input = await readToken(environment, values);
    if (input instanceof UsageProblem || isRefusal(input)) return input;
    const checked = values["store"] === undefined ? "not checked" : await check(input, environment, values);
    if (checked instanceof UsageProblem) return checked;
    const status = checked === undefined ? "verified" : isRefusal(checked) ? checked.detail : checked;

    const root = describe(input.macaroon, checked === undefined);
    const discharges = input.discharges.map((discharge) => describe(discharge, false));
    const warnings = warningsOf(input, environment.now_ms());
    const identifier = parseIdentifier(input.macaroon.identifier);
    return {
      json: {
        identifier: root.identifier,
        tenant: identifier?.tenant,
        kid: identifier?.kid,
        caveats: root.caveats,
        size_bytes: root.size_bytes,
        status,
        ...(discharges.length > 0 && { discharges }),
        warnings,
      },
      text: [
        linesOf(root),
        `${root.size_bytes} bytes; ${status}`,
        ...discharges.flatMap((discharge) => ["with the discharge", linesOf(discharge)]),
        ...warnings.map((warning) => `warning: ${warning}`),
      ].join("\n"),
      failed: isRefusal(checked),
    };
  },
};

interface Described {
  readonly identifier: string;
  readonly caveats: readonly { readonly text: string; readonly verified: boolean; readonly known: boolean }[];
  readonly size_bytes: number;
}

function describe(macaroon: Macaroon, verified: boolean): Described {
  const caveats = macaroon.unsafeCaveats.map(({ cid, vid, location }, index) => {
    const text = printable(vid === undefined ? (fromUtf8(cid) ?? "(not UTF-8)") : thirdParty(location));
    return { text, verified, known: vid === undefined && !isRefusal(parseCaveat(text, index)) };
  });
  const identifier = printable(fromUtf8(macaroon.identifier) ?? "(not UTF-8)");
  return { identifier, caveats, size_bytes: encodeV2(macaroon).length };
}

const thirdParty = (location: string | undefined): string =>
  location === undefined ? "(third party)" : `(third party at ${location})`;

function linesOf({ identifier, caveats }: Described): string {
  const width = String(Math.max(0, caveats.length - 1)).length;
  const lines = caveats.map(({ text, known }, index) => {
    const unknown = known || text.startsWith("(third party") ? "" : "   (unknown: a gate refuses it)";
    return `  ${String(index).padStart(width)}  ${shortened(text)}${unknown}`;
  });
  return [identifier, ...lines].join("\n");
}

/** What its owner will want to know before a gate says so. */
function warningsOf({ macaroon, text }: TokenInput, now_ms: number): readonly string[] {
  const warnings: string[] = [];
  const over = macaroon.unsafeCaveats
    .map(({ cid }, index) => parseCaveat(fromUtf8(cid) ?? "", index))
    .find((caveat) => !isRefusal(caveat) && caveat.expires_ms !== undefined && caveat.expires_ms <= now_ms);
  if (over !== undefined && !isRefusal(over)) warnings.push(`it has expired: ${over.text}`);
  const { key, contradictory } = holdingOf(macaroon);
  if (contradictory) warnings.push("its holder caveats contradict each other: nobody can use it");
  else if (key === undefined) warnings.push("it is bound to no key: whoever has it can use it");
  if (text.length > TOKEN_LENGTH_COMFORTABLE)
    warnings.push(
      `as text it has ${text.length} characters: many servers and proxies take no header past 4 to 8 KB`,
    );
  return warnings;
}

/** @returns `undefined` where the token verifies. */
async function check(
  { macaroon }: TokenInput,
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
