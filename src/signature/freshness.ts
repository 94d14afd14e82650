/**
 * When a signed request may be taken: RFC 9421's created and expires, with a bounded lifetime and bounded skew.
 */
import { type Refusal, refuse } from "../errors.ts";
import { CLOCK_SKEW_S_MAX, SIGNATURE_LIFETIME_S_MAX } from "../limits.ts";

export interface Lifetime {
  /** Seconds since the epoch. */
  readonly created: number;
  readonly expires: number;
}

/** @returns why the signature lives too long, by any clock */
export function refuseLongLived({ created, expires }: Lifetime): Refusal | undefined {
  if (expires > created && expires - created <= SIGNATURE_LIFETIME_S_MAX) return undefined;
  return refuse("signature_invalid", `a signature lives for 1 to ${SIGNATURE_LIFETIME_S_MAX} s`);
}

/** @returns why the signature is too old or too new; `undefined` where it may be taken. */
export function refuseStale({ created, expires }: Lifetime, now_s: number): Refusal | undefined {
  if (created > now_s + CLOCK_SKEW_S_MAX)
    return refuse("signature_invalid", clockHint("the signature was created in the future", created, now_s));
  if (expires < now_s - CLOCK_SKEW_S_MAX)
    return refuse("signature_invalid", clockHint("the signature has expired", expires, now_s));
  return undefined;
}

function clockHint(what: string, then_s: number, now_s: number): string {
  return `${what}: ${Math.abs(Math.round(then_s - now_s))} s away from this gate's clock, ${CLOCK_SKEW_S_MAX} are allowed`;
}

/** Until when the nonce must be remembered: past both the lifetime and the skew. Seconds, inclusive. */
export function rememberUntil({ expires }: Lifetime): number {
  return expires + CLOCK_SKEW_S_MAX;
}
