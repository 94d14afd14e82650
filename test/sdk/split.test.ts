/** Split and restrict: the tokens that come out, and what is refused before any token is made. */
import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../../src/bytes.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { PROTOCOL_CAVEATS_MAX } from "../../src/limits.ts";
import { monitorId } from "../../src/protocol/monitor.ts";
import { restrictToken, splitToken } from "../../src/sdk/split.ts";
import { Secret } from "../../src/secret.ts";
import { attenuate, mintMacaroon } from "../../src/token/chain.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { verify } from "../../src/token/verify.ts";
import { must } from "../support/gate.ts";

const SECRET = new Secret(utf8("a root key of a tenant, 32 bytes"));
const IDENTIFIER = "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA";
const ACCOUNT = "protocol = open ; (deposit | withdraw)* ; close";

const tokenOf = (...caveats: readonly string[]): string =>
  encodeToken(must(attenuate(mintMacaroon(SECRET, IDENTIFIER), caveats)));
const textsOf = (token: string): readonly (string | undefined)[] =>
  must(decodeToken(token)).unsafeCaveats.map(({ cid }) => fromUtf8(cid));
/** Counts up from the bytes given, so that a test knows the labels. */
const random = (length: number): Uint8Array => new Uint8Array(length).fill(0xff);
const refused = (result: unknown): Refusal => {
  if (!isRefusal(result)) throw new Error("it was not refused");
  return result;
};

describe("a split", () => {
  const token = tokenOf("actor = account/1", "protocol = (deposit | withdraw)* ; close");

  test("writes a token for each part, each with its own label, under everything that stood there", () => {
    const parts = must(splitToken(token, ["deposit*", "  withdraw{0,2}\n"], { random }));
    expect(parts.map(textsOf)).toEqual([
      [...textsOf(token), "protocol = deposit* @ ffffffff"],
      [...textsOf(token), "protocol = withdraw{0,2} @ 00000000"],
    ]);
    for (const part of parts) expect(isRefusal(verify(must(decodeToken(part)), SECRET))).toBe(false);
  });

  test("makes two monitors of equal parts", () => {
    const parts = must(splitToken(tokenOf("protocol = a*"), ["a*", "a*"], { random }));
    const ids = parts.map((part) => {
      const verified = must(verify(must(decodeToken(part)), SECRET));
      return monitorId(verified.caveats[1]?.tail ?? new Uint8Array());
    });
    expect(ids[0]).not.toBe(ids[1]);
  });

  test("may have more parts, and more caveats before each protocol", () => {
    const caveats = ["expires < 2030-01-01T00:00:00Z"];
    const parts = must(splitToken(token, ["deposit", "deposit", "withdraw*"], { random, caveats }));
    expect(parts.map((part) => textsOf(part).slice(2))).toEqual([
      [...caveats, "protocol = deposit @ ffffffff"],
      [...caveats, "protocol = deposit @ 00000000"],
      [...caveats, "protocol = withdraw* @ 00000001"],
    ]);
  });

  test("is refused with a shortest word, who sends it, and the caveat that does not admit it", () => {
    const refusal = refused(splitToken(token, ["deposit*", "withdraw ; close"], { random }));
    expect(refusal.code).toBe("out_of_order");
    expect(refusal.detail).toBe(
      "after withdraw (part 2), close (part 2), part 1 admits deposit, " +
        "but caveat 1 (protocol = (deposit | withdraw)* ; close) admits nothing",
    );
    expect(refusal.facts).toEqual({
      word: ["withdraw", "close", "deposit"],
      enabled: [],
      caveat: { index: 1, text: "protocol = (deposit | withdraw)* ; close" },
    });
  });

  test("is of what remains after the messages sent before", () => {
    const account = tokenOf(ACCOUNT);
    const parts = ["deposit*", "withdraw*"];
    expect(refused(splitToken(account, parts, { random })).facts.word).toEqual(["deposit"]);
    expect(must(splitToken(account, parts, { random, after: ["open"] }))).toHaveLength(2);
    const impossible = refused(splitToken(account, parts, { random, after: ["open", "close", "open"] }));
    expect(impossible.detail).toBe(
      `open cannot have been sent after open, close: caveat 0 (${ACCOUNT}) admitted nothing`,
    );
  });

  test("asks every caveat that says something about order", () => {
    const both = tokenOf(ACCOUNT, "message in deposit,close", "protocol = open ; deposit*");
    const options = { random, after: ["open"] };
    expect(refused(splitToken(both, ["deposit", "withdraw"], options)).facts).toMatchObject({
      caveat: { index: 1 },
      enabled: ["close", "deposit"],
    });
    expect(refused(splitToken(both, ["deposit", "close"], options)).facts.caveat?.index).toBe(2);
    expect(must(splitToken(both, ["deposit", "deposit*"], options))).toHaveLength(2);
  });

  test.each([
    [["a"], "2 to 8 parts, not 1"],
    [Array.from({ length: 9 }, () => "a"), "not 9"],
    [["deposit", "close ;"], "column 8"],
  ])("is not made of %j", (protocols, reason) => {
    const refusal = refused(splitToken(token, protocols, { random }));
    expect(refusal.code).toBe("malformed_request");
    expect(refusal.detail).toContain(reason);
  });

  test("is not made of a token that no gate would take", () => {
    const parts = ["a", "a"];
    expect(refused(splitToken(tokenOf("colour = red"), parts, { random })).code).toBe("unknown_caveat");
    expect(refused(splitToken(tokenOf("protocol = a ;"), parts, { random })).facts).toMatchObject({
      caveat: { index: 0 },
      position: { column: 4 },
    });
    const full = tokenOf(...Array.from({ length: PROTOCOL_CAVEATS_MAX }, () => "protocol = a*"));
    expect(refused(splitToken(full, parts, { random })).code).toBe("unknown_caveat");
    expect(refused(splitToken(token.slice(0, -4), parts, { random })).code).toBe("token_truncated");
  });
});

describe("a restriction", () => {
  test("writes one token that follows the order, without a label: copies share their monitor", () => {
    const token = tokenOf(ACCOUNT);
    const restricted = must(restrictToken(token, "open ;\n deposit{0,2}"));
    expect(textsOf(restricted)).toEqual([ACCOUNT, "protocol = open ; deposit{0,2}"]);
    expect(isRefusal(verify(must(decodeToken(restricted)), SECRET))).toBe(false);
  });

  test("is refused with a shortest word", () => {
    const refusal = refused(
      restrictToken(tokenOf(ACCOUNT), "deposit* ; audit", { after: ["open", "deposit"] }),
    );
    expect(refusal.detail).toBe(
      `after nothing, the protocol admits audit, but caveat 0 (${ACCOUNT}) admits close, deposit, withdraw`,
    );
    expect(refusal.facts.word).toEqual(["audit"]);
  });

  test("of a token without an order is any order", () => {
    expect(textsOf(must(restrictToken(tokenOf(), "a ; b")))).toEqual(["protocol = a ; b"]);
  });
});
