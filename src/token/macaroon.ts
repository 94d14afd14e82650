/**
 * What a macaroon is, before and after it is verified (Birgisson et al., "Macaroons", NDSS 2014).
 *
 * A decoded macaroon is only a claim: its caveats are called `unsafeCaveats`, and nothing in them may be used
 * but to refuse. `verify` turns it into a `VerifiedMacaroon`, a type that cannot be made any other way.
 */
import { fromUtf8 } from "../bytes.ts";

export interface UnsafeCaveat {
  /** First party: the caveat's text. Third party: sealed for the third party. MACs run over these bytes. */
  readonly cid: Uint8Array;
  /** Present on third-party caveats: the caveat's root key, sealed under the chain signature. */
  readonly vid?: Uint8Array;
  /** A hint where to find the third party. Not authenticated, decides nothing. */
  readonly location?: string;
}

export interface Macaroon {
  /** Not authenticated, decides nothing. */
  readonly location: string;
  readonly identifier: Uint8Array;
  readonly unsafeCaveats: readonly UnsafeCaveat[];
  /** 32 bytes: the last link of the HMAC chain. A secret: whoever knows it can attenuate and present. */
  readonly signature: Uint8Array;
}

export interface VerifiedCaveat {
  readonly index: number;
  readonly text: string;
  /** The chain signature after this caveat (32 bytes). A secret; monitor ids are derived from it. */
  readonly tail: Uint8Array;
  /** The chain signature before it: what a holder signs who hands the token on with this caveat. A secret as well. */
  readonly tailBefore: Uint8Array;
}

/** A third-party caveat whose discharge is there and verified. */
export interface VerifiedThirdParty {
  readonly index: number;
  /** What it is called in a refusal. */
  readonly text: string;
  /** The chain signature after it. A secret. */
  readonly tail: Uint8Array;
}

/** One macaroon of a request: the root token or a discharge. */
export interface VerifiedChain {
  /** Which macaroon of the request, counted from 0; the root is 0. */
  readonly token: number;
  /** First-party caveats in order: what must be asked. */
  readonly caveats: readonly VerifiedCaveat[];
  readonly thirdParties: readonly VerifiedThirdParty[];
  /** The last chain signature, of a discharge before it was bound. A secret. */
  readonly tail: Uint8Array;
}

export interface VerifiedDischarge extends VerifiedChain {
  /** The caveat that it discharges, of the root or of another discharge. */
  readonly discharges: { readonly token: number; readonly caveat: number };
}

declare const verified: unique symbol;

export interface VerifiedMacaroon extends VerifiedChain {
  readonly [verified]: true;
  readonly identifier: Identifier;
  /** Each after the one whose caveat it discharges. */
  readonly discharges: readonly VerifiedDischarge[];
}

/** The first MAC input of a Postern token, as text: `postern/1 tenant=<t> kid=<n> nonce=<22 base64url>`. */
export interface Identifier {
  readonly text: string;
  readonly tenant: string;
  /** Which key of the tenant's ring signed the token. */
  readonly kid: number;
  readonly nonce: string;
}

const IDENTIFIER =
  /^postern\/1 tenant=([a-z][a-z0-9-]{0,63}) kid=([1-9][0-9]{0,8}) nonce=([A-Za-z0-9_-]{22})$/;

/** @returns `undefined` where the macaroon was not minted by a Postern of this version. */
export function parseIdentifier(identifier: Uint8Array): Identifier | undefined {
  const text = fromUtf8(identifier);
  const match = text === undefined ? null : IDENTIFIER.exec(text);
  if (text === undefined || match === null) return undefined;
  const [, tenant = "", kid = "", nonce = ""] = match;
  return { text, tenant, kid: Number(kid), nonce };
}

export function formatIdentifier(tenant: string, kid: number, nonce: string): string {
  return `postern/1 tenant=${tenant} kid=${kid} nonce=${nonce}`;
}
