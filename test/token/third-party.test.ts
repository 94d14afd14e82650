/** Third-party caveats and their discharges: what verifies, and everything else that does not. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromUtf8, toBase64url, utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { CONDITION_BYTES_MAX, DISCHARGE_NESTING_MAX, DISCHARGES_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { type Addition, attenuate, tailsOf } from "../../src/token/chain.ts";
import { decodeV2, encodeV2 } from "../../src/token/codec-v2.ts";
import { bindDischarge, mintDischarge } from "../../src/token/discharge.ts";
import type { Macaroon } from "../../src/token/macaroon.ts";
import { sealBox } from "../../src/token/sealed-box.ts";
import { openTicket, type ThirdPartyCaveat, thirdPartyCaveat } from "../../src/token/third-party.ts";
import { verify } from "../../src/token/verify.ts";
import { random } from "../support/gate.ts";
import { flipBit, mint, SECRET } from "./arbitrary.ts";
import { asking, bound, discharge, PLACE, SERVICE, SERVICE_KEY } from "./discharges.ts";
import { outcome, refused, taken } from "./outcome.ts";

const withCaveats = (...additions: readonly Addition[]): Macaroon => taken(attenuate(mint(), additions));

describe("a ticket", () => {
  test("tells its service the condition, and the key that its discharges are minted with", () => {
    const caveat = asking("withdraw more than 100");
    expect(openTicket(caveat.ticket, SERVICE)).toMatchObject({ condition: "withdraw more than 100" });
    expect(openTicket(caveat.ticket, SERVICE)?.rootKey.expose()).toEqual(caveat.rootKey.expose());
  });

  test("tells nobody else anything, and is never the same twice", () => {
    expect(openTicket(asking().ticket, new Secret(new Uint8Array(32).fill(8)))).toBeUndefined();
    expect(asking().ticket).not.toEqual(asking().ticket);
    expect(fromUtf8(asking("please").ticket)?.includes("please") ?? false).toBe(false);
  });

  test("is not read where a byte of it differs", () => {
    const { ticket } = asking();
    for (let byte = 0; byte < ticket.length; byte++)
      // X25519 ignores the highest bit of a public key (that of byte 31), but the nonce is made of it.
      expect(openTicket(flipBit(ticket, byte * 8 + (byte % 8)), SERVICE), `byte ${byte}`).toBeUndefined();
  });

  test("of another version, or cut short, is not read", () => {
    const sealed = (...bytes: number[]) =>
      sealBox(Uint8Array.from([...bytes, ...new Uint8Array(32)]), SERVICE_KEY, SERVICE) ?? new Uint8Array();
    expect(openTicket(sealed(1), SERVICE)?.condition).toBe("");
    expect(openTicket(sealed(2), SERVICE)).toBeUndefined();
    expect(openTicket(sealed(), SERVICE)).toBeUndefined();
    const cut = sealBox(Uint8Array.of(1, 2, 3), SERVICE_KEY, SERVICE) ?? new Uint8Array();
    expect(openTicket(cut, SERVICE)).toBeUndefined();
    expect(openTicket(sealed(1, ...new Uint8Array(32), 0xff), SERVICE)).toBeUndefined();
  });

  test.each([
    ["a location that is no URL", { location: "auth.example" }],
    ["one of another scheme", { location: "file:///etc/passwd" }],
    ["one with a query", { location: `${PLACE}?a` }],
    ["one with a fragment", { location: `${PLACE}#a` }],
    ["one with a user", { location: "https://a@auth.example" }],
    ["a key that is too short", { publicKey: new Uint8Array(31) }],
    ["a key of low order", { publicKey: new Uint8Array(32) }],
    ["a condition that is too long", { condition: "é".repeat(CONDITION_BYTES_MAX / 2 + 1) }],
  ])("is not made for %s", (_, wrong) => {
    const right = { location: PLACE, publicKey: SERVICE_KEY, condition: "please" };
    expect(outcome(thirdPartyCaveat(right, random))).toBe("taken");
    expect(outcome(thirdPartyCaveat({ ...right, ...wrong }, random))).toBe("malformed_request");
  });

  test("a token carries no more third parties than a request carries discharges", () => {
    const caveats = Array.from({ length: DISCHARGES_MAX }, () => asking());
    const full = taken(attenuate(mint(), caveats));
    expect(outcome(attenuate(full, ["a = 1"]))).toBe("taken");
    expect(outcome(attenuate(full, [asking()]))).toBe("token_malformed");
  });
});

describe("a token with third parties", () => {
  test("verifies with a discharge for each, in any order, and holds the caveats of all", () => {
    const [one, two] = [asking("one"), asking("two")];
    const token = withCaveats("a = 1", one, "b = 2", two, "c = 3");
    const discharges = [bound(token, two, ["e = 5"]), bound(token, one, ["d = 4", "f = 6"])];
    const verified = taken(verify(token, SECRET, discharges));
    expect(verified.caveats.map(({ index, text }) => [index, text])).toEqual([
      [0, "a = 1"],
      [2, "b = 2"],
      [4, "c = 3"],
    ]);
    expect(verified.thirdParties.map(({ index }) => index)).toEqual([1, 3]);
    expect(verified.discharges).toMatchObject([
      {
        token: 2,
        discharges: { token: 0, caveat: 1 },
        caveats: [
          { index: 0, text: "d = 4" },
          { index: 1, text: "f = 6" },
        ],
      },
      { token: 1, discharges: { token: 0, caveat: 3 }, caveats: [{ index: 0, text: "e = 5" }] },
    ]);
    expect(verified.tail).toEqual(token.signature);
    expect(outcome(verify(token, SECRET, discharges.toReversed()))).toBe("taken");
  });

  test("says of all that are missing where to ask and with which ticket, nested ones too", () => {
    const [one, two, inner] = [asking("one"), asking("two", "https://two.example"), asking("inner")];
    const token = withCaveats("a = 1", one, two);
    const refusal = refused(verify(token, SECRET, [bound(token, one, ["b = 2", inner])]));
    expect(refusal).toMatchObject({
      code: "discharge_missing",
      facts: {
        token: 0,
        caveat: { index: 2, text: "third party https://two.example" },
        discharges: [
          { location: "https://two.example", ticket: toBase64url(two.ticket) },
          { location: PLACE, ticket: toBase64url(inner.ticket) },
        ],
      },
    });
    expect(refusal.detail).toBe(
      'caveat 2 needs a discharge from "https://two.example", and 1 more are missing',
    );
  });

  test("two caveats with one ticket need two discharges", () => {
    const one = asking();
    const token = withCaveats(one, one);
    const answer = bound(token, one);
    expect(outcome(verify(token, SECRET, [answer]))).toBe("discharge_missing");
    expect(outcome(verify(token, SECRET, [answer, answer]))).toBe("taken");
    expect(refused(verify(token, SECRET, [answer, answer, answer]))).toMatchObject({
      code: "token_invalid",
      facts: { token: 3 },
    });
  });

  test("is refused with a discharge that no caveat asks for, by its index", () => {
    const [one, other] = [asking(), asking()];
    const token = withCaveats(one);
    expect(refused(verify(token, SECRET, [bound(token, one), bound(token, other)]))).toMatchObject({
      code: "token_invalid",
      facts: { token: 2 },
    });
    expect(refused(verify(mint(), SECRET, [bound(mint(), one)]))).toMatchObject({
      code: "token_invalid",
      facts: { token: 1 },
    });
  });

  test("no discharge vouches for itself: a cycle is a caveat without a discharge", () => {
    const [one, two] = [asking("one"), asking("two")];
    const token = withCaveats(one);
    expect(outcome(verify(token, SECRET, [bound(token, one, [one])]))).toBe("discharge_missing");
    const circle = [bound(token, one, [two]), bound(token, two, [one])];
    expect(outcome(verify(token, SECRET, circle))).toBe("discharge_missing");
  });

  test("nesting is bounded", () => {
    const caveats = Array.from({ length: DISCHARGE_NESTING_MAX + 1 }, (_, level) => asking(`level ${level}`));
    const [first = asking()] = caveats;
    const token = withCaveats(first);
    const chain = (depth: number) =>
      caveats.slice(0, depth).map((caveat, level) => {
        const next = caveats[level + 1];
        return bound(token, caveat, level + 1 < depth && next !== undefined ? [next] : []);
      });
    expect(outcome(verify(token, SECRET, chain(DISCHARGE_NESTING_MAX)))).toBe("taken");
    expect(refused(verify(token, SECRET, chain(DISCHARGE_NESTING_MAX + 1)))).toMatchObject({
      code: "token_invalid",
      facts: { token: DISCHARGE_NESTING_MAX },
    });
  });

  test("how many are asked for is bounded, though they be asked for by discharges", () => {
    const one = asking();
    const token = withCaveats(one);
    const many = Array.from({ length: DISCHARGES_MAX }, () => asking());
    expect(outcome(verify(token, SECRET, [bound(token, one, many)]))).toBe("token_invalid");
    expect(outcome(verify(token, SECRET, [bound(token, one, many.slice(1))]))).toBe("discharge_missing");
  });

  test("bytes of a discharge that are no text are refused by their place", () => {
    const one = asking();
    const token = withCaveats(one);
    const unsafeCaveats = [{ cid: utf8("a = 1") }, { cid: Uint8Array.of(0xff) }];
    const signature = tailsOf(one.rootKey, one.ticket, unsafeCaveats).at(-1) ?? new Uint8Array();
    const odd = bindDischarge({ location: "", identifier: one.ticket, unsafeCaveats, signature }, token);
    expect(refused(verify(token, SECRET, [odd]))).toMatchObject({
      code: "unknown_caveat",
      facts: { token: 1, caveat: { index: 1, text: "(not UTF-8)" } },
    });
  });
});

describe("a thief", () => {
  const one = asking();
  const token = withCaveats("a = 1", one);

  test("of a bound discharge cannot use it beside another token, not even a descendant", () => {
    const stolen = bound(token, one);
    expect(outcome(verify(token, SECRET, [stolen]))).toBe("taken");
    const narrower = taken(attenuate(token, ["b = 2"]));
    expect(outcome(verify(narrower, SECRET, [stolen]))).toBe("token_invalid");
    expect(outcome(verify(narrower, SECRET, [bindDischarge(stolen, narrower)]))).toBe("token_invalid");
    expect(outcome(verify(withCaveats(one), SECRET, [stolen]))).toBe("token_invalid");
  });

  test("cannot send it unbound, or bound twice", () => {
    const unbound = discharge(one);
    expect(outcome(verify(token, SECRET, [unbound]))).toBe("token_invalid");
    expect(outcome(verify(token, SECRET, [bindDischarge(bound(token, one), token)]))).toBe("token_invalid");
  });

  test("cannot mint one without the caveat's root key", () => {
    const guess = taken(mintDischarge(one.ticket, new Secret(new Uint8Array(32)), [], PLACE));
    expect(outcome(verify(token, SECRET, [bindDischarge(guess, token)]))).toBe("token_invalid");
  });

  test("cannot change a bit of it", () => {
    const bytes = encodeV2({ ...bound(token, one, ["b = 2", asking(), "c = 3"]), location: "" });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = decodeV2(flipBit(bytes, bit));
      const code = isRefusal(changed) ? changed.code : outcome(verify(token, SECRET, [changed]));
      // A changed identifier is another ticket; the location of a caveat is a hint that decides nothing.
      expect(code, `bit ${bit}`).toMatch(/^(token_malformed|token_invalid|discharge_missing)$/);
    }
  });

  test("cannot take a caveat from it, move one or put one in", () => {
    const own = bound(token, one, ["b = 2", "c = 3", "d = 4"]);
    const { unsafeCaveats } = own;
    const [first = { cid: utf8("") }] = unsafeCaveats;
    for (const changed of [
      unsafeCaveats.slice(1),
      unsafeCaveats.slice(0, -1),
      unsafeCaveats.toReversed(),
      [...unsafeCaveats, first],
      [],
    ])
      expect(outcome(verify(token, SECRET, [{ ...own, unsafeCaveats: changed }]))).toBe("token_invalid");
  });

  test("cannot swap the discharges of two caveats by their identifiers", () => {
    const two = asking();
    const both = withCaveats(one, two);
    const [a, b] = [bound(both, one), bound(both, two)];
    const swapped = [
      { ...a, identifier: b.identifier },
      { ...b, identifier: a.identifier },
    ];
    expect(outcome(verify(both, SECRET, swapped))).toBe("token_invalid");
  });
});

describe("trees of any shape", () => {
  interface Node {
    readonly texts: readonly string[];
    readonly asks: readonly Node[];
  }
  const { node } = fc.letrec<{ node: Node }>((tie) => ({
    node: fc.record({
      texts: fc.array(fc.stringMatching(/^[a-z]{1,4}$/), { maxLength: 2 }),
      asks: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constant([]),
        fc.array(tie("node"), { maxLength: 3 }),
      ),
    }),
  }));

  /** Third-party caveats stand between the texts, which is no order that verifying may depend on. */
  function additionsOf({ texts, asks }: Node, caveats: ReadonlyMap<Node, ThirdPartyCaveat>): Addition[] {
    const [first, ...others] = texts;
    const own = asks.map((ask) => caveats.get(ask) ?? asking());
    return [...(first === undefined ? [] : [first]), ...own, ...others];
  }

  const below = ({ asks }: Node): readonly Node[] => asks.flatMap((ask) => [ask, ...below(ask)]);
  const depthOf = ({ asks }: Node): number => Math.max(0, ...asks.map((ask) => 1 + depthOf(ask)));
  const fits = (tree: Node): boolean =>
    below(tree).length <= DISCHARGES_MAX && depthOf(tree) <= DISCHARGE_NESTING_MAX;

  function built(tree: Node): { readonly token: Macaroon; readonly discharges: readonly Macaroon[] } {
    const nodes = below(tree);
    const caveats = new Map(nodes.map((each) => [each, asking()]));
    const token = taken(attenuate(mint(), additionsOf(tree, caveats)));
    const discharges = nodes.map((each) =>
      bound(token, caveats.get(each) ?? asking(), additionsOf(each, caveats)),
    );
    return { token, discharges };
  }

  const anyTree = node.filter(fits);
  const RUNS = { numRuns: 40 };

  test("hold the caveats of every discharge, whatever order they come in", () => {
    fc.assert(
      fc.property(anyTree, fc.infiniteStream(fc.nat()), (tree, numbers) => {
        const { token, discharges } = built(tree);
        const shuffled = discharges
          .map((each) => ({ each, at: numbers.next().value as number }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ each }) => each);
        const verified = taken(verify(token, SECRET, shuffled));
        const texts = [verified, ...verified.discharges].flatMap(({ caveats }) =>
          caveats.map(({ text }) => text),
        );
        expect(texts.toSorted()).toEqual([tree, ...below(tree)].flatMap((each) => each.texts).toSorted());
      }),
      RUNS,
    );
  });

  test("are refused without one, with one twice, or with one of another token", () => {
    fc.assert(
      fc.property(
        anyTree.filter(({ asks }) => asks.length > 0),
        fc.nat(),
        (tree, number) => {
          const { token, discharges } = built(tree);
          const at = number % discharges.length;
          const [own = token] = discharges.slice(at, at + 1);
          expect(outcome(verify(token, SECRET, discharges.toSpliced(at, 1)))).toBe("discharge_missing");
          expect(outcome(verify(token, SECRET, discharges.toSpliced(at, 0, own)))).toBe("token_invalid");
          const other = built(tree).discharges[at] ?? token;
          expect(outcome(verify(token, SECRET, discharges.with(at, other)))).toBe("discharge_missing");
          const rebound = bindDischarge(own, mint(["x = 1"]));
          expect(outcome(verify(token, SECRET, discharges.with(at, rebound)))).toBe("token_invalid");
          const narrower = taken(attenuate(token, ["x = 1"]));
          expect(outcome(verify(narrower, SECRET, discharges))).toBe("token_invalid");
        },
      ),
      RUNS,
    );
  });
});
