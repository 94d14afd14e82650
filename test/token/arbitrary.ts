/** Random secrets, texts and macaroons, and tokens minted for a test. */
import * as fc from "fast-check";
import { utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import { formatIdentifier, type Macaroon, type VerifiedMacaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { taken } from "./outcome.ts";

/** Any well-formed Unicode, control characters included. */
export const anyText = fc.string({ unit: "binary", maxLength: 40 });
export const anyNonEmptyText = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
export const anyBytes = fc.uint8Array({ maxLength: 80 });
export const anySecret = fc.uint8Array({ minLength: 1, maxLength: 80 }).map((bytes) => new Secret(bytes));

const anyNonce = fc.stringMatching(/^[A-Za-z0-9_-]{22}$/);
export const anyIdentifier = fc
  .tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), fc.integer({ min: 1, max: 999_999_999 }), anyNonce)
  .map(([tenant, kid, nonce]) => formatIdentifier(tenant, kid, nonce));

/** A claim of any content: its signature is of no chain. */
export const anyMacaroon: fc.Arbitrary<Macaroon> = fc.record({
  location: anyText,
  identifier: anyBytes,
  unsafeCaveats: fc.array(
    fc.record({ cid: anyBytes, vid: anyBytes, location: anyText }, { requiredKeys: ["cid"] }),
    { maxLength: 6 },
  ),
  signature: fc.uint8Array({ minLength: 32, maxLength: 32 }),
});

export const SECRET = new Secret(utf8("a secret that only this test knows"));
export const IDENTIFIER = formatIdentifier("demo", 1, "AAAAAAAAAAAAAAAAAAAAAA");

/** A token of the test's tenant with these caveats. */
export function mint(caveats: readonly string[] = [], secret = SECRET, identifier = IDENTIFIER): Macaroon {
  return taken(attenuate(mintMacaroon(secret, identifier), caveats));
}

export function mintVerified(caveats: readonly string[]): VerifiedMacaroon {
  return taken(verify(mint(caveats), SECRET));
}

/** The text with the character at an index replaced. */
export function replaceAt(text: string, index: number, character: string): string {
  return text.slice(0, index) + character + text.slice(index + 1);
}

/** The bytes with one bit of them turned over. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array<ArrayBuffer> {
  const flipped = new Uint8Array(bytes);
  const index = Math.floor(bit / 8) % bytes.length;
  flipped[index] = (flipped[index] ?? 0) ^ (1 << (bit % 8));
  return flipped;
}
