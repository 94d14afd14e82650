/**
 * The caveat `expires`, by itself: whoever mints or keeps discharges needs it, and carries no reader of all the others.
 */
import { readTime } from "./values.ts";

/** @param expires_ms since the epoch */
export function formatExpiry(expires_ms: number): string {
  return `expires < ${new Date(expires_ms).toISOString()}`;
}

/** When such a caveat expires, in ms since the epoch; `undefined` for any other text. */
export function expiryIn(text: string): number | undefined {
  return text.startsWith("expires < ") ? readTime(text.slice("expires < ".length)) : undefined;
}
