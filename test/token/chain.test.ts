import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromUtf8, toHex, utf8 } from "../../src/bytes.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, TOKEN_BYTES_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon, tailsOf } from "../../src/token/chain.ts";
import { decodeV2, encodeV2 } from "../../src/token/codec-v2.ts";
import { anyIdentifier, anyNonEmptyText, anySecret, anyText, mint, SECRET } from "./arbitrary.ts";
import { signatureOf, theirMacaroon } from "./macaroons-js.ts";
import { outcome, taken } from "./outcome.ts";

describe("libmacaroons' published example", () => {
  const secret = new Secret(utf8("this is our super secret key; only we should know it"));
  const minted = mintMacaroon(secret, "we used our secret key", "http://mybank/");

  test("minted", () => {
    expect(toHex(minted.signature)).toBe("e3d9e02908526c4c0039ae15114115d97fdd68bf2ba379b342aaf0f617d0552f");
  });

  test("with a caveat", () => {
    const { signature } = taken(attenuate(minted, ["test = caveat"]));
    expect(toHex(signature)).toBe("197bac7a044af33332865b9266e26d493bdd668a660e44d88ce1a998c23dbd67");
  });
});

describe("macaroons.js computes the same signature", () => {
  test("for every secret, identifier and list of caveats", () => {
    fc.assert(
      fc.property(
        anyNonEmptyText,
        anyText,
        fc.array(anyText, { maxLength: 6 }),
        (secret, identifier, caveats) => {
          const ours = mint(caveats, new Secret(utf8(secret)), identifier);
          expect(ours.signature).toEqual(signatureOf(theirMacaroon(secret, identifier, caveats)));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("tails", () => {
  test("there is one after the identifier and one after each caveat; the last is the signature", () => {
    fc.assert(
      fc.property(
        anySecret,
        anyIdentifier,
        fc.array(anyText, { maxLength: 6 }),
        (secret, identifier, caveats) => {
          const whole = mint(caveats, secret, identifier);
          const prefixes = [...caveats.keys(), caveats.length].map((n) =>
            mint(caveats.slice(0, n), secret, identifier),
          );
          expect(tailsOf(secret, whole.identifier, whole.unsafeCaveats)).toEqual(
            prefixes.map(({ signature }) => signature),
          );
        },
      ),
    );
  });
});

describe("attenuation", () => {
  test("one by one is the same as all at once, and leaves the wider token as it was", () => {
    fc.assert(
      fc.property(
        anySecret,
        anyIdentifier,
        fc.array(anyText, { maxLength: 6 }),
        (secret, identifier, caveats) => {
          const root = mint([], secret, identifier);
          const before = encodeV2(root);
          const oneByOne = caveats.reduce((token, caveat) => taken(attenuate(token, [caveat])), root);
          expect(oneByOne).toEqual(mint(caveats, secret, identifier));
          expect(encodeV2(root)).toEqual(before);
        },
      ),
    );
  });

  test("keeps the caveats' bytes as they are", () => {
    const { unsafeCaveats } = mint(["a = 1", " é\n", ""]);
    expect(unsafeCaveats.map(({ cid }) => fromUtf8(cid))).toEqual(["a = 1", " é\n", ""]);
  });

  test("makes no token that a gate would refuse for its size", () => {
    const root = mintMacaroon(SECRET, "i");
    const many = (count: number) => Array.from({ length: count }, () => "a");
    expect(outcome(attenuate(root, many(CAVEATS_MAX)))).toBe("taken");
    expect(outcome(attenuate(root, many(CAVEATS_MAX + 1)))).toBe("token_malformed");
    expect(outcome(attenuate(mint(many(CAVEATS_MAX)), ["a"]))).toBe("token_malformed");
    expect(outcome(attenuate(root, ["a".repeat(CAVEAT_BYTES_MAX)]))).toBe("taken");
    expect(outcome(attenuate(root, ["a".repeat(CAVEAT_BYTES_MAX + 1)]))).toBe("token_malformed");
    expect(outcome(attenuate(root, ["é".repeat(CAVEAT_BYTES_MAX / 2 + 1)]))).toBe("token_malformed");
  });

  test("makes no token that is too long as a whole: what it makes can be read back", () => {
    const big = "x".repeat(CAVEAT_BYTES_MAX);
    let token = mintMacaroon(SECRET, "i");
    let next = attenuate(token, [big]);
    while (outcome(next) === "taken") {
      token = taken(next);
      expect(outcome(decodeV2(encodeV2(token)))).toBe("taken");
      next = attenuate(token, [big]);
    }
    expect(encodeV2(token).length).toBeGreaterThan(TOKEN_BYTES_MAX - CAVEAT_BYTES_MAX - 10);
  });
});
