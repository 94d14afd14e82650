/**
 * Asks every caveat of a verified token about one access.
 *
 * All caveats are read and asked, in chain order; none is ever skipped (law 2). What a token must carry to be
 * used at all (`actor`, `expires`, `holder` where the tenant requires it) is required here as well as at mint,
 * because whoever shares the tenant's key could mint with other tools.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { VerifiedCaveat, VerifiedMacaroon } from "../token/macaroon.ts";
import { type Access, type Caveat, type CaveatName, parseCaveat } from "./caveats.ts";
import { type Delegations, holderProblems } from "./holders.ts";
import { CaveatTally } from "./most.ts";
import type { Count } from "./values.ts";

/** What a caveat asks of the actor's own state, where the call is done. */
interface Claim {
  readonly index: number;
  readonly text: string;
  /** The chain signature at the caveat: a secret, from which the id of its state is derived. */
  readonly tail: Uint8Array;
  /** From here on no token with this caveat passes, so its state may be forgotten. */
  readonly until_ms: number | undefined;
}

/** A protocol caveat whose monitor must admit the message before the call has an effect. */
export interface ProtocolClaim extends Claim {
  /** The expression, without its label. */
  readonly expression: string;
}

/** A `uses` or `rate` caveat whose count must leave room for one more call. */
export interface CountClaim extends Claim {
  readonly count: Count;
}

export interface Grant {
  /** What is public of the root token: its nonce. Only the tenant can mint another. */
  readonly root: string;
  /** The token's last chain signature: a secret, from which a digest that names the token is derived. */
  readonly tail: Uint8Array;
  readonly protocols: readonly ProtocolClaim[];
  readonly counts: readonly CountClaim[];
  /** Messages that `message` caveats leave; `undefined` where none restricts them. */
  readonly messages: ReadonlySet<string> | undefined;
  /** The earliest `expires` of all; `undefined` where there is none. */
  readonly expires_ms: number | undefined;
}

export interface Requirements {
  readonly holder: "required" | "optional";
  readonly signatures: Delegations;
}

/** Refusals: `unknown_caveat`, `caveat_denied`, `token_expired`, `token_invalid`. */
export function authorize(
  token: VerifiedMacaroon,
  access: Access,
  requirements: Requirements,
): Grant | Refusal {
  const authority = Authority.of(token, access.signer, requirements);
  if (isRefusal(authority)) return authority;
  return authority.refuse(access) ?? authority.grant();
}

/** A token in the hands of one signer: read once, asked about each of the messages that he sends with it. */
export class Authority {
  readonly #token: VerifiedMacaroon;
  readonly #caveats: readonly ReadCaveat[];
  /** By index, why a caveat keeps this signer from everything. */
  readonly #holders: ReadonlyMap<number, string>;
  readonly #requirements: Requirements;

  private constructor(
    token: VerifiedMacaroon,
    caveats: readonly ReadCaveat[],
    holders: ReadonlyMap<number, string>,
    requirements: Requirements,
  ) {
    this.#token = token;
    this.#caveats = caveats;
    this.#holders = holders;
    this.#requirements = requirements;
  }

  /** Refusal: `unknown_caveat`. Nothing is asked before everything is understood. */
  static of(token: VerifiedMacaroon, signer: string, requirements: Requirements): Authority | Refusal {
    const caveats = readAll(token.caveats);
    if (isRefusal(caveats)) return caveats;
    const holders = holderProblems(caveats, signer, requirements.signatures);
    return new Authority(token, caveats, holders, requirements);
  }

  /** Asks every caveat. Refusals: `caveat_denied`, `token_expired`. */
  refuse(access: Access): Refusal | undefined {
    for (const [index, { caveat }] of this.#caveats.entries()) {
      const reason = this.#holders.get(index) ?? caveat.prohibits(access);
      if (reason !== undefined) return denied(caveat, index, reason);
    }
    return undefined;
  }

  /** What is granted beside the message, the same for all that were not refused. Refusal: `token_invalid`. */
  grant(): Grant | Refusal {
    const protocols: ProtocolClaim[] = [];
    const counts: CountClaim[] = [];
    let messages: ReadonlySet<string> | undefined;
    let until_ms: number | undefined;
    for (const [index, { caveat, tail }] of this.#caveats.entries()) {
      const { text, protocol: expression, count } = caveat;
      if (caveat.expires_ms !== undefined) until_ms = Math.min(until_ms ?? Infinity, caveat.expires_ms);
      if (caveat.messages !== undefined)
        messages = messages?.intersection(caveat.messages) ?? caveat.messages;
      if (expression !== undefined) protocols.push({ index, text, expression, tail, until_ms });
      if (count !== undefined) counts.push({ index, text, count, tail, until_ms });
    }
    const missing = missingCaveat(
      new Set(this.#caveats.map(({ caveat }) => caveat.name)),
      this.#requirements,
    );
    if (missing !== undefined)
      return refuse("token_invalid", `the token has no ${missing} caveat, which this tenant requires`, {
        token: 0,
      });
    const root = this.#token.identifier.nonce;
    const tail = this.#token.caveats.at(-1)?.tail ?? new Uint8Array();
    return { root, tail, protocols, counts, messages, expires_ms: until_ms };
  }
}

interface ReadCaveat extends VerifiedCaveat {
  readonly caveat: Caveat;
}

function readAll(caveats: readonly VerifiedCaveat[]): readonly ReadCaveat[] | Refusal {
  const read: ReadCaveat[] = [];
  const tally = new CaveatTally();
  for (const verified of caveats) {
    const { index, text } = verified;
    const caveat = parseCaveat(text, index);
    if (isRefusal(caveat)) return caveat;
    const tooMany = tally.add(caveat, index);
    if (tooMany !== undefined) return tooMany;
    read.push({ ...verified, caveat });
  }
  return read;
}

function denied({ name, text }: Caveat, index: number, reason: string): Refusal {
  const code = name === "expires" ? "token_expired" : "caveat_denied";
  return refuse(code, `caveat ${index} forbids this call: ${reason}`, { token: 0, caveat: { index, text } });
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
