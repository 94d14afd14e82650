import * as fc from "fast-check";
import macaroons from "macaroons.js";
import { describe, expect, test } from "vitest";
import { concat, utf8 } from "../../src/bytes.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { decodeV1 } from "../../src/token/codec-v1.ts";
import { verify } from "../../src/token/verify.ts";
import { anyIdentifier, anyNonEmptyText, anyText, mint } from "./arbitrary.ts";
import {
  encodeV1,
  packet,
  packetsOf,
  signatureOf,
  textOf,
  theirAttenuated,
  theirBuilder,
  theirMacaroon,
  theyAccept,
} from "./macaroons-js.ts";
import { outcome, refused, taken } from "./outcome.ts";

const anyCaveats = fc.array(anyNonEmptyText, { maxLength: 5 });

describe("macaroons.js is understood", () => {
  test("what it mints verifies here, with its caveats in order", () => {
    fc.assert(
      fc.property(anyNonEmptyText, anyIdentifier, anyCaveats, (secret, identifier, caveats) => {
        const theirs = theirMacaroon(secret, identifier, caveats);
        const token = taken(verify(taken(decodeV1(packetsOf(theirs))), new Secret(utf8(secret))));
        expect(token.identifier.text).toBe(identifier);
        expect(token.caveats.map(({ text }) => text)).toEqual(caveats);
      }),
      { numRuns: 300 },
    );
  });

  test("our token that it attenuates verifies here, and not under another key", () => {
    fc.assert(
      fc.property(
        anyNonEmptyText,
        anyIdentifier,
        anyCaveats,
        anyCaveats,
        (secret, identifier, ours, theirs) => {
          const key = new Secret(utf8(secret));
          const attenuated = theirAttenuated(theirBuilder(mint(ours, key, identifier)), theirs);
          const macaroon = taken(decodeV1(packetsOf(attenuated)));
          expect(taken(verify(macaroon, key)).caveats.map(({ text }) => text)).toEqual([...ours, ...theirs]);
          expect(outcome(verify(macaroon, new Secret(utf8(`${secret}'`))))).toBe("token_invalid");
        },
      ),
      { numRuns: 300 },
    );
  });

  test("it verifies ours, where all caveats are satisfied and not where one is not", () => {
    fc.assert(
      fc.property(
        anyNonEmptyText,
        anyIdentifier,
        fc.uniqueArray(anyNonEmptyText, { minLength: 1, maxLength: 5 }),
        (secret, identifier, caveats) => {
          const packets = encodeV1(mint(caveats, new Secret(utf8(secret)), identifier));
          expect(theyAccept(packets, secret, caveats)).toBe(true);
          expect(theyAccept(packets, secret, caveats.slice(1))).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("its third-party caveats are read as such, with the place of the third party", () => {
    const builder = new macaroons.MacaroonsBuilder("x", "secret", "identifier");
    builder.add_third_party_caveat("https://auth.example", "caveat key", "ask them");
    const macaroon = taken(decodeV1(packetsOf(builder.getMacaroon())));
    const [caveat] = macaroon.unsafeCaveats;
    expect(textOf(caveat?.cid ?? new Uint8Array())).toBe("ask them");
    expect(caveat?.vid?.length).toBe(24 + 16 + 32);
    expect(caveat?.location).toBe("https://auth.example");
    expect(macaroon.signature).toEqual(signatureOf(builder.getMacaroon()));
  });
});

describe("whatever the bytes are, they are refused or read, and nothing throws", () => {
  const anyName = fc.constantFrom("location", "identifier", "cid", "vid", "cl", "signature", "other", "");
  const anyPacket = fc.tuple(anyName, fc.uint8Array({ maxLength: 40 })).map(([name, v]) => packet(name, v));

  test("garbage", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(["taken", "token_malformed"]).toContain(outcome(decodeV1(bytes)));
      }),
      { numRuns: 1000 },
    );
  });

  test("packets in any order", () => {
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 10 }), (packets) => {
        expect(["taken", "token_malformed"]).toContain(outcome(decodeV1(concat(...packets))));
      }),
      { numRuns: 1000 },
    );
  });

  test("a mutated token verifies only where every MAC input is as it was", () => {
    const token = mint(["actor = account/alice", "message in a,b"]);
    const bytes = encodeV1(token);
    const key = new Secret(utf8("a secret that only this test knows"));
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const mutated = new Uint8Array(bytes);
        mutated[at] = (mutated[at] ?? 0) ^ mask;
        const macaroon = decodeV1(mutated);
        const verified = outcome(macaroon) === "taken" && outcome(verify(taken(macaroon), key)) === "taken";
        const same = verified && { ...taken(macaroon), location: token.location };
        expect([false, token]).toContainEqual(same);
      }),
      { numRuns: 3000 },
    );
  });
});

describe("refused", () => {
  const signature = packet("signature", new Uint8Array(32));
  const cid = (length: number) => packet("cid", new Uint8Array(length).fill(0x61));

  test.each([
    ["no identifier", [signature]],
    ["no signature", [packet("identifier", utf8("i")), cid(40)]],
    // One of 31 bytes is read with its line end as a 32nd: macaroons.js does so, and the chain refuses it.
    ["a signature of 30 bytes", [packet("identifier", utf8("i")), packet("signature", new Uint8Array(30))]],
    ["a vid without a cid", [packet("identifier", utf8("i")), packet("vid", new Uint8Array(72)), signature]],
    ["a place without a cid", [packet("identifier", utf8("i")), packet("cl", utf8("https://x")), signature]],
    ["a caveat that is too long", [packet("identifier", utf8("i")), cid(CAVEAT_BYTES_MAX + 1), signature]],
    [
      "too many caveats",
      [packet("identifier", utf8("i")), ...Array.from({ length: CAVEATS_MAX + 1 }, () => cid(1)), signature],
    ],
  ] as [string, Uint8Array[]][])("%s", (_, packets) => {
    expect(refused(decodeV1(concat(...packets))).code).toBe("token_malformed");
  });

  test("a caveat that is not UTF-8 never verifies as another one", () => {
    // macaroons.js reads text, so the byte is lost; what is left is no link of the chain.
    const token = { ...mint(), unsafeCaveats: [{ cid: Uint8Array.of(0xff) }] };
    const decoded = taken(decodeV1(encodeV1(token)));
    expect(textOf(decoded.unsafeCaveats[0]?.cid ?? new Uint8Array())).toBe("\ufffd");
    expect(outcome(verify(decoded, new Secret(utf8("a secret that only this test knows"))))).toBe(
      "token_invalid",
    );
  });
});

test("texts of any kind survive the packets", () => {
  fc.assert(
    fc.property(anyText, anyCaveats, (identifier, caveats) => {
      const macaroon = mint(caveats, undefined, identifier);
      expect(decodeV1(encodeV1(macaroon))).toEqual(macaroon);
    }),
  );
});
