/**
 * Asks every caveat of a verified token and of its discharges about one access.
 *
 * All caveats are read and asked, in chain order; none is ever skipped (law 2). A discharge only ever withholds: it holds
 * no order, and the key that it names must sign as well as the one that the token names. What a token must carry to be
 * used at all (`actor`, `expires`, `holder` where the tenant requires it) is required here as well as at mint,
 * because whoever shares the tenant's key could mint with other tools.
 */
import { caveatName, isRefusal, type Refusal, refuse } from "../errors.ts";
import type { VerifiedCaveat, VerifiedChain, VerifiedMacaroon } from "../token/macaroon.ts";
import { type Access, type Caveat, type CaveatName, parseCaveat } from "./caveats.ts";
import { type Delegations, holderProblems } from "./holders.ts";
import { CaveatTally } from "./most.ts";
import type { Readings } from "./readings.ts";
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

/** A protocol caveat, always the root's, whose monitor must admit the message before the call has an effect. */
export interface ProtocolClaim extends Claim {
  /** The expression, without its label. */
  readonly expression: string;
}

/** A `uses` or `rate` caveat whose count must leave room for one more call. */
export interface CountClaim extends Claim {
  /** Which macaroon of the request has the caveat: 0 is the root. */
  readonly token: number;
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

/** A token in the hands of one signer: read once, asked about each of the messages that he sends with it. */
export class Authority {
  readonly #token: VerifiedMacaroon;
  /** The root's first, then those of each discharge. */
  readonly #caveats: readonly ReadCaveat[];
  /** Why a caveat keeps this signer from everything. */
  readonly #holders: ReadonlyMap<ReadCaveat, string>;
  readonly #requirements: Requirements;

  private constructor(
    token: VerifiedMacaroon,
    caveats: readonly ReadCaveat[],
    holders: ReadonlyMap<ReadCaveat, string>,
    requirements: Requirements,
  ) {
    this.#token = token;
    this.#caveats = caveats;
    this.#holders = holders;
    this.#requirements = requirements;
  }

  /** Refusal: `unknown_caveat`. Nothing is asked before everything is understood. */
  static of(
    token: VerifiedMacaroon,
    signer: string,
    requirements: Requirements,
    readings: Readings,
  ): Authority | Refusal {
    const tally = new CaveatTally();
    const chains: (readonly ReadCaveat[])[] = [];
    for (const chain of [token, ...token.discharges]) {
      const caveats = readAll(chain, tally, readings);
      if (isRefusal(caveats)) return caveats;
      chains.push(caveats);
    }
    const holders = new Map<ReadCaveat, string>();
    const delegations = readings.remembering(requirements.signatures);
    for (const caveats of chains)
      for (const [at, reason] of holderProblems(caveats, signer, delegations)) {
        const caveat = caveats[at];
        if (caveat !== undefined) holders.set(caveat, reason);
      }
    return new Authority(token, chains.flat(), holders, requirements);
  }

  /** Asks every caveat. Refusals: `caveat_denied`, `token_expired`. */
  refuse(access: Access): Refusal | undefined {
    for (const read of this.#caveats) {
      const reason = this.#holders.get(read) ?? read.caveat.prohibits(access);
      if (reason !== undefined) return denied(read, reason);
    }
    return undefined;
  }

  /** Why this signer cannot use the token at all, now or ever. Refusals: `caveat_denied`, `token_expired`. */
  usableFrom(now_ms: number): Refusal | undefined {
    for (const read of this.#caveats) {
      const { expires_ms = Infinity } = read.caveat;
      const reason = this.#holders.get(read) ?? (now_ms < expires_ms ? undefined : "it has expired");
      if (reason !== undefined) return denied(read, reason);
    }
    return undefined;
  }

  /** What the token reaches, `type/id` or `type/*`: the narrowest of its `actor` caveats. */
  get reach(): string {
    const names = this.#caveats.filter(({ caveat }) => caveat.name === "actor");
    const reached = names.map(({ text }) => text.slice(text.indexOf("=") + 2));
    return reached.find((name) => !name.endsWith("/*")) ?? reached[0] ?? "";
  }

  /** What is granted beside the message, the same for all that were not refused. Refusal: `token_invalid`. */
  grant(): Grant | Refusal {
    const protocols: ProtocolClaim[] = [];
    const counts: CountClaim[] = [];
    let messages: ReadonlySet<string> | undefined;
    let expires_ms: number | undefined;
    for (const { caveat, tail, token, index } of this.#caveats) {
      const { text, protocol: expression, count } = caveat;
      if (caveat.expires_ms !== undefined) expires_ms = Math.min(expires_ms ?? Infinity, caveat.expires_ms);
      if (caveat.messages !== undefined)
        messages = messages?.intersection(caveat.messages) ?? caveat.messages;
      if (expression === undefined && count === undefined) continue;
      const claim = { index, text, tail, until_ms: this.#expiryBefore(token, index) };
      if (expression !== undefined) protocols.push({ ...claim, expression });
      if (count !== undefined) counts.push({ ...claim, token, count });
    }
    const missing = missingCaveat(
      new Set(this.#caveats.filter(({ token }) => token === 0).map(({ caveat }) => caveat.name)),
      this.#requirements,
    );
    if (missing !== undefined)
      return refuse("token_invalid", `the token has no ${missing} caveat, which this tenant requires`, {
        token: 0,
      });
    const { identifier, tail } = this.#token;
    return { root: identifier.nonce, tail, protocols, counts, messages, expires_ms };
  }

  /**
   * The earliest `expires` before this place of a chain, and before the caveats that lead to it: of a discharge, what
   * stands before the caveat that it discharges. What comes after binds only some of those who share the place.
   */
  #expiryBefore(token: number, index: number): number | undefined {
    const own = this.#caveats.flatMap((other) =>
      other.token === token && other.index < index ? (other.caveat.expires_ms ?? []) : [],
    );
    const { discharges } = this.#token.discharges.find((discharge) => discharge.token === token) ?? {};
    const above = discharges && this.#expiryBefore(discharges.token, discharges.caveat);
    const earliest = Math.min(...own, above ?? Infinity);
    return earliest === Infinity ? undefined : earliest;
  }
}

interface ReadCaveat extends VerifiedCaveat {
  readonly token: number;
  readonly caveat: Caveat;
}

/** @param tally of the other macaroons of the request; these are added */
function readAll(
  { token, caveats }: VerifiedChain,
  tally: CaveatTally,
  readings: Readings,
): readonly ReadCaveat[] | Refusal {
  const read: ReadCaveat[] = [];
  for (const verified of caveats) {
    const { index, text } = verified;
    const caveat = readings.read(verified, token);
    if (isRefusal(caveat)) return caveat;
    if (caveat.name === "protocol" && token > 0)
      return refuse(
        "unknown_caveat",
        `${caveatName(index, token)} is refused because a discharge holds no order: only the token itself does`,
        { token, caveat: { index, text } },
      );
    const tooMany = tally.add(caveat, index, token);
    if (tooMany !== undefined) return tooMany;
    read.push({ ...verified, token, caveat });
  }
  return read;
}

function denied({ caveat: { name, text }, index, token }: ReadCaveat, reason: string): Refusal {
  const code = name === "expires" ? "token_expired" : "caveat_denied";
  return refuse(code, `${caveatName(index, token)} forbids this call: ${reason}`, {
    token,
    caveat: { index, text },
  });
}

function missingCaveat(names: ReadonlySet<CaveatName>, requirements: Requirements): CaveatName | undefined {
  const required: CaveatName[] = ["actor", "expires"];
  if (requirements.holder === "required") required.push("holder");
  return required.find((name) => !names.has(name));
}

/**
 * Refuses an expired token or discharge before any HMAC is spent on it. Unverified texts are good enough to refuse by.
 *
 * @param token which macaroon of the request; a client whose discharge has expired fetches another
 */
export function refuseExpired(
  unsafeTexts: readonly string[],
  now_ms: number,
  token = 0,
): Refusal | undefined {
  for (const [index, text] of unsafeTexts.entries()) {
    if (!text.startsWith("expires ")) continue;
    const caveat = parseCaveat(text, index, token);
    if (isRefusal(caveat) || caveat.expires_ms === undefined || now_ms < caveat.expires_ms) continue;
    return refuse(
      "token_expired",
      `${caveatName(index, token)} forbids this call: it expired at ${text.slice(10)}`,
      { token, caveat: { index, text } },
    );
  }
  return undefined;
}
