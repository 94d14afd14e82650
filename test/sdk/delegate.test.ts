/** Handing a token on, offline: what comes out, and what is refused before anything is signed. */
import { describe, expect, test } from "vitest";
import { fromUtf8 } from "../../src/bytes.ts";
import { DELEGATE_CAVEATS_MAX } from "../../src/limits.ts";
import { capability, delegateToken } from "../../src/sdk/delegate.ts";
import { delegationMessage, holderSigner } from "../../src/signature/holder.ts";
import type { Signer } from "../../src/signature/scheme.ts";
import { encodeJson } from "../../src/token/codec-json.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
import { SIGNATURES } from "../authorize/arbitrary.ts";
import { mint } from "../token/arbitrary.ts";
import { refused, taken } from "../token/outcome.ts";

function signer(secret: string): Signer {
  const made = holderSigner(secret, (length) => new Uint8Array(length));
  if (made === undefined) throw new Error("no key");
  return made;
}

const [ADA, BOB] = [signer("01".repeat(32)), signer(`ed25519:${"02".repeat(32)}`)];
const bound = (...caveats: string[]) => mint(["actor = account/1", `holder = ${ADA.publicKey}`, ...caveats]);
const textsOf = (token: string) => taken(decodeToken(token)).unsafeCaveats.map(({ cid }) => fromUtf8(cid));

describe("what comes out", () => {
  test("is the token, the restrictions, and then the delegation, signed over all before it", () => {
    const caveats = ["message in balance", "expires < 2031-01-01T00:00:00Z"];
    const token = taken(delegateToken(encodeToken(bound()), BOB.publicKey, ADA, { caveats }));
    const [last = "", ...before] = textsOf(token).toReversed();
    expect(before.toReversed()).toEqual(["actor = account/1", `holder = ${ADA.publicKey}`, ...caveats]);
    const [, to = "", hex = ""] = /^delegate = (\S+) ([0-9a-f]{128})$/.exec(last) ?? [];
    expect(to).toBe(BOB.publicKey);
    const { signature } = bound(...caveats);
    const sent = new Uint8Array(Buffer.from(hex, "hex"));
    expect(SIGNATURES.verifyDelegation(ADA.publicKey, signature, to, sent)).toBe(true);
    expect(delegationMessage(signature, to)).toHaveLength(32);
  });

  test("whatever the format of the token was", () => {
    const token = delegateToken(encodeJson(bound()), BOB.publicKey, ADA);
    expect(taken(token)).toBe(taken(delegateToken(encodeToken(bound()), BOB.publicKey, ADA)));
  });

  test("can be handed on by the new holder", () => {
    const once = taken(delegateToken(encodeToken(bound()), BOB.publicKey, ADA));
    expect(textsOf(taken(delegateToken(once, ADA.publicKey, BOB)))).toHaveLength(4);
  });
});

describe("refused", () => {
  const token = encodeToken(bound());

  test.each([
    ["by another key", token, BOB.publicKey, BOB, "signed by another key than the holder's"],
    ["to what is no key", token, "bob", ADA, "not a public key"],
    ["to a key in capitals", token, "AB".repeat(32), ADA, "not a public key"],
    [
      "of a token that is bound to no key",
      encodeToken(mint(["actor = account/1"])),
      BOB.publicKey,
      ADA,
      "bound to no key",
    ],
    [
      "of a token of two holders",
      encodeToken(bound(`holder = ${BOB.publicKey}`)),
      BOB.publicKey,
      ADA,
      "bound to another key",
    ],
    [
      "of a token with a caveat that no gate reads",
      encodeToken(bound("role = admin")),
      BOB.publicKey,
      ADA,
      "caveat 2 is refused",
    ],
    ["of a cut token", token.slice(0, -2), BOB.publicKey, ADA, "cut or damaged"],
    ["of several tokens", `${token},${token}`, BOB.publicKey, ADA, "several tokens"],
  ])("%s", (_, from, to, by, reason) => {
    expect(refused(delegateToken(from, to, by)).detail).toContain(reason);
  });

  test("by a former holder", () => {
    const handedOn = taken(delegateToken(token, BOB.publicKey, ADA));
    expect(refused(delegateToken(handedOn, ADA.publicKey, ADA)).detail).toContain("another key");
  });

  test("with a restriction that binds it to another key", () => {
    const caveats = [`holder = ${BOB.publicKey}`];
    expect(refused(delegateToken(token, BOB.publicKey, ADA, { caveats })).detail).toContain(
      "bound to another key",
    );
  });

  test("past as many delegations as a gate takes", () => {
    let last = token;
    for (let count = 0; count < DELEGATE_CAVEATS_MAX; count++)
      last = taken(delegateToken(last, ADA.publicKey, ADA));
    expect(refused(delegateToken(last, ADA.publicKey, ADA)).code).toBe("unknown_caveat");
  });

  test("and nothing is signed", () => {
    const never = {
      publicKey: BOB.publicKey,
      sign: () => {
        throw new Error("it was signed");
      },
    };
    expect(refused(delegateToken(token, BOB.publicKey, never)).code).toBe("malformed_request");
  });
});

describe("a capability as an argument", () => {
  test("is delegated where it was bound, and bound where it was not", () => {
    const given = taken(
      capability(encodeToken(bound()), BOB.publicKey, ADA, { caveats: ["message in balance"] }),
    );
    expect(Object.keys(given)).toEqual(["$cap"]);
    expect(given.$cap).toBe(
      taken(delegateToken(encodeToken(bound()), BOB.publicKey, ADA, { caveats: ["message in balance"] })),
    );
    const free = taken(capability(encodeToken(mint(["actor = account/1"])), BOB.publicKey, ADA));
    expect(textsOf(free.$cap)).toEqual(["actor = account/1", `holder = ${BOB.publicKey}`]);
  });

  test("is none for what is no key, or of what is another's", () => {
    for (const token of [bound(), mint(["actor = account/1"])])
      expect(refused(capability(encodeToken(token), "key", ADA))).toMatchObject({
        code: "malformed_request",
      });
    expect(refused(capability(encodeToken(bound()), BOB.publicKey, BOB))).toMatchObject({
      code: "malformed_request",
    });
  });
});
