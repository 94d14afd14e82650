/**
 * Verified prefixes with their tails: a descendant of a token that has verified costs the HMACs of its new caveats only,
 * and the same token none.
 *
 * It decides nothing. A known prefix has the tails that its HMACs would give, because it is known by the bytes that
 * they run over and by the key; the presented signature is still compared in constant time, and whether the token was
 * revoked or has expired is asked at every call. An entry is made only after the request's signature has verified, and
 * leaves when its token was revoked, when its key was replaced, or when nobody used it for a while.
 *
 * Bytes are shared among tenants: where there is no room, the tenant that has most gives up what it used longest ago. So
 * who floods the cache with distinct tokens loses his own, and nobody loses any who has no more than an equal share.
 */
import { fromUtf8, toBase64url } from "../bytes.ts";
import type { Refusal } from "../errors.ts";
import { PREFIX_CACHE_BYTES_MAX, PREFIX_IDLE_MS, PREFIX_SWEEP_MS } from "../limits.ts";
import type { Secret } from "../secret.ts";
import { tailsOf } from "./chain.ts";
import type { Identifier, Macaroon, UnsafeCaveat } from "./macaroon.ts";
import { type Path, PrefixShare } from "./prefix-share.ts";

export interface PrefixCacheOptions {
  /** What else is kept for a caveat for as long as its tail is, in bytes. */
  readonly readingBytes: (text: string) => number;
  readonly monotonic_ms: () => number;
  readonly bytesMax?: number;
}

export class PrefixCache {
  readonly #options: PrefixCacheOptions;
  readonly #bytesMax: number;
  /** By tenant. */
  readonly #shares = new Map<string, PrefixShare>();
  #sweptAt_ms = -Infinity;

  constructor(options: PrefixCacheOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? PREFIX_CACHE_BYTES_MAX;
  }

  get bytes(): number {
    return this.#sum(({ bytes }) => bytes);
  }

  /** Prefixes that are known. */
  get size(): number {
    return this.#sum(({ places }) => places);
  }

  bytesOf(tenant: string): number {
    return this.#shares.get(tenant)?.bytes ?? 0;
  }

  /** The chain of a token that claims this identifier, as the key makes it. Nothing is kept before `keep` is called. */
  chainOf(identifier: Identifier, secret: Secret, { identifier: bytes, unsafeCaveats }: Macaroon): Chain {
    const path = { identifier: identifier.text, caveats: unsafeCaveats.map(keyOf) };
    const known = this.#shares.get(identifier.tenant)?.find(secret, path) ?? [];
    const tails = tailsOf(secret, bytes, unsafeCaveats, known);
    return new Chain(tails, {
      keep: () => this.#keep(identifier.tenant, secret, path, tails),
      forget: (count) => {
        const caveats = path.caveats.slice(0, count);
        this.#shares.get(identifier.tenant)?.forget({ ...path, caveats });
      },
    });
  }

  #keep(tenant: string, secret: Secret, path: Path, tails: readonly Uint8Array[]): void {
    const { monotonic_ms, readingBytes } = this.#options;
    const now_ms = monotonic_ms();
    const share = this.#shares.get(tenant) ?? new PrefixShare();
    this.#shares.set(tenant, share);
    const grew = share.keep(secret, path, tails, readingBytes, now_ms);
    this.#forgetIdle(now_ms);
    if (grew) while (this.bytes > this.#bytesMax && this.#largest()?.forgetOldest());
  }

  #forgetIdle(now_ms: number): void {
    if (now_ms - this.#sweptAt_ms < PREFIX_SWEEP_MS) return;
    this.#sweptAt_ms = now_ms;
    for (const [tenant, share] of this.#shares) {
      while (share.forgetOldest(now_ms - PREFIX_IDLE_MS));
      if (share.places === 0) this.#shares.delete(tenant);
    }
  }

  #largest(): PrefixShare | undefined {
    let largest: PrefixShare | undefined;
    for (const share of this.#shares.values())
      if (largest === undefined || share.bytes > largest.bytes) largest = share;
    return largest;
  }

  #sum(count: (share: PrefixShare) => number): number {
    return this.#shares.values().reduce((sum, share) => sum + count(share), 0);
  }
}

/** The tails of one presented token, and what becomes of them once it is known whether the request is genuine. */
export class Chain {
  readonly #tails: readonly Uint8Array[];
  readonly #then: { readonly keep: () => void; readonly forget: (caveats: number) => void };

  constructor(tails: readonly Uint8Array[], then: { keep(): void; forget(caveats: number): void }) {
    this.#tails = tails;
    this.#then = then;
  }

  /** As `tailsOf` gives them: secrets. */
  get tails(): readonly Uint8Array[] {
    return this.#tails;
  }

  /** To be called once chain and request signature have verified, and nothing of the token is revoked. */
  keep(): void {
    this.#then.keep();
  }

  /**
   * The token was revoked: forgets it from the caveat that the refusal names, or else whole, and all that descends. A
   * discharge that was revoked is none of these.
   */
  forget({ facts }: Refusal): void {
    if (facts.token !== 0) return;
    this.#then.forget(facts.caveat === undefined ? 0 : facts.caveat.index + 1);
  }
}

/** No UTF-8 decodes to a text with a lone surrogate, so what is no text has keys that no text has. */
const NO_TEXT = "\ud800";

/** One key for each caveat's bytes and no other. A first party's is its text. */
function keyOf({ cid, vid }: UnsafeCaveat): string {
  const text = vid === undefined ? fromUtf8(cid) : undefined;
  if (text !== undefined) return text;
  const sealed = vid === undefined ? "" : `${toBase64url(vid)}:`;
  return `${NO_TEXT}${sealed}${toBase64url(cid)}`;
}
