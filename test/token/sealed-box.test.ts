/** Sealed boxes against libsodium (through PyNaCl), both ways, and what no key opens. */
import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, toHex, utf8 } from "../../src/bytes.ts";
import { Secret } from "../../src/secret.ts";
import {
  boxPublicKey,
  openBox,
  openSecretBox,
  SEALED_BOX_OVERHEAD,
  sealBox,
  sealSecretBox,
} from "../../src/token/sealed-box.ts";
import { flipBit } from "./arbitrary.ts";
import { PYTHON } from "./peers/peer.ts";

const anyKey = fc.uint8Array({ minLength: 32, maxLength: 32 });
const anyPlain = fc.uint8Array({ maxLength: 200 });

const hasNacl = spawnSync(PYTHON, ["-c", "import nacl"]).status === 0;
if (!hasNacl)
  process.stderr.write(
    "LEFT OUT: PyNaCl is not installed. `apt-get install --no-install-recommends python3-nacl` brings it\n",
  );

const PEER = `
import json, sys
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import SecretBox
h = bytes.fromhex
answers = []
for c in json.load(sys.stdin):
    secret = PrivateKey(h(c["secret"]))
    answers.append({
        "public": bytes(secret.public_key).hex(),
        "opened": SealedBox(secret).decrypt(h(c["ours"])).hex(),
        "theirs": SealedBox(secret.public_key).encrypt(h(c["plain"])).hex(),
        "secretbox": SecretBox(h(c["secret"])).encrypt(h(c["plain"]), h(c["nonce"])).ciphertext.hex(),
    })
json.dump(answers, sys.stdout)
`;

interface Answer {
  readonly public: string;
  readonly opened: string;
  readonly theirs: string;
  readonly secretbox: string;
}

const bytes = (hex: string): Uint8Array => fromHex(hex) ?? new Uint8Array();

describe.runIf(hasNacl)("libsodium", () => {
  test("opens what is sealed here; what it seals is opened here; keys and secret boxes are the same bytes", () => {
    const cases = fc.sample(fc.tuple(anyKey, anyKey, anyPlain), { numRuns: 100, seed: 4 });
    const nonce = toHex(new Uint8Array(24).fill(5));
    const input = cases.map(([secret, ephemeral, plain]) => {
      const sealed = sealBox(plain, boxPublicKey(new Secret(secret)), new Secret(ephemeral));
      return { secret: toHex(secret), plain: toHex(plain), ours: toHex(sealed ?? new Uint8Array()), nonce };
    });
    const { stdout } = spawnSync(PYTHON, ["-c", PEER], { input: JSON.stringify(input), encoding: "utf8" });
    const answers = JSON.parse(stdout) as readonly Answer[];
    expect(answers).toHaveLength(cases.length);
    for (const [index, answer] of answers.entries()) {
      const [secret = new Uint8Array(), , plain = new Uint8Array()] = cases[index] ?? [];
      expect(answer.public).toBe(toHex(boxPublicKey(new Secret(secret))));
      expect(answer.opened).toBe(toHex(plain));
      expect(openBox(bytes(answer.theirs), new Secret(secret))).toEqual(plain);
      expect(answer.secretbox).toBe(toHex(sealSecretBox(secret, bytes(nonce), plain)));
    }
  });
});

describe("a sealed box", () => {
  test("is opened by its key alone", () => {
    fc.assert(
      fc.property(anyKey, anyKey, anyPlain, fc.nat(), (secret, ephemeral, plain, bit) => {
        const sealed = sealBox(plain, boxPublicKey(new Secret(secret)), new Secret(ephemeral));
        if (sealed === undefined) throw new Error("not sealed");
        expect(sealed).toHaveLength(plain.length + SEALED_BOX_OVERHEAD);
        expect(openBox(sealed, new Secret(secret))).toEqual(plain);
        expect(openBox(flipBit(sealed, bit), new Secret(secret))).toBeUndefined();
        // X25519 ignores five bits of a secret key, so another one is another whole key.
        expect(openBox(sealed, new Secret(ephemeral))).toBeUndefined();
        expect(openBox(sealed.subarray(0, sealed.length - 1), new Secret(secret))).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  test("is not made for a key of low order: everybody could open it; nor is one opened", () => {
    const secret = new Secret(new Uint8Array(32).fill(1));
    // Zero, one, p - 1, p, and two points of order 8 (RFC 7748, section 7; libsodium's list).
    const low = [
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for (const key of low) {
      expect(sealBox(utf8("x"), bytes(key), secret), key).toBeUndefined();
      expect(openBox(bytes(key + "00".repeat(40)), secret), key).toBeUndefined();
    }
  });

  test("nothing too short is opened", () => {
    for (let length = 0; length < SEALED_BOX_OVERHEAD + 1; length++)
      expect(openBox(new Uint8Array(length).fill(9), new Secret(new Uint8Array(32).fill(1)))).toBeUndefined();
  });
});

test("a secret box is opened by its key and nonce alone", () => {
  const [key, nonce] = [new Uint8Array(32).fill(1), new Uint8Array(24).fill(2)];
  const sealed = sealSecretBox(key, nonce, utf8("a root key"));
  expect(openSecretBox(key, nonce, sealed)).toEqual(utf8("a root key"));
  expect(openSecretBox(flipBit(key, 3), nonce, sealed)).toBeUndefined();
  expect(openSecretBox(key, flipBit(nonce, 3), sealed)).toBeUndefined();
  for (let bit = 0; bit < sealed.length * 8; bit++)
    expect(openSecretBox(key, nonce, flipBit(sealed, bit))).toBeUndefined();
  expect(openSecretBox(key, nonce.subarray(1), sealed)).toBeUndefined();
});
