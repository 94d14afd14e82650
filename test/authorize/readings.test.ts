import { describe, expect, test } from "vitest";
import { Authority } from "../../src/authorize/authorize.ts";
import { Readings } from "../../src/authorize/readings.ts";
import { toHex } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { bip340, bip340Signer } from "../../src/signature/bip340.ts";
import { ed25519 } from "../../src/signature/ed25519.ts";
import { delegationMessage, HolderSignatures } from "../../src/signature/holder.ts";
import { attenuate } from "../../src/token/chain.ts";
import { type Macaroon, parseIdentifier } from "../../src/token/macaroon.ts";
import { PrefixCache } from "../../src/token/prefix-cache.ts";
import { verify } from "../../src/token/verify.ts";
import { flipBit, mint, SECRET } from "../token/arbitrary.ts";
import { outcome, taken } from "../token/outcome.ts";

const placed = (text: string, tail: Uint8Array) => ({ index: 0, text, tail, tailBefore: new Uint8Array(32) });

describe("what was read of a caveat", () => {
  test("is kept with its tail, and with no other of the same bytes", () => {
    const readings = new Readings();
    const tail = new Uint8Array(32);
    const read = readings.read(placed("when = args.amount < 5", tail), 0);
    expect(outcome(read)).toBe("taken");
    expect(readings.read(placed("when = args.amount < 5", tail), 0)).toBe(read);
    expect(readings.read(placed("when = args.amount < 5", new Uint8Array(32)), 0)).not.toBe(read);
    expect(new Readings().read(placed("when = args.amount < 5", tail), 0)).not.toBe(read);
  });

  test("is refused each time where it is not understood", () => {
    const readings = new Readings();
    const tail = new Uint8Array(32);
    for (const _ of [1, 2])
      expect(outcome(readings.read(placed("colour = red", tail), 0))).toBe("unknown_caveat");
  });
});

describe("a delegation", () => {
  const [ada, bob, cy] = [1, 2, 3].map((byte) =>
    bip340Signer(new Secret(new Uint8Array(32).fill(byte)), () => new Uint8Array(32)),
  ) as [ReturnType<typeof bip340Signer>, ReturnType<typeof bip340Signer>, ReturnType<typeof bip340Signer>];
  const adas = mint([`holder = ${ada.publicKey}`]);

  const handedOn = (token: Macaroon, to: string, signature: Uint8Array): Macaroon =>
    taken(attenuate(token, [`delegate = ${to} ${toHex(signature)}`]));
  const signedFor = (token: Macaroon, to: string): Uint8Array =>
    ada.sign(delegationMessage(token.signature, to));

  /** A gate that keeps what has verified, and counts how often it asks about a delegation. */
  function gate() {
    const prefixes = new PrefixCache({ readingBytes: () => 0, monotonic_ms: () => 0 });
    const readings = new Readings();
    const signatures = new HolderSignatures(bip340, ed25519);
    let asked = 0;
    const counting = {
      verifyDelegation: (...about: Parameters<HolderSignatures["verifyDelegation"]>) => {
        asked++;
        return signatures.verifyDelegation(...about);
      },
    };
    return {
      get asked() {
        return asked;
      },
      /** @returns whether this signer may use the token */
      takes(token: Macaroon, signer: string): boolean {
        const identifier = parseIdentifier(token.identifier);
        if (identifier === undefined) throw new Error("no identifier");
        const chain = prefixes.chainOf(identifier, SECRET, token);
        const verified = taken(verify(token, SECRET, [], chain.tails));
        chain.keep();
        const rules = { holder: "optional", signatures: counting } as const;
        const authority = taken(Authority.of(verified, signer, rules, readings));
        const access = { actor: { type: "a", id: "b" }, message: "m", args: null, now_ms: 0, signer };
        return !isRefusal(authority.refuse({ ...access, address: undefined, authority: "gate.example" }));
      },
    };
  }

  test("that held is not verified again, neither for the token nor for what descends from it", () => {
    const one = gate();
    const bobs = handedOn(adas, bob.publicKey, signedFor(adas, bob.publicKey));
    for (const _ of [1, 2, 3]) expect(one.takes(bobs, bob.publicKey)).toBe(true);
    expect(one.takes(taken(attenuate(bobs, ["message in m"])), bob.publicKey)).toBe(true);
    expect(one.asked).toBe(1);
    expect(one.takes(bobs, ada.publicKey)).toBe(false);
  });

  test("that is forged is refused each time, beside one that held", () => {
    const one = gate();
    const genuine = signedFor(adas, bob.publicKey);
    expect(one.takes(handedOn(adas, bob.publicKey, genuine), bob.publicKey)).toBe(true);
    const forged = handedOn(adas, bob.publicKey, flipBit(genuine, 300));
    for (const _ of [1, 2]) expect(one.takes(forged, bob.publicKey)).toBe(false);
    // The same signature for another key, and in another place of the chain.
    for (const _ of [1, 2])
      expect(one.takes(handedOn(adas, cy.publicKey, genuine), cy.publicKey)).toBe(false);
    const elsewhere = taken(attenuate(adas, ["message in m"]));
    for (const _ of [1, 2])
      expect(one.takes(handedOn(elsewhere, bob.publicKey, genuine), bob.publicKey)).toBe(false);
    expect(one.asked).toBe(7);
  });
});
