/**
 * Revocations: what each of the five kinds reaches, how they look in the store, and the set that a gate asks.
 *
 * Asking costs a few look-ups, whatever was revoked; tails are hashed only where the tenant has revoked a subtree.
 * The set forgets an entry only long after all that it revokes has expired. Where it is full it forgets nothing and
 * refuses every token of its tenant instead.
 *
 * A page of the feed is text, so that a person can read it with any S3 tool:
 *
 *     postern-revoked/1 <CRC-32 of all that follows, 8 hex>
 *     {"tenant":"demo","page":0,"nonce":"…"}
 *     {"kind":"holder","value":"…","at":"2026-01-31T12:00:00Z","reason":"laptop lost"}
 *     …
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, fromUtf8, toHex, utf8 } from "../bytes.ts";
import { decodeChecked, encodeChecked } from "../checked.ts";
import { caveatName, type Refusal, type RefusalFacts, refuse } from "../errors.ts";
import { REVOCATION_GRACE_MS, REVOCATIONS_PER_PAGE, REVOCATIONS_PER_TENANT_MAX } from "../limits.ts";
import { HOLDER, TENANT_NAME } from "../names.ts";
import type { VerifiedChain, VerifiedMacaroon } from "./macaroon.ts";

/** Each kind, with the shape of the value that says what is revoked. */
const VALUES = {
  /** The nonce of an identifier: the token as minted, and with it every descendant. */
  token: /^[A-Za-z0-9_-]{22}$/,
  /** The digest of a tail: the token as attenuated there, and every descendant; its ancestors stay. */
  subtree: /^[0-9a-f]{64}$/,
  /** A public key: what it signs, and every token whose chain names it. */
  holder: HOLDER,
  /** A key of the tenant's ring: every token that was minted with it. */
  kid: /^[1-9][0-9]{0,8}$/,
  /** The tenant's own name: every token of the tenant, for ever. */
  tenant: TENANT_NAME,
} as const;

export type RevocationKind = keyof typeof VALUES;
export const REVOCATION_KINDS = Object.keys(VALUES) as readonly RevocationKind[];

export interface Revocation {
  readonly kind: RevocationKind;
  readonly value: string;
  /** When, in RFC 3339, for people. */
  readonly at: string;
  /** From here on (ms since the epoch) everything that it reaches has expired; absent where that is not known. */
  readonly until_ms?: number;
  /** For people; callers are not told. */
  readonly reason?: string;
}

export function isRevocable(kind: RevocationKind, value: string): boolean {
  return VALUES[kind].test(value);
}

const SUBTREE_DOMAIN = utf8("postern/revocation/subtree/v1\n");

/**
 * What names a subtree in the feed. A tail is a secret, for whoever knows it can attenuate and present the token; its
 * digest may be published (law 7): a tail is 256 bits of HMAC output, which nobody finds by trying, and the prefix
 * keeps this digest apart from everything else that is ever derived from a tail.
 */
export function subtreeDigest(tail: Uint8Array): string {
  return toHex(sha256(concat(SUBTREE_DOMAIN, tail)));
}

/** Everything that one tenant has revoked. It only grows, but for what has long expired. */
export class RevocationSet {
  /** By kind: the value, and until when it matters. */
  readonly #until_ms: Readonly<Record<RevocationKind, Map<string, number>>> = {
    token: new Map(),
    subtree: new Map(),
    holder: new Map(),
    kid: new Map(),
    tenant: new Map(),
  };
  #full = false;

  get size(): number {
    return REVOCATION_KINDS.reduce((sum, kind) => sum + this.#until_ms[kind].size, 0);
  }

  /** Whether it is in force already, for at least as long. */
  covers({ kind, value, until_ms = Infinity }: Revocation): boolean {
    return (this.#until_ms[kind].get(value) ?? -Infinity) >= until_ms;
  }

  add({ kind, value, until_ms = Infinity }: Revocation, now_ms: number): void {
    if (until_ms + REVOCATION_GRACE_MS <= now_ms) return;
    const known_ms = this.#until_ms[kind].get(value);
    // A kid or the tenant always fits: there are few, and they are the way out for a tenant that has too many others.
    const fits = kind === "kid" || kind === "tenant" || this.size < REVOCATIONS_PER_TENANT_MAX;
    // Revoked twice, the later end counts.
    if (known_ms !== undefined || fits) this.#until_ms[kind].set(value, Math.max(known_ms ?? 0, until_ms));
    else this.#full = true;
  }

  /** Drops what reaches only expired tokens. */
  forget(now_ms: number): void {
    for (const values of Object.values(this.#until_ms)) {
      for (const [value, until_ms] of values)
        if (until_ms + REVOCATION_GRACE_MS <= now_ms) values.delete(value);
    }
  }

  /** `token_revoked` where the token, an ancestor of it, its key, its tenant or a holder was revoked. */
  refuse(token: VerifiedMacaroon, signer: string): Refusal | undefined {
    const { tenant, kid, nonce } = token.identifier;
    if (this.#full)
      return revoked(`tenant ${tenant} has revoked more than a node can keep, so this may be revoked too`);
    if (this.#until_ms.tenant.has(tenant)) return revoked(`tenant ${tenant} was revoked`);
    if (this.#until_ms.kid.has(String(kid))) return revoked(`the key ${kid} that minted it was revoked`);
    if (this.#until_ms.token.has(nonce))
      return revoked("the token was revoked, with all that descend from it");
    return this.#refuseHolder(token, signer) ?? this.#refuseSubtree(token);
  }

  #refuseHolder(token: VerifiedMacaroon, signer: string): Refusal | undefined {
    const holders = this.#until_ms.holder;
    if (holders.size === 0) return undefined;
    if (holders.has(signer)) return revoked("the key that signed the request was revoked");
    for (const chain of chainsOf(token)) {
      // A former holder's key may have signed the delegation: then what comes after is the thief's.
      const named = chain.caveats.find(({ text }) => holders.has(holderNamedBy(text)));
      if (named === undefined) continue;
      const { index, text } = named;
      const facts = { token: chain.token, caveat: { index, text } };
      return revoked(`the key that ${caveatName(index, chain.token)} names was revoked`, facts);
    }
    return undefined;
  }

  #refuseSubtree(token: VerifiedMacaroon): Refusal | undefined {
    if (this.#until_ms.subtree.size === 0) return undefined;
    for (const chain of chainsOf(token)) {
      const cut = [...chain.caveats, ...chain.thirdParties].find(({ tail }) => this.#cuts(tail));
      // Of it no more than these two: it carries its tail.
      if (cut !== undefined)
        return revoked(`what descends from ${caveatName(cut.index, chain.token)} was revoked`, {
          token: chain.token,
          caveat: { index: cut.index, text: cut.text },
        });
      if (this.#cuts(chain.tail)) return revoked("this very token was revoked", { token: chain.token });
    }
    return undefined;
  }

  #cuts(tail: Uint8Array): boolean {
    return this.#until_ms.subtree.has(subtreeDigest(tail));
  }
}

const chainsOf = (token: VerifiedMacaroon): readonly VerifiedChain[] => [token, ...token.discharges];

function holderNamedBy(caveat: string): string {
  return /^(?:holder|delegate) = (\S+)/.exec(caveat)?.[1] ?? "";
}

function revoked(detail: string, facts: Pick<RefusalFacts, "token" | "caveat"> = { token: 0 }): Refusal {
  return refuse("token_revoked", detail, facts);
}

export const feedPrefix = (tenant: string): string => `revoked/${tenant}/`;
export const pageKey = (tenant: string, page: number): string =>
  `${feedPrefix(tenant)}${String(page).padStart(8, "0")}`;

export interface Page {
  readonly tenant: string;
  readonly page: number;
  readonly entries: readonly Revocation[];
}

const FORMAT = "postern-revoked/1";

/** @param nonce makes the bytes unique for `settledPut` */
export function encodePage({ tenant, page, entries }: Page, nonce: string): Uint8Array<ArrayBuffer> {
  const lines = [{ tenant, page, nonce }, ...entries].map((line) => JSON.stringify(line));
  return encodeChecked(FORMAT, utf8(lines.join("\n")));
}

/** @returns what is wrong, as a clause, where it is not this page or cannot be trusted. Not one entry is skipped. */
export function decodePage(bytes: Uint8Array, tenant: string, page: number): Page | string {
  const body = decodeChecked(FORMAT, bytes);
  if (typeof body === "string") return body;
  const lines = (fromUtf8(body) ?? "").split("\n").map(parseLine);
  const [header, ...entries] = lines;
  if (header?.["tenant"] !== tenant || header["page"] !== page) return "is another page than its key says";
  if (entries.length > REVOCATIONS_PER_PAGE) return `has more than ${REVOCATIONS_PER_PAGE} entries`;
  const read = entries.map(readRevocation).filter((entry) => entry !== undefined);
  if (read.length < entries.length) return "has an entry that this version does not understand";
  return { tenant, page, entries: read };
}

type Line = Readonly<Record<string, unknown>>;

function parseLine(line: string): Line {
  try {
    return (JSON.parse(line) ?? {}) as Line;
  } catch {
    return {};
  }
}

function readRevocation({ kind, value, at, until_ms, reason }: Line): Revocation | undefined {
  const known = REVOCATION_KINDS.find((name) => name === kind);
  if (known === undefined || typeof value !== "string" || typeof at !== "string") return undefined;
  if (!isRevocable(known, value)) return undefined;
  if (until_ms !== undefined && !Number.isSafeInteger(until_ms)) return undefined;
  return {
    kind: known,
    value,
    at,
    ...(typeof until_ms === "number" && { until_ms }),
    ...(typeof reason === "string" && { reason }),
  };
}
