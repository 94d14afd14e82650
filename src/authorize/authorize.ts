/**
 * Asks every caveat of a verified token about one access.
 *
 * All caveats are read and asked, in chain order; none is ever skipped (law 2). What a token must carry to be
 * used at all (`actor`, `expires`, `holder` where the tenant requires it) is required here as well as at mint,
 * because whoever shares the tenant's key could mint with other tools.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_CAVEATS_MAX } from "../limits.ts";
import type { VerifiedMacaroon } from "../token/macaroon.ts";
import { type Access, type Caveat, type CaveatName, parseCaveat } from "./caveats.ts";

/** A protocol caveat whose monitor must admit the message before the call has an effect. */
export interface ProtocolClaim {
  readonly index: number;
  readonly text: string;
  /** The expression, without its label. */
  readonly expression: string;
  /** The chain signature at the caveat: a secret, from which the monitor's id is derived. */
  readonly tail: Uint8Array;
  /** From here on no token with this caveat passes, so its monitor may be forgotten. */
  readonly until_ms: number | undefined;
}

export interface Grant {
  /** What is public of the root token: its nonce. Only the tenant can mint another. */
  readonly root: string;
  /** The token's last chain signature: a secret, from which a digest that names the token is derived. */
  readonly tail: Uint8Array;
  readonly protocols: readonly ProtocolClaim[];
  /** Messages that `message` caveats leave; `undefined` where none restricts them. */
  readonly messages: ReadonlySet<string> | undefined;
  /** The earliest `expires` of all; `undefined` where there is none. */
  readonly expires_ms: number | undefined;
}

export interface Requirements {
  readonly holder: "required" | "optional";
}

/** Refusals: `unknown_caveat`, `caveat_denied`, `token_expired`, `token_invalid`. */
export function authorize(
  token: VerifiedMacaroon,
  access: Access,
  requirements: Requirements,
): Grant | Refusal {
  const protocols: ProtocolClaim[] = [];
  const names = new Set<CaveatName>();
  let messages: ReadonlySet<string> | undefined;
  let until_ms: number | undefined;

  for (const { index, text, tail } of token.caveats) {
    const caveat = parseCaveat(text, index);
    if (isRefusal(caveat)) return caveat;
    const denied = ask(caveat, access, index);
    if (denied !== undefined) return denied;
    names.add(caveat.name);
    if (caveat.expires_ms !== undefined) until_ms = Math.min(until_ms ?? Infinity, caveat.expires_ms);
    if (caveat.messages !== undefined) messages = messages?.intersection(caveat.messages) ?? caveat.messages;
    if (caveat.protocol !== undefined && protocols.length === PROTOCOL_CAVEATS_MAX)
      return refuse("unknown_caveat", `a token carries at most ${PROTOCOL_CAVEATS_MAX} protocol caveats`, {
        token: 0,
        caveat: { index, text },
      });
    if (caveat.protocol !== undefined)
      protocols.push({ index, text, expression: caveat.protocol, tail, until_ms });
  }
  const missing = missingCaveat(names, requirements);
  if (missing !== undefined)
    return refuse("token_invalid", `the token has no ${missing} caveat, which this tenant requires`, {
      token: 0,
    });
  const root = token.identifier.nonce;
  const tail = token.caveats.at(-1)?.tail ?? new Uint8Array();
  return { root, tail, protocols, messages, expires_ms: until_ms };
}

function ask(caveat: Caveat, access: Access, index: number): Refusal | undefined {
  const reason = caveat.prohibits(access);
  if (reason === undefined) return undefined;
  const code = caveat.name === "expires" ? "token_expired" : "caveat_denied";
  return refuse(code, `caveat ${index} forbids this call: ${reason}`, {
    token: 0,
    caveat: { index, text: caveat.text },
  });
}

function missingCaveat(names: ReadonlySet<CaveatName>, requirements: Requirements): CaveatName | undefined {
  const required: CaveatName[] = ["actor", "expires"];
  if (requirements.holder === "required") required.push("holder");
  return required.find((name) => !names.has(name));
}

/** Refuses an expired token before any HMAC is spent on it. Unverified texts are good enough to refuse by. */
export function refuseExpired(unsafeTexts: readonly string[], now_ms: number): Refusal | undefined {
  for (const [index, text] of unsafeTexts.entries()) {
    if (!text.startsWith("expires ")) continue;
    const caveat = parseCaveat(text, index);
    if (isRefusal(caveat) || caveat.expires_ms === undefined || now_ms < caveat.expires_ms) continue;
    return refuse("token_expired", `caveat ${index} forbids this call: it expired at ${text.slice(10)}`, {
      token: 0,
      caveat: { index, text },
    });
  }
  return undefined;
}
