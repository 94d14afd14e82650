import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { tailsOf } from "../../src/token/chain.ts";
import { decodeV2, encodeV2 } from "../../src/token/codec-v2.ts";
import {
  formatIdentifier,
  type Macaroon,
  parseIdentifier,
  type UnsafeCaveat,
} from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { anyIdentifier, anySecret, anyText, flipBit, IDENTIFIER, mint, SECRET } from "./arbitrary.ts";
import { outcome, refused, taken } from "./outcome.ts";

const anyTexts = fc.array(anyText, { maxLength: 6 });

/** The chain over any caveats at all, third parties' and unreadable ones included. */
function chained(caveats: readonly UnsafeCaveat[], secret = SECRET, identifier = IDENTIFIER): Macaroon {
  const bytes = utf8(identifier);
  const signature = tailsOf(secret, bytes, caveats).at(-1) ?? new Uint8Array();
  return { location: "", identifier: bytes, unsafeCaveats: caveats, signature };
}

describe("a token that was minted here", () => {
  test("verifies, with every caveat, its place and its tail", () => {
    fc.assert(
      fc.property(anySecret, anyIdentifier, anyTexts, (secret, identifier, texts) => {
        const token = taken(verify(mint(texts, secret, identifier), secret));
        const tails = [...texts.keys(), texts.length].map(
          (count) => mint(texts.slice(0, count), secret, identifier).signature,
        );
        expect(token.identifier.text).toBe(identifier);
        expect(token.caveats).toEqual(
          texts.map((text, index) => ({ index, text, tail: tails[index + 1], tailBefore: tails[index] })),
        );
      }),
    );
  });

  test("verifies under no other secret", () => {
    fc.assert(
      fc.property(anySecret, anyTexts, fc.nat(), (secret, texts, bit) => {
        const other = new Secret(flipBit(secret.expose(), bit));
        expect(outcome(verify(mint(texts, secret), other))).toBe("token_invalid");
      }),
    );
  });

  test("must have an identifier of ours, though the chain be right", () => {
    fc.assert(
      fc.property(anyText, (identifier) => {
        expect(outcome(verify(mint([], SECRET, identifier), SECRET))).toBe("token_invalid");
      }),
    );
  });
});

describe("law 2: nobody widens a token", () => {
  const TOKENS = fc.sample(fc.tuple(anySecret, anyIdentifier, anyTexts), { numRuns: 8, seed: 2 });

  test("no bit of it can be turned over", () => {
    for (const [secret, identifier, texts] of TOKENS) {
      const bytes = encodeV2({ ...mint(texts, secret, identifier), location: "" });
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const mutated = decodeV2(flipBit(bytes, bit));
        expect(isRefusal(mutated) ? mutated.code : outcome(verify(mutated, secret))).toMatch(
          /^token_(malformed|invalid)$/,
        );
      }
    }
  });

  test("its location may say anything, for it decides nothing", () => {
    fc.assert(
      fc.property(anyTexts, anyText, (texts, location) => {
        const token = mint(texts);
        expect(verify({ ...token, location }, SECRET)).toEqual(verify(token, SECRET));
      }),
    );
  });

  const anyCaveated = fc.tuple(anySecret, fc.array(anyText, { minLength: 1, maxLength: 6 }));

  /** The same token and signature, with other caveats; the same caveats are no change. */
  function withCaveats(token: Macaroon, caveats: readonly UnsafeCaveat[]): Macaroon {
    fc.pre(JSON.stringify(caveats) !== JSON.stringify(token.unsafeCaveats));
    return { ...token, unsafeCaveats: caveats };
  }

  test("no caveat can be removed", () => {
    fc.assert(
      fc.property(anyCaveated, fc.nat(), ([secret, texts], at) => {
        const token = mint(texts, secret);
        const fewer = token.unsafeCaveats.toSpliced(at % texts.length, 1);
        expect(outcome(verify(withCaveats(token, fewer), secret))).toBe("token_invalid");
      }),
    );
  });

  test("no caveats can be reordered", () => {
    fc.assert(
      fc.property(anyCaveated, fc.nat(), fc.nat(), ([secret, texts], from, to) => {
        const token = mint(texts, secret);
        const moved = token.unsafeCaveats.slice();
        moved.splice(to % texts.length, 0, ...moved.splice(from % texts.length, 1));
        expect(outcome(verify(withCaveats(token, moved), secret))).toBe("token_invalid");
      }),
    );
  });

  test("no caveat can be replaced, joined with the next or inserted", () => {
    fc.assert(
      fc.property(anyCaveated, fc.nat(), anyText, ([secret, texts], at, text) => {
        const token = mint(texts, secret);
        const index = at % texts.length;
        const { unsafeCaveats } = token;
        const joined = {
          cid: concat(unsafeCaveats[index]?.cid ?? utf8(""), unsafeCaveats[index + 1]?.cid ?? utf8("!")),
        };
        const changes = [
          unsafeCaveats.with(index, { cid: utf8(text) }),
          unsafeCaveats.toSpliced(index, 2, joined),
          unsafeCaveats.toSpliced(index, 0, { cid: utf8(text) }),
          [...unsafeCaveats, { cid: utf8(text) }],
        ];
        for (const caveats of changes)
          expect(outcome(verify(withCaveats(token, caveats), secret))).toBe("token_invalid");
      }),
    );
  });

  test("no first-party caveat passes for a third party's, nor the other way round", () => {
    const first = chained([{ cid: utf8("a = 1") }]);
    const third = chained([{ cid: utf8("a = 1"), vid: utf8("v") }]);
    expect(outcome(verify({ ...first, unsafeCaveats: third.unsafeCaveats }, SECRET))).toBe("token_invalid");
    expect(outcome(verify({ ...third, unsafeCaveats: first.unsafeCaveats }, SECRET))).toBe("token_invalid");
  });

  test("an identifier of another tenant or kid is another token", () => {
    const token = mint();
    for (const [tenant, kid] of [
      ["demo", 2],
      ["dem", 1],
      ["other", 1],
    ] as const) {
      const identifier = utf8(formatIdentifier(tenant, kid, "AAAAAAAAAAAAAAAAAAAAAA"));
      expect(outcome(verify({ ...token, identifier }, SECRET))).toBe("token_invalid");
    }
  });
});

describe("caveats that no gate can be asked about", () => {
  test("a third party's whose vid opens to no key: nothing could discharge it", () => {
    for (const vid of [new Uint8Array(), new Uint8Array(72)]) {
      const third = { cid: utf8("sealed"), vid, location: "https://auth.example" };
      const caveats = [{ cid: utf8("a = 1") }, third, { cid: utf8("b = 2") }];
      const refusal = refused(verify(chained(caveats), SECRET));
      expect(refusal.code).toBe("token_invalid");
      expect(refusal.facts).toEqual({
        token: 0,
        caveat: { index: 1, text: "third party https://auth.example" },
      });
    }
  });

  test("bytes that are no text are refused by their place", () => {
    const refusal = refused(verify(chained([{ cid: utf8("a = 1") }, { cid: Uint8Array.of(0xff) }]), SECRET));
    expect(refusal.code).toBe("unknown_caveat");
    expect(refusal.facts).toEqual({ token: 0, caveat: { index: 1, text: "(not UTF-8)" } });
  });

  test("whether a stranger's token has them is not told: its chain is judged first", () => {
    const third = chained([{ cid: utf8("sealed"), vid: new Uint8Array(72) }], new Secret(utf8("another")));
    expect(outcome(verify(third, SECRET))).toBe("token_invalid");
  });
});

describe("identifiers", () => {
  test("what is formatted is read", () => {
    fc.assert(
      fc.property(anyIdentifier, (text) => {
        const identifier = parseIdentifier(utf8(text));
        expect(identifier?.text).toBe(text);
        expect(
          formatIdentifier(identifier?.tenant ?? "", identifier?.kid ?? 0, identifier?.nonce ?? ""),
        ).toBe(text);
      }),
    );
  });

  test.each([
    "",
    "postern/2 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=Demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant= kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=0 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=01 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=1000000000 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAAA",
    "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAA+",
    "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA\n",
    " postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "postern/1  tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
    "\ufeffpostern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
  ])("%j is none of ours", (text) => {
    expect(parseIdentifier(utf8(text))).toBeUndefined();
  });

  test("bytes that are not UTF-8 are none of ours", () => {
    expect(parseIdentifier(concat(utf8(IDENTIFIER), Uint8Array.of(0xff)))).toBeUndefined();
  });
});
