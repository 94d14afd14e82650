/**
 * What of a signed request can be shown: to the caller, who knows what he signed and can name what a proxy has changed.
 *
 * Both sides show it in the same way. Of the token a short digest only (law 7), and of what is long, too.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../bytes.ts";
import { SHOWN_COMPONENT_LENGTH_MAX } from "../limits.ts";
import { componentsOf, type SignedMessage } from "./signature-base.ts";

/** By the component's name; one that is absent is not there. */
export type Shown = Readonly<Record<string, string>>;

export function shown(message: SignedMessage): Shown {
  return Object.fromEntries(
    componentsOf(message).map(([name, value]) => [
      name,
      name === "authorization" || value.length > SHOWN_COMPONENT_LENGTH_MAX ? digest(value) : value,
    ]),
  );
}

const digest = (value: string): string => `SHA-256 ${toHex(sha256(utf8(value)).subarray(0, 8))}…`;
