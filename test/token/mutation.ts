/** Law 2 against an adversary who changes a token's bytes. */
import { isDeepStrictEqual } from "node:util";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { flipBit, SECRET } from "./arbitrary.ts";

/** What verifies among all that is one bit away from this token, and is not the token. Its location decides nothing. */
export function verifiedOneBitAway(
  token: Macaroon,
  bytes: Uint8Array,
  decode: (bytes: Uint8Array) => Macaroon | Refusal,
): readonly Macaroon[] {
  return Array.from({ length: bytes.length * 8 }, (_, bit) => decode(flipBit(bytes, bit))).flatMap(
    (mutated) => {
      if (isRefusal(mutated) || isRefusal(verify(mutated, SECRET))) return [];
      const { location } = token;
      return isDeepStrictEqual({ ...mutated, location }, token) ? [] : [mutated];
    },
  );
}
