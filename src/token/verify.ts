/**
 * From claims to a fact: the only place where a `VerifiedMacaroon` is made.
 *
 * Verified means: the chain was recomputed from the tenant's key over the received bytes and ends in the
 * presented signature; every third-party caveat has one discharge of its own, whose chain was recomputed from the key
 * in that caveat and is bound to this very token; and every other caveat is one that a gate can be asked about. It does
 * not mean allowed: `authorize` asks each caveat, those of discharges too.
 */
import { equalConstantTime, fromUtf8, sameBytes, toBase64url } from "../bytes.ts";
import { caveatName, isRefusal, type Refusal, refuse } from "../errors.ts";
import { DISCHARGE_NESTING_MAX, DISCHARGES_MAX } from "../limits.ts";
import type { Secret } from "../secret.ts";
import { tailsOf, tailsUnder } from "./chain.ts";
import { boundSignature } from "./discharge.ts";
import {
  type Macaroon,
  parseIdentifier,
  type UnsafeCaveat,
  type VerifiedCaveat,
  type VerifiedChain,
  type VerifiedDischarge,
  type VerifiedMacaroon,
  type VerifiedThirdParty,
} from "./macaroon.ts";
import { openVid } from "./third-party.ts";

/**
 * @param discharges in any order, each bound to the macaroon
 * @param tails of this macaroon's chain under this secret, where they are known
 * @returns `token_invalid`, `discharge_missing` with all that are missing, or `unknown_caveat`
 */
export function verify(
  macaroon: Macaroon,
  secret: Secret,
  discharges: readonly Macaroon[] = [],
  tails = tailsOf(secret, macaroon.identifier, macaroon.unsafeCaveats),
): VerifiedMacaroon | Refusal {
  const last = tails.at(-1);
  if (last === undefined || !equalConstantTime(last, macaroon.signature))
    return refuse(
      "token_invalid",
      "the token's signature chain does not verify: it was changed or not minted here",
    );
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined) return refuse("token_invalid", "the token's identifier is not Postern's");
  const tree = new Tree(macaroon.signature, discharges);
  const root = tree.grow({ macaroon, tails, token: 0, depth: 0 });
  if (isRefusal(root)) return root;
  // The one cast of this type: what stands above is what it claims.
  return { ...root, identifier } as unknown as VerifiedMacaroon;
}

/** A macaroon whose own chain holds. */
interface Grown {
  readonly macaroon: Macaroon;
  readonly tails: readonly Uint8Array[];
  readonly token: number;
  /** 0 for the root. */
  readonly depth: number;
  readonly discharges?: VerifiedDischarge["discharges"];
}

interface Missing {
  readonly token: number;
  readonly caveat: { readonly index: number; readonly text: string };
  /** Empty where it has none. */
  readonly location: string;
  readonly ticket: string;
}

/** The root and the discharges of its caveats, and of theirs. Each is used once, so there are no cycles. */
class Tree {
  readonly #rootSignature: Uint8Array;
  readonly #discharges: readonly Macaroon[];
  readonly #used = new Set<number>();
  readonly #missing: Missing[] = [];
  readonly #queue: Grown[] = [];
  #asked = 0;

  constructor(rootSignature: Uint8Array, discharges: readonly Macaroon[]) {
    this.#rootSignature = rootSignature;
    this.#discharges = discharges;
  }

  grow(root: Grown): (VerifiedChain & Pick<VerifiedMacaroon, "discharges">) | Refusal {
    const chain = this.#read(root);
    if (isRefusal(chain)) return chain;
    const verified: VerifiedDischarge[] = [];
    for (const grown of this.#queue) {
      const discharge = this.#read(grown);
      if (isRefusal(discharge)) return discharge;
      if (grown.discharges !== undefined) verified.push({ ...discharge, discharges: grown.discharges });
    }
    return this.#refuseMissing() ?? this.#refuseUnused() ?? { ...chain, discharges: verified };
  }

  #read(grown: Grown): VerifiedChain | Refusal {
    const { macaroon, tails, token } = grown;
    const caveats: VerifiedCaveat[] = [];
    const thirdParties: VerifiedThirdParty[] = [];
    for (const [index, caveat] of macaroon.unsafeCaveats.entries()) {
      const [tailBefore = EMPTY, tail = EMPTY] = [tails[index], tails[index + 1]];
      if (caveat.vid !== undefined) {
        const refused = this.#answer(grown, index, caveat, tailBefore, caveat.vid);
        if (refused !== undefined) return refused;
        thirdParties.push({ index, text: thirdPartyText(caveat), tail });
        continue;
      }
      const text = fromUtf8(caveat.cid);
      if (text === undefined)
        return refuse(
          "unknown_caveat",
          `${caveatName(index, token)} is refused because it is not UTF-8 text`,
          {
            token,
            caveat: { index, text: "(not UTF-8)" },
          },
        );
      caveats.push({ index, text, tail, tailBefore });
    }
    return { token, caveats, thirdParties, tail: tails.at(-1) ?? EMPTY };
  }

  /** Finds the caveat's own discharge and follows its chain; one that is not there is noted. */
  #answer(
    { token, depth }: Grown,
    index: number,
    caveat: UnsafeCaveat,
    tail: Uint8Array,
    vid: Uint8Array,
  ): Refusal | undefined {
    const { cid, location } = caveat;
    const here = { token, caveat: { index, text: thirdPartyText(caveat) } };
    const name = caveatName(index, token);
    const rootKey = openVid(tail, vid);
    if (rootKey === undefined)
      return refuse("token_invalid", `${name} holds no key that could verify a discharge`, here);
    if (++this.#asked > DISCHARGES_MAX)
      return refuse("token_invalid", `more than ${DISCHARGES_MAX} discharges are asked for`, here);
    if (depth >= DISCHARGE_NESTING_MAX)
      return refuse("token_invalid", `discharges are nested deeper than ${DISCHARGE_NESTING_MAX}`, here);
    const at = this.#discharges.findIndex(
      ({ identifier }, place) => !this.#used.has(place) && sameBytes(identifier, cid),
    );
    const macaroon = this.#discharges[at];
    if (macaroon === undefined) {
      this.#missing.push({ ...here, location: location ?? "", ticket: toBase64url(cid) });
      return undefined;
    }
    this.#used.add(at);
    const tails = tailsUnder(rootKey, macaroon.identifier, macaroon.unsafeCaveats);
    const bound = boundSignature(this.#rootSignature, tails.at(-1) ?? EMPTY);
    if (!equalConstantTime(bound, macaroon.signature))
      return refuse(
        "token_invalid",
        `discharge ${at + 1} does not verify: it was changed, or is not bound to this token as it is`,
        { token: at + 1 },
      );
    const discharges = { token, caveat: index };
    this.#queue.push({ macaroon, tails, token: at + 1, depth: depth + 1, discharges });
    return undefined;
  }

  #refuseMissing(): Refusal | undefined {
    const [first, ...others] = this.#missing;
    if (first === undefined) return undefined;
    const { token, caveat } = first;
    const place = first.location === "" ? "(no location)" : JSON.stringify(first.location);
    const more = others.length === 0 ? "" : `, and ${others.length} more are missing`;
    const detail = `${caveatName(caveat.index, token)} needs a discharge from ${place}${more}`;
    const discharges = this.#missing.map(({ location, ticket }) => ({ location, ticket }));
    return refuse("discharge_missing", detail, { token, caveat, discharges });
  }

  #refuseUnused(): Refusal | undefined {
    const unused = this.#discharges.findIndex((_, at) => !this.#used.has(at));
    if (unused < 0) return undefined;
    return refuse("token_invalid", `discharge ${unused + 1} is one that no caveat asks for`, {
      token: unused + 1,
    });
  }
}

const EMPTY = new Uint8Array();
const thirdPartyText = ({ location = "(no location)" }: UnsafeCaveat): string => `third party ${location}`;
