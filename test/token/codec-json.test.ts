import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toBase64url, utf8 } from "../../src/bytes.ts";
import { CAVEAT_BYTES_MAX, CAVEATS_MAX } from "../../src/limits.ts";
import { decodeJson, encodeJson } from "../../src/token/codec-json.ts";
import { anyMacaroon, mint } from "./arbitrary.ts";
import { verifiedOneBitAway } from "./mutation.ts";
import { outcome, refused, taken } from "./outcome.ts";

const decode = (text: string) => decodeJson(utf8(text));
const SIGNATURE = "A".repeat(43);

describe("round trip", () => {
  test("what is encoded is decoded as it was, bytes that are no text included", () => {
    fc.assert(
      fc.property(anyMacaroon, (macaroon) => {
        expect(decode(encodeJson(macaroon))).toEqual(macaroon);
      }),
      { numRuns: 1000 },
    );
  });

  test("the layout is libmacaroons'", () => {
    const token = { ...mint(["a = 1"]), location: "https://gate.example" };
    const third = { cid: Uint8Array.of(0xff), vid: new Uint8Array(3), location: "https://auth.example" };
    const text = encodeJson({ ...token, unsafeCaveats: [...token.unsafeCaveats, third] });
    expect(JSON.parse(text)).toEqual({
      v: 2,
      l: "https://gate.example",
      i: "postern/1 tenant=demo kid=1 nonce=AAAAAAAAAAAAAAAAAAAAAA",
      c: [{ i: "a = 1" }, { l: "https://auth.example", i64: "_w", v64: "AAAA" }],
      s64: toBase64url(token.signature),
    });
  });
});

describe("what other libraries leave out or spell otherwise", () => {
  test.each([
    ["no version, no location, no caveats", `{"i":"x","s64":"${SIGNATURE}"}`],
    ["members in another order", `{"s64":"${SIGNATURE}","c":[],"i":"x","v":2}`],
    ["padded base64", `{"v":2,"i64":"eA==","s64":"${SIGNATURE}="}`],
    ["base64 of the other alphabet", `{"v":2,"i":"x","s64":"${"/".repeat(42)}8"}`],
    ["a signature that happens to be text", `{"v":2,"i":"x","s":"${"s".repeat(32)}"}`],
    ["white space", ` {\n "i" : "x" , "s64" : "${SIGNATURE}" } `],
  ])("%s", (_, text) => {
    expect(taken(decode(text)).identifier).toEqual(utf8("x"));
  });

  test("an escaped text is the text", () => {
    const escaped = taken(decode(`{"i":"\\u0078\\u00e9","s64":"${SIGNATURE}"}`));
    expect(escaped.identifier).toEqual(utf8("xé"));
  });
});

describe("refused", () => {
  const whole = (more: string) => `{"i":"x","s64":"${SIGNATURE}"${more}}`;
  const withCaveat = (caveat: string) => whole(`,"c":[${caveat}]`);
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

  test("as it should be, it is read", () => {
    for (const text of [whole(""), withCaveat('{"i":"a = 1"}'), withCaveat('{"i":"a","v64":"","l":"x"}')])
      expect(outcome(decode(text))).toBe("taken");
  });

  test.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["an array", "[]"],
    ["a text", '"x"'],
    ["null", "null"],
    ["another version", whole(',"v":1')],
    ["a version that is a text", whole(',"v":"2"')],
    ["no identifier", `{"s64":"${SIGNATURE}"}`],
    ["two identifiers", whole(',"i64":"eA"')],
    ["an identifier that is a number", `{"i":1,"s64":"${SIGNATURE}"}`],
    ["an identifier that is no base64", `{"i64":"%","s64":"${SIGNATURE}"}`],
    ["a member twice", whole(',"i":"x"')],
    ["an unknown member", whole(',"x":1')],
    ["v1's members", `{"identifier":"x","signature":"${"0".repeat(64)}"}`],
    ["a prototype", whole(',"__proto__":{}')],
    ["no signature", '{"i":"x"}'],
    ["a signature of 31 bytes", `{"i":"x","s64":"${"A".repeat(42)}"}`],
    ["two signatures", whole(`,"s":"${"s".repeat(32)}"`)],
    ["a location that is no text", whole(',"l":1')],
    ["a location that is null", whole(',"l":null')],
    ["caveats that are no array", whole(',"c":{}')],
    ["a caveat that is a text", withCaveat('"a = 1"')],
    ["a caveat without an identifier", withCaveat("{}")],
    ["a caveat with two identifiers", withCaveat('{"i":"a","i64":"YQ"}')],
    ["a caveat with an unknown member", withCaveat('{"i":"a","x":1}')],
    ["a caveat with two vids", withCaveat('{"i":"a","v":"x","v64":"eA"}')],
    ["a caveat whose vid is null", withCaveat('{"i":"a","v":null}')],
    ["a caveat whose vid is no base64", withCaveat('{"i":"a","v64":"%"}')],
    ["a caveat whose location is no text", withCaveat('{"i":"a","l":1}')],
    ["a caveat that is too long", withCaveat(`{"i":"${"a".repeat(CAVEAT_BYTES_MAX + 1)}"}`)],
    ["a caveat too long in bytes", withCaveat(`{"i":"${"é".repeat(CAVEAT_BYTES_MAX / 2 + 1)}"}`)],
    ["too many caveats", withCaveat(Array.from({ length: CAVEATS_MAX + 1 }, () => '{"i":"a"}').join())],
    ["nesting past all bounds", whole(`,"c":${deep(10_000)}`)],
    ["a lone surrogate", `{"i":"\\ud800","s64":"${SIGNATURE}"}`],
    ["bytes behind it", `${whole("")}x`],
  ])("%s", (_, text) => {
    expect(refused(decode(text)).code).toBe("token_malformed");
  });

  test("bytes that are not UTF-8", () => {
    expect(outcome(decodeJson(Uint8Array.of(0x7b, 0xff, 0x7d)))).toBe("token_malformed");
  });
});

test("law 2: no bit of a token can be turned over", () => {
  const token = mint(["actor = account/alice", "message in a,b"]);
  expect(verifiedOneBitAway(token, utf8(encodeJson(token)), decodeJson)).toEqual([]);
});
