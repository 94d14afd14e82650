import * as fc from "fast-check";
import macaroons from "macaroons.js";
import { describe, expect, test } from "vitest";
import { concat, toHex, utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX, TOKEN_BYTES_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { decodeV1, encodeV1 } from "../../src/token/codec-v1.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { anyIdentifier, anyMacaroon, anyNonEmptyText, anyText, flipBit, mint } from "./arbitrary.ts";
import {
  packet,
  packetsOf,
  signatureOf,
  textOf,
  theirAttenuated,
  theirBuilder,
  theirDecoding,
  theirMacaroon,
  theyAccept,
} from "./macaroons-js.ts";
import { verifiedOneBitAway } from "./mutation.ts";
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
          const packets = taken(encodeV1(mint(caveats, new Secret(utf8(secret)), identifier)));
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

  test("it writes byte for byte what is written here", () => {
    fc.assert(
      fc.property(
        anyNonEmptyText,
        anyIdentifier,
        anyCaveats,
        anyText,
        (secret, identifier, caveats, place) => {
          const theirs = packetsOf(theirMacaroon(secret, identifier, caveats, place));
          const ours = { ...mint(caveats, new Secret(utf8(secret)), identifier), location: place };
          expect(toHex(taken(encodeV1(ours)))).toBe(toHex(theirs));
        },
      ),
    );
  });

  test("whatever is read here, it reads too, and as the same: texts are texts on both sides", () => {
    const token = taken(encodeV1(mint(["actor = account/alice", "message in a,b"])));
    let read = 0;
    for (let bit = 0; bit < token.length * 8; bit++) {
      const mutated = flipBit(token, bit);
      const ours = decodeV1(mutated);
      if (isRefusal(ours)) continue;
      read++;
      const theirs = theirDecoding(mutated);
      expect(theirs.location).toBe(ours.location);
      // It has no bytes, only text: what is none reads as a replacement character there.
      expect(theirs.identifier).toBe(Buffer.from(ours.identifier).toString("utf8"));
      expect(theirs.caveatPackets.map(({ rawValue }) => rawValue.toString())).toEqual(
        ours.unsafeCaveats.map(({ cid }) => Buffer.from(cid).toString("utf8")),
      );
      expect(signatureOf(theirs)).toEqual(ours.signature);
    }
    expect(read).toBeGreaterThan(100);
  });
});

describe("round trip", () => {
  test("what is encoded is decoded as it was, bytes that are no text included", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        expect(decodeV1(taken(encodeV1(macaroon)))).toEqual(macaroon);
      }),
      { numRuns: 1000 },
    );
  });

  test("what is decoded is encoded as it was: a token has one spelling", () => {
    const bytes = taken(encodeV1(mint(["actor = account/alice"])));
    fc.assert(
      fc.property(fc.nat({ max: bytes.length * 8 - 1 }), (bit) => {
        const macaroon = decodeV1(flipBit(bytes, bit));
        expect(isRefusal(macaroon) ? flipBit(bytes, bit) : encodeV1(macaroon)).toEqual(flipBit(bytes, bit));
      }),
      { numRuns: 2000 },
    );
  });

  test("what is too long for a token is not written", () => {
    const identifier = (length: number): Macaroon => ({ ...mint(), identifier: new Uint8Array(length) });
    expect(outcome(encodeV1(identifier(TOKEN_BYTES_MAX - 200)))).toBe("taken");
    expect(outcome(encodeV1(identifier(TOKEN_BYTES_MAX)))).toBe("token_malformed");
    expect(outcome(encodeV1(identifier(0x1_0000)))).toBe("token_malformed");
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
});

test("law 2: no bit of a token can be turned over", () => {
  const token = mint(["actor = account/alice", "message in a,b"]);
  expect(verifiedOneBitAway(token, taken(encodeV1(token)), decodeV1)).toEqual([]);
});

describe("refused", () => {
  const location = packet("location", utf8("x"));
  const identifier = packet("identifier", utf8("i"));
  const signature = packet("signature", new Uint8Array(32));
  const cid = (length: number) => packet("cid", new Uint8Array(length).fill(0x61));
  const vid = packet("vid", new Uint8Array(72));
  const cl = packet("cl", utf8("https://x"));
  const raw = (text: string) => utf8(text);

  test("as it should be, it is read", () => {
    for (const caveats of [[], [cid(1)], [cid(1), vid, cl, cid(1)], [cid(1), vid], [cid(0)]])
      expect(outcome(decodeV1(concat(location, identifier, ...caveats, signature)))).toBe("taken");
  });

  test.each([
    ["nothing", []],
    ["no location", [identifier, signature]],
    ["no identifier", [location, signature]],
    ["two identifiers", [location, identifier, identifier, signature]],
    ["an identifier before the location", [identifier, location, signature]],
    ["no signature", [location, identifier, cid(40)]],
    ["two signatures", [location, identifier, signature, signature]],
    ["a signature before a caveat", [location, identifier, signature, cid(1)]],
    ["a signature of 31 bytes", [location, identifier, packet("signature", new Uint8Array(31))]],
    ["a signature of 33 bytes", [location, identifier, packet("signature", new Uint8Array(33))]],
    ["a vid without a cid", [location, identifier, vid, signature]],
    ["two vids", [location, identifier, cid(1), vid, vid, signature]],
    ["a place before its vid", [location, identifier, cid(1), cl, vid, signature]],
    ["a place without a cid", [location, identifier, cl, signature]],
    ["a packet of unknown name", [location, identifier, packet("other", utf8("x")), signature]],
    ["a packet without a name", [location, identifier, packet("", utf8("x")), signature]],
    ["a name in capitals", [location, identifier, packet("CID", utf8("x")), signature]],
    ["a name that only begins so", [location, identifier, packet("cidx", utf8("x")), signature]],
    ["a length in capitals", [location, identifier, raw(`001Acid ${"a".repeat(17)}\n`), signature]],
    ["a length with a sign", [location, identifier, raw("+00acid a\n"), signature]],
    ["a length of zero", [location, identifier, raw("0000"), signature]],
    ["a length that ends within the name", [location, identifier, raw("0006ci"), signature]],
    ["a length past the end", [location, identifier, raw("ffffcid a\n")]],
    ["a length one too short", [location, identifier, raw("0009cid a\n"), signature]],
    ["no space behind the name", [location, identifier, raw("000acid=a\n"), signature]],
    ["no line feed at the end", [location, identifier, raw("000acid ab"), signature]],
    ["a byte behind the signature", [location, identifier, signature, raw("\n")]],
    ["a location that is not UTF-8", [packet("location", Uint8Array.of(0xff)), identifier, signature]],
    [
      "a caveat's location that is not UTF-8",
      [location, identifier, cid(1), vid, packet("cl", Uint8Array.of(0xff)), signature],
    ],
    ["a caveat that is too long", [location, identifier, cid(CAVEAT_BYTES_MAX + 1), signature]],
    [
      "too many caveats",
      [location, identifier, ...Array.from({ length: CAVEATS_MAX + 1 }, () => cid(1)), signature],
    ],
    ["too long as a whole", [location, packet("identifier", new Uint8Array(TOKEN_BYTES_MAX)), signature]],
  ] as [string, Uint8Array[]][])("%s", (_, packets) => {
    expect(refused(decodeV1(concat(...packets))).code).toBe("token_malformed");
  });

  test("every truncation", () => {
    const bytes = taken(encodeV1(mint(["actor = account/alice"])));
    for (let length = 0; length < bytes.length; length++)
      expect(outcome(decodeV1(bytes.subarray(0, length)))).toBe("token_malformed");
  });

  test("a caveat that is not UTF-8 keeps its bytes, so that it is refused by name and not as another one", () => {
    // macaroons.js reads text: there the byte is lost, and what is left is no link of the chain.
    const unsafeCaveats = [{ cid: Uint8Array.of(0xff) }];
    const decoded = taken(decodeV1(taken(encodeV1({ ...mint(), unsafeCaveats }))));
    expect(decoded.unsafeCaveats).toEqual(unsafeCaveats);
  });
});

describe("macaroons.js, known traps", () => {
  test("its verifier skips a caveat that nobody satisfies, as if it were not there; ours never does", () => {
    const token = mint(["actor = account/alice"], new Secret(utf8("key")));
    const inserted = {
      ...token,
      unsafeCaveats: [{ cid: utf8("message in nothing") }, ...token.unsafeCaveats],
    };
    const packets = taken(encodeV1(inserted));
    expect(theyAccept(packets, "key", ["actor = account/alice"])).toBe(true);
    expect(outcome(verify(taken(decodeV1(packets)), new Secret(utf8("key"))))).toBe("token_invalid");
  });

  test("its third-party encryption uses the same nonce each time: all zero", () => {
    const vids = ["a", "b"].map((id) => {
      const builder = new macaroons.MacaroonsBuilder("x", "secret", id);
      builder.add_third_party_caveat("https://auth.example", "caveat key", "ask them");
      const [caveat] = taken(decodeV1(packetsOf(builder.getMacaroon()))).unsafeCaveats;
      return toHex(caveat?.vid ?? new Uint8Array()).slice(0, 48);
    });
    expect(vids).toEqual(["0".repeat(48), "0".repeat(48)]);
  });
});
