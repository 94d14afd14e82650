import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromBase64url, fromHex, toHex, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import { ed25519, ed25519Signer } from "../../src/signature/ed25519.ts";
import { flipBit } from "../token/arbitrary.ts";

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  const decoded = fromHex(hex);
  if (decoded === undefined) throw new Error(`no hex: ${hex}`);
  return decoded;
}

const keyOf = ({ publicKey }: { publicKey: string }): string => publicKey.replace("ed25519:", "");

/** OpenSSL's verdict. */
function nodeAccepts(publicKey: string, message: Uint8Array, signature: Uint8Array): boolean {
  const x = Buffer.from(publicKey, "hex").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, message, key, signature);
}

describe("RFC 8032, section 7.1", () => {
  test.each([
    [
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
      "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155" +
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
      "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
      "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac" +
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
  ])("%s", (secret, publicKey, message, signature) => {
    const signer = ed25519Signer(new Secret(bytes(secret)));
    expect(signer.publicKey).toBe(`ed25519:${publicKey}`);
    expect(toHex(signer.sign(bytes(message)))).toBe(signature);
    expect(ed25519.verify(publicKey, bytes(message), bytes(signature))).toBe(true);
  });
});

test("RFC 9421, appendix B.2.6", () => {
  const base = [
    '"date": Tue, 20 Apr 2021 02:07:55 GMT',
    '"@method": POST',
    '"@path": /foo',
    '"@authority": example.com',
    '"content-type": application/json',
    '"content-length": 18',
    '"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length")' +
      ';created=1618884473;keyid="test-key-ed25519"',
  ].join("\n");
  const key = toHex(fromBase64url("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs") ?? new Uint8Array());
  const signature =
    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
  expect(ed25519.verify(key, utf8(base), Buffer.from(signature, "base64"))).toBe(true);
  expect(ed25519.verify(key, utf8(`${base} `), Buffer.from(signature, "base64"))).toBe(false);
});

const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("a signature", () => {
  test("is Node's, and verifies for its key and message and for nothing one bit away", () => {
    fc.assert(
      fc.property(anyKey, fc.uint8Array({ maxLength: 100 }), fc.nat(), (secret, message, bit) => {
        const signer = ed25519Signer(new Secret(secret));
        const [key, signature] = [keyOf(signer), signer.sign(message)];
        expect(nodeAccepts(key, message, signature)).toBe(true);
        expect(ed25519.verify(key, message, signature)).toBe(true);
        expect(ed25519.verify(key, message, flipBit(signature, bit))).toBe(false);
        expect(ed25519.verify(toHex(flipBit(bytes(key), bit)), message, signature)).toBe(false);
        expect(ed25519.verify(key, concat(message, Uint8Array.of(0)), signature)).toBe(false);
      }),
      { numRuns: 40 },
    );
  });

  test("by Node verifies here", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const key = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url").toString("hex");
    const signature = sign(null, utf8("message"), privateKey);
    expect(ed25519.verify(key, utf8("message"), new Uint8Array(signature))).toBe(true);
  });
});

describe("strictly", () => {
  const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
  const signer = ed25519Signer(new Secret(new Uint8Array(32).fill(1)));
  const message = utf8("message");
  const signature = signer.sign(message);

  const littleEndian = (value: bigint): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
  const numberOf = (le: Uint8Array): bigint =>
    le.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

  test("a number past the order is not the number within it: one message, one signature", () => {
    const again = concat(signature.subarray(0, 32), littleEndian(numberOf(signature.subarray(32)) + ORDER));
    expect(ed25519.verify(keyOf(signer), message, signature)).toBe(true);
    expect(ed25519.verify(keyOf(signer), message, again)).toBe(false);
    expect(nodeAccepts(keyOf(signer), message, again)).toBe(false);
  });

  test("keys of small order sign nothing, though the equation holds for every message", () => {
    // The neutral element, and the two points of order 4; R and S of the trivial signature.
    const trivial = concat(littleEndian(1n), littleEndian(0n));
    for (const point of [littleEndian(1n), littleEndian(0n), littleEndian(2n ** 255n)])
      expect(ed25519.verify(toHex(point), message, trivial)).toBe(false);
  });

  test("points have one encoding", () => {
    const prime = 2n ** 255n - 19n;
    const trivial = concat(littleEndian(1n), littleEndian(0n));
    for (const spelling of [prime, prime + 1n, 2n ** 255n + 1n, 2n ** 256n - 1n])
      expect(ed25519.verify(toHex(littleEndian(spelling)), message, trivial)).toBe(false);
  });

  test("no other lengths, no other hex", () => {
    const key = keyOf(signer);
    for (const other of ["", key.slice(2), `${key}00`, key.toUpperCase(), `0x${key.slice(2)}`])
      expect(ed25519.verify(other, message, signature)).toBe(false);
    for (const other of [new Uint8Array(), signature.subarray(1), concat(signature, Uint8Array.of(0))])
      expect(ed25519.verify(key, message, other)).toBe(false);
  });
});
