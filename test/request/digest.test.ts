import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { checkContentDigest, contentDigest } from "../../src/request/digest.ts";
import { flipBit } from "../token/arbitrary.ts";
import { outcome, refused } from "../token/outcome.ts";

const BODY = utf8('{"amount":5}');
const sha = (algorithm: string, body: Uint8Array = BODY) =>
  createHash(algorithm).update(body).digest("base64");
const SHA256 = `sha-256=:${sha("sha256")}:`;
const check = (field: string | null) => outcome(checkContentDigest(field, BODY));

test("RFC 9530's own example", () => {
  const field = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
  expect(contentDigest(utf8('{"hello": "world"}'))).toBe(field);
});

test("what is written is accepted, and gives the digest", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (body) => {
      const digest = new Uint8Array(createHash("sha256").update(body).digest());
      expect(contentDigest(body)).toBe(`sha-256=:${sha("sha256", body)}:`);
      expect(checkContentDigest(contentDigest(body), body)).toEqual(digest);
    }),
  );
});

test("a body one bit away does not match", () => {
  for (let bit = 0; bit < BODY.length * 8; bit++) {
    const refusal = refused(checkContentDigest(contentDigest(flipBit(BODY, bit)), BODY));
    expect(refusal.code).toBe("malformed_request");
    expect(refusal.detail).toContain("does not match");
  }
});

test("nor does a digest one bit away", () => {
  const digest = createHash("sha256").update(BODY).digest();
  for (let bit = 0; bit < 256; bit++) {
    const near = Buffer.from(flipBit(digest, bit)).toString("base64");
    expect(check(`sha-256=:${near}:`)).toBe("malformed_request");
  }
});

describe("among several algorithms", () => {
  test.each([
    ["sha-512 beside it", `${SHA256}, sha-512=:${sha("sha512")}:`, "taken"],
    ["sha-512 before it", `sha-512=:${sha("sha512")}:, ${SHA256}`, "taken"],
    ["an unknown one", `unixsum=:AAAA:, ${SHA256}`, "taken"],
    ["sha-512 alone", `sha-512=:${sha("sha512")}:`, "malformed_request"],
    ["md5 alone", `md5=:${sha("md5")}:`, "malformed_request"],
    ["a wrong sha-256 before the right one, which counts", `sha-256=:AAAA:, ${SHA256}`, "taken"],
    ["a right sha-256 before the wrong one, which counts", `${SHA256}, sha-256=:AAAA:`, "malformed_request"],
  ])("%s", (_, field, expected) => {
    expect(check(field)).toBe(expected);
  });
});

describe("malformed", () => {
  test.each([
    ["absent", null],
    ["empty", ""],
    ["no value", "sha-256"],
    ["hex", `sha-256=${Buffer.from(sha("sha256"), "base64").toString("hex")}`],
    ["text", `sha-256="${sha("sha256")}"`],
    ["a token", "sha-256=abc"],
    ["a list", `sha-256=(:${sha("sha256")}:)`],
    ["31 bytes", `sha-256=:${Buffer.alloc(31).toString("base64")}:`],
    ["no bytes", "sha-256=::"],
    ["cut", SHA256.slice(0, -1)],
    ["in capitals", SHA256.replace("sha", "SHA")],
    ["the old Digest field", `SHA-256=${sha("sha256")}`],
    ["a trailing comma", `${SHA256},`],
    ["joined by nothing", `${SHA256} ${SHA256}`],
    ["foreign characters", "sha-256=:ééé:"],
  ])("%s", (_, field) => {
    expect(check(field)).toBe("malformed_request");
  });
});
