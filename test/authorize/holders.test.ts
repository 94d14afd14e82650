/** Handing a bound token on, offline: what each of its holders, former holders and thieves can and cannot do. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Grant } from "../../src/authorize/authorize.ts";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { toHex } from "../../src/bytes.ts";
import type { Refusal } from "../../src/errors.ts";
import { DELEGATE_CAVEATS_MAX } from "../../src/limits.ts";
import { delegationMessage, holderSigner } from "../../src/signature/holder.ts";
import type { Signer } from "../../src/signature/scheme.ts";
import { attenuate } from "../../src/token/chain.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { verify } from "../../src/token/verify.ts";
import { authorize } from "../support/authorize.ts";
import { mint, SECRET } from "../token/arbitrary.ts";
import { outcome, refused, taken } from "../token/outcome.ts";
import { ACCESS, SIGNATURES } from "./arbitrary.ts";

function signer(secret: string): Signer {
  const made = holderSigner(secret, (length) => new Uint8Array(length));
  if (made === undefined) throw new Error("no key");
  return made;
}

const [ADA, BOB, CARL] = ["01", "02", "03"].map((byte) => signer(byte.repeat(32))) as [
  Signer,
  Signer,
  Signer,
];
const ADA25519 = signer(`ed25519:${"04".repeat(32)}`);
const NOTHING = new Uint8Array(32);

const add = (token: Macaroon, ...caveats: string[]): Macaroon => taken(attenuate(token, caveats));
const bound = (...caveats: string[]): Macaroon =>
  mint(["actor = account/alice", "expires < 2031-01-01T00:00:00Z", ...caveats]);
const holder = (key: Signer): string => `holder = ${key.publicKey}`;

/** A delegation of this token, whoever signs it. */
function delegate(token: Macaroon, from: Signer, to: Signer): Macaroon {
  const signature = from.sign(delegationMessage(token.signature, to.publicKey));
  return add(token, `delegate = ${to.publicKey} ${toHex(signature)}`);
}

function ask(token: Macaroon, by: Signer, message = "deposit"): Grant | Refusal {
  const access = { ...ACCESS, message, signer: by.publicKey };
  return authorize(taken(verify(token, SECRET)), access, { holder: "required", signatures: SIGNATURES });
}

const admits = (token: Macaroon, by: Signer, message?: string): boolean =>
  outcome(ask(token, by, message)) === "taken";

describe("a delegation", () => {
  const ada = bound(holder(ADA));
  const bob = delegate(ada, ADA, BOB);

  test("is for the new holder alone", () => {
    expect([ADA, BOB, CARL].map((key) => admits(bob, key))).toEqual([false, true, false]);
    expect([ADA, BOB, CARL].map((key) => admits(ada, key))).toEqual([true, false, false]);
  });

  test("can be handed on again, by its holder alone", () => {
    const carl = delegate(bob, BOB, CARL);
    expect([ADA, BOB, CARL].map((key) => admits(carl, key))).toEqual([false, false, true]);
    expect(admits(delegate(carl, CARL, ADA), ADA)).toBe(true);
    for (const from of [ADA, CARL]) expect(admits(delegate(bob, from, CARL), CARL)).toBe(false);
  });

  test("to oneself changes nothing", () => {
    expect([ADA, BOB].map((key) => admits(delegate(ada, ADA, ADA), key))).toEqual([true, false]);
  });

  test("goes from and to keys of both schemes", () => {
    const from25519 = delegate(bound(holder(ADA25519)), ADA25519, BOB);
    expect(admits(from25519, BOB)).toBe(true);
    const to25519 = delegate(from25519, BOB, ADA25519);
    expect([BOB, ADA25519].map((key) => admits(to25519, key))).toEqual([false, true]);
    // The same 32 bytes as a key of the other scheme are another key.
    const twin = { ...ADA25519, publicKey: ADA25519.publicKey.replace("ed25519:", "") };
    expect(admits(to25519, twin)).toBe(false);
    const [, signature = ""] = /([0-9a-f]{128})$/.exec(formatOf(to25519)) ?? [];
    expect(admits(add(from25519, `delegate = ${twin.publicKey} ${signature}`), twin)).toBe(false);
  });

  test("keeps every caveat before it, and takes those after it", () => {
    const narrow = delegate(bound(holder(ADA), "message in deposit,balance"), ADA, BOB);
    const narrower = add(narrow, "message in balance");
    expect(["deposit", "balance", "withdraw"].map((message) => admits(narrow, BOB, message))).toEqual([
      true,
      true,
      false,
    ]);
    expect(["deposit", "balance"].map((message) => admits(narrower, BOB, message))).toEqual([false, true]);
  });

  test("says of a refusal which caveat it is, and why", () => {
    expect(refused(ask(bob, ADA))).toMatchObject({
      code: "caveat_denied",
      detail: "caveat 3 forbids this call: the request is signed by another key than the holder's",
      facts: { caveat: { index: 3 } },
    });
    expect(refused(ask(delegate(ada, CARL, BOB), BOB)).detail).toContain(
      "not signed by the holder before it",
    );
  });
});

function formatOf({ unsafeCaveats }: Macaroon): string {
  return Buffer.from(unsafeCaveats.at(-1)?.cid ?? NOTHING).toString();
}

describe("a thief", () => {
  const ada = bound(holder(ADA));
  const bob = delegate(ada, ADA, BOB);
  const THIEF = CARL;

  test("of tokens has nothing, with or without a delegation of his own making", () => {
    for (const stolen of [ada, bob]) {
      expect(admits(stolen, THIEF)).toBe(false);
      expect(admits(delegate(stolen, THIEF, THIEF), THIEF)).toBe(false);
      expect(admits(add(stolen, holder(THIEF)), THIEF)).toBe(false);
      expect(admits(delegate(add(stolen, holder(THIEF)), THIEF, THIEF), THIEF)).toBe(false);
    }
  });

  test("of a delegation can put it on no other token, no other place and for nobody else", () => {
    const stolen = formatOf(bob);
    const own = stolen.replace(BOB.publicKey, THIEF.publicKey);
    expect(admits(add(ada, own), THIEF)).toBe(false);
    expect(admits(add(bound(holder(ADA), "message in deposit"), stolen), BOB)).toBe(false);
    expect(admits(add(ada, "message in deposit", stolen), BOB)).toBe(false);
    expect(admits(add(bob, stolen), BOB)).toBe(false);
    // Where it stood it stands: that is the token that BOB has.
    expect(admits(add(ada, stolen), BOB)).toBe(true);
  });

  test("who has a former holder's key and the token handed on cannot take it back", () => {
    expect(admits(bob, ADA)).toBe(false);
    for (const to of [ADA, THIEF]) expect(admits(delegate(bob, ADA, to), to)).toBe(false);
  });

  test("of the token and of its holder's key is its holder: nothing can tell them apart", () => {
    expect(admits(delegate(bob, BOB, THIEF), THIEF)).toBe(true);
  });
});

describe("a former holder", () => {
  const ada = bound(holder(ADA));

  test("who kept the token has it as it was, with what was her own, and no more", () => {
    const narrowed = add(ada, "message in deposit");
    const bob = delegate(narrowed, ADA, BOB);
    expect(admits(ada, ADA, "withdraw")).toBe(true);
    expect([admits(bob, ADA), admits(add(ada, formatOf(bob)), ADA)]).toEqual([false, false]);
  });

  test("narrows before she delegates: what she adds behind is not part of what she signed", () => {
    const loose = delegate(ada, ADA, BOB);
    const signed = delegate(add(ada, "message in balance"), ADA, BOB);
    const after = add(loose, "message in balance");
    // BOB, who gets hold of her own token, can leave out what stands behind, and nothing that stands before.
    expect(admits(add(ada, formatOf(loose)), BOB, "deposit")).toBe(true);
    expect(admits(add(ada, formatOf(signed)), BOB, "deposit")).toBe(false);
    expect(admits(after, BOB, "deposit")).toBe(false);
  });
});

describe("wrong order", () => {
  test("a delegation without a holder before it is refused, also where one follows", () => {
    const free = bound();
    for (const token of [delegate(free, ADA, BOB), add(delegate(free, ADA, BOB), holder(BOB))])
      expect(refused(ask(token, BOB)).detail).toContain("there is no holder before it");
  });

  test("two holders are nobody", () => {
    const both = bound(holder(ADA), holder(BOB));
    for (const key of [ADA, BOB]) expect(admits(both, key)).toBe(false);
    for (const from of [ADA, BOB])
      for (const to of [ADA, BOB, CARL]) expect(admits(delegate(both, from, to), to)).toBe(false);
  });

  test("holders that say the same are one, before and after a delegation", () => {
    const token = add(delegate(bound(holder(ADA), holder(ADA)), ADA, BOB), holder(BOB));
    expect([ADA, BOB].map((key) => admits(token, key))).toEqual([false, true]);
    expect(admits(delegate(add(token, holder(BOB)), BOB, CARL), CARL)).toBe(true);
  });

  test("the former holder named again behind a delegation makes it nobody's", () => {
    const token = add(delegate(bound(holder(ADA)), ADA, BOB), holder(ADA));
    for (const key of [ADA, BOB]) expect(admits(token, key)).toBe(false);
    for (const from of [ADA, BOB]) expect(admits(delegate(token, from, CARL), CARL)).toBe(false);
  });

  test("delegations that changed places", () => {
    const carl = delegate(delegate(bound(holder(ADA)), ADA, BOB), BOB, CARL);
    const [first = "", second = ""] = carl.unsafeCaveats
      .slice(-2)
      .map(({ cid }) => Buffer.from(cid).toString());
    expect(admits(add(bound(holder(ADA)), first, second), CARL)).toBe(true);
    for (const key of [ADA, BOB, CARL])
      expect(admits(add(bound(holder(ADA)), second, first), key)).toBe(false);
  });
});

test("a chain of delegations has a bound", () => {
  let token = bound(holder(ADA));
  for (let count = 0; count < DELEGATE_CAVEATS_MAX; count++) token = delegate(token, ADA, ADA);
  expect(admits(token, ADA)).toBe(true);
  expect(outcome(ask(delegate(token, ADA, ADA), ADA))).toBe("unknown_caveat");
});

test("no signature is verified for who has another key, or where the chain is wrong without it", () => {
  let verified = 0;
  const counting = {
    verifyDelegation: () => {
      verified++;
      return true;
    },
  };
  const askCounting = (token: Macaroon, by: Signer) =>
    authorize(
      taken(verify(token, SECRET)),
      { ...ACCESS, signer: by.publicKey },
      {
        holder: "required",
        signatures: counting,
      },
    );
  const bob = delegate(bound(holder(ADA)), ADA, BOB);
  expect(outcome(askCounting(bob, CARL))).toBe("caveat_denied");
  expect(outcome(askCounting(add(bob, holder(ADA)), BOB))).toBe("caveat_denied");
  expect(verified).toBe(0);
  expect(outcome(askCounting(bob, BOB))).toBe("taken");
  expect(verified).toBe(1);
});

describe("law 2, for random chains of bindings and delegations", () => {
  const KEYS = [ADA, BOB, CARL];
  const anyKey = fc.constantFrom(...KEYS);
  type Link =
    | { readonly kind: "holder"; readonly to: Signer }
    | { readonly kind: "delegate"; readonly from: Signer; readonly to: Signer }
    | { readonly kind: "message"; readonly text: string };
  const anyLink: fc.Arbitrary<Link> = fc.oneof(
    fc.record({ kind: fc.constant("holder" as const), to: anyKey }),
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("delegate" as const), from: anyKey, to: anyKey }) },
    fc.record({
      kind: fc.constant("message" as const),
      text: fc.constantFrom("message in deposit", "message in deposit,withdraw", "message in balance"),
    }),
  );
  /** Signatures that cost nothing and that only the holder can make. */
  const cheap = (key: Signer): Signer => ({
    publicKey: key.publicKey,
    sign: (message) => Buffer.concat([Buffer.from(key.publicKey, "hex"), message]),
  });
  const signatures = {
    verifyDelegation: (from: string, tail: Uint8Array, to: string, signature: Uint8Array) =>
      toHex(signature) === from + toHex(delegationMessage(tail, to)),
  };
  const link = (token: Macaroon, { ...next }: Link): Macaroon => {
    if (next.kind === "delegate") return delegate(token, cheap(next.from), next.to);
    return add(token, next.kind === "holder" ? holder(next.to) : next.text);
  };
  const admitted = (token: Macaroon): readonly string[] =>
    KEYS.flatMap((key) =>
      ["deposit", "withdraw", "balance"].flatMap((message) => {
        const access = { ...ACCESS, message, signer: key.publicKey };
        const rules = { holder: "required", signatures } as const;
        const grant = authorize(taken(verify(token, SECRET)), access, rules);
        return outcome(grant) === "taken" ? [`${key.publicKey} ${message}`] : [];
      }),
    );
  const messagesIn = (calls: readonly string[]): ReadonlySet<string> =>
    new Set(calls.map((each) => each.split(" ")[1] ?? ""));

  test("what a link adds admits a subset, or the same messages or fewer by another key that the holder has signed for", () => {
    let handedOn = 0;
    fc.assert(
      fc.property(fc.array(anyLink, { maxLength: 5 }), anyLink, (links, added) => {
        const wide = links.reduce(link, bound(holder(ADA)));
        const [before, after] = [admitted(wide), admitted(link(wide, added))];
        if (added.kind !== "delegate") {
          expect(before).toEqual(expect.arrayContaining([...after]));
          return;
        }
        expect(messagesIn(after).isSubsetOf(messagesIn(before))).toBe(true);
        const { from, to } = added;
        expect(after.every((each) => each.startsWith(to.publicKey))).toBe(true);
        if (after.length > 0) {
          expect(before.every((each) => each.startsWith(from.publicKey))).toBe(true);
          handedOn++;
        }
      }),
      { numRuns: 1000 },
    );
    expect(handedOn).toBeGreaterThan(30);
  });
});

test("a holder caveat reads as the command line writes it", () => {
  expect(formatCaveat("holder", ADA25519.publicKey)).toBe(holder(ADA25519));
});
