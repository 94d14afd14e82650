/** Law 1 for what was revoked: it and all that descend from it never pass again; what is unrelated always does. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromUtf8, toHex, utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { REVOCATION_GRACE_MS, REVOCATIONS_PER_PAGE, REVOCATIONS_PER_TENANT_MAX } from "../../src/limits.ts";
import { attenuate } from "../../src/token/chain.ts";
import { formatIdentifier, type Macaroon } from "../../src/token/macaroon.ts";
import {
  decodePage,
  encodePage,
  REVOCATION_KINDS,
  type Revocation,
  type RevocationKind,
  RevocationSet,
  subtreeDigest,
} from "../../src/token/revocation.ts";
import { verify } from "../../src/token/verify.ts";
import { flipBit, mint, SECRET } from "./arbitrary.ts";
import { refused, taken } from "./outcome.ts";

const AT = "2026-01-31T12:00:00Z";
const SIGNER = "5".repeat(64);
const HOLDERS = ["1".repeat(64), "2".repeat(64)];
const NOW_MS = 1_800_000_000_000;

const verified = (macaroon: Macaroon) => taken(verify(macaroon, SECRET));
const setOf = (...entries: readonly Pick<Revocation, "kind" | "value" | "until_ms">[]): RevocationSet => {
  const set = new RevocationSet();
  for (const entry of entries) set.add({ ...entry, at: AT }, NOW_MS);
  return set;
};

/** A few tokens that share nonces, kids, caveats and prefixes as often as not. */
const anyNonce = fc.constantFrom("A", "B").map((letter) => letter.repeat(22));
const anyCaveats = fc.array(
  fc.constantFrom("message in a", "message in b", ...HOLDERS.map((key) => `holder = ${key}`), "unread"),
  { maxLength: 5 },
);
const anyToken = fc
  .tuple(fc.integer({ min: 1, max: 2 }), anyNonce, anyCaveats)
  .map(([kid, nonce, caveats]) => ({ kid, nonce, caveats }));
type Token = { readonly kid: number; readonly nonce: string; readonly caveats: readonly string[] };
const macaroonOf = ({ kid, nonce, caveats }: Token): Macaroon =>
  mint(caveats, SECRET, formatIdentifier("demo", kid, nonce));

/** What is revoked, as a person would say it. */
type Order =
  | { readonly kind: Exclude<RevocationKind, "subtree">; readonly value: string }
  | { readonly kind: "subtree"; readonly of: Token };
const anyOrder: fc.Arbitrary<Order> = fc.oneof(
  anyNonce.map((value) => ({ kind: "token" as const, value })),
  anyToken.filter(({ caveats }) => caveats.length > 0).map((of) => ({ kind: "subtree" as const, of })),
  fc.constantFrom(SIGNER, ...HOLDERS).map((value) => ({ kind: "holder" as const, value })),
  fc.constantFrom("1", "2").map((value) => ({ kind: "kid" as const, value })),
  fc.constantFrom("demo", "other").map((value) => ({ kind: "tenant" as const, value })),
);
const entryOf = (order: Order) =>
  order.kind === "subtree"
    ? { kind: order.kind, value: subtreeDigest(macaroonOf(order.of).signature) }
    : order;

/** The meaning of an order, without sets and digests. */
function reaches(order: Order, token: Token, signer: string): boolean {
  if (order.kind === "subtree")
    return (
      order.of.kid === token.kid &&
      order.of.nonce === token.nonce &&
      order.of.caveats.every((caveat, i) => token.caveats[i] === caveat)
    );
  const named = {
    token: [token.nonce],
    holder: [signer, ...HOLDERS.filter((key) => token.caveats.includes(`holder = ${key}`))],
    kid: [String(token.kid)],
    tenant: ["demo"],
  };
  return named[order.kind].includes(order.value);
}

describe("the set", () => {
  it("refuses exactly what an order reaches, whatever else is revoked", () => {
    fc.assert(
      fc.property(fc.array(anyOrder, { maxLength: 4 }), anyToken, (orders, token) => {
        const answer = setOf(...orders.map(entryOf)).refuse(verified(macaroonOf(token)), SIGNER);
        expect(answer?.code).toBe(
          orders.some((order) => reaches(order, token, SIGNER)) ? "token_revoked" : undefined,
        );
      }),
      { numRuns: 500 },
    );
  });

  it("never lets a descendant pass, and always the ancestors and siblings of what was revoked", () => {
    fc.assert(
      fc.property(anyToken, fc.array(fc.string(), { maxLength: 3 }), fc.nat(4), (token, more, cut) => {
        const macaroon = macaroonOf(token);
        const set = setOf({ kind: "subtree", value: subtreeDigest(macaroon.signature) });
        const below = verified(taken(attenuate(macaroon, more)));
        if (below.caveats.length > 0 && token.caveats.length > 0)
          expect(set.refuse(below, SIGNER)?.code).toBe("token_revoked");
        const above = { ...token, caveats: token.caveats.slice(0, Math.min(cut, token.caveats.length - 1)) };
        if (token.caveats.length > 0) {
          expect(set.refuse(verified(macaroonOf(above)), SIGNER)).toBeUndefined();
          const sibling = { ...above, caveats: [...above.caveats, "a sibling", ...more] };
          expect(set.refuse(verified(macaroonOf(sibling)), SIGNER)).toBeUndefined();
        }
      }),
    );
  });

  it("says which caveat, and neither a tail nor a digest", () => {
    const token = { kid: 1, nonce: "A".repeat(22), caveats: ["message in a", `holder = ${HOLDERS[0]}`, "x"] };
    const tail = macaroonOf({ ...token, caveats: token.caveats.slice(0, 2) }).signature;
    for (const order of [
      { kind: "subtree", value: subtreeDigest(tail) },
      { kind: "holder", value: HOLDERS[0] ?? "" },
    ] as const) {
      const refusal = refused(setOf(order).refuse(verified(macaroonOf(token)), SIGNER));
      expect(refusal.facts).toEqual({ token: 0, caveat: { index: 1, text: `holder = ${HOLDERS[0]}` } });
      const told = JSON.stringify(refusal);
      for (const secret of [toHex(tail), subtreeDigest(tail)]) expect(told).not.toContain(secret);
    }
  });

  it("knows a holder that a delegation names", () => {
    const delegated = verified(mint(["actor = a/1", `delegate = ${HOLDERS[1]} ${"0".repeat(128)}`]));
    expect(setOf({ kind: "holder", value: HOLDERS[1] ?? "" }).refuse(delegated, SIGNER)?.code).toBe(
      "token_revoked",
    );
    expect(setOf({ kind: "holder", value: HOLDERS[0] ?? "" }).refuse(delegated, SIGNER)).toBeUndefined();
  });

  it("forgets an entry only when what it reaches has been expired for long", () => {
    const value = "A".repeat(22);
    const token = verified(mint([]));
    const expiring = { kind: "token", value, at: AT, until_ms: NOW_MS } as const;
    const set = setOf(expiring);
    set.forget(NOW_MS + REVOCATION_GRACE_MS - 1);
    expect(set.refuse(token, SIGNER)?.code).toBe("token_revoked");
    set.forget(NOW_MS + REVOCATION_GRACE_MS);
    expect([set.size, set.refuse(token, SIGNER)]).toEqual([0, undefined]);
    set.add(expiring, NOW_MS + REVOCATION_GRACE_MS);
    expect(set.size).toBe(0);
    // Revoked twice, the later end counts, in either order.
    for (const ends of [
      [NOW_MS, Infinity],
      [Infinity, NOW_MS],
    ]) {
      const twice = setOf(...ends.map((until_ms) => ({ kind: "token" as const, value, until_ms })));
      twice.forget(NOW_MS + 10 * REVOCATION_GRACE_MS);
      expect(twice.refuse(token, SIGNER)?.code).toBe("token_revoked");
    }
  });

  it("refuses every token of the tenant once it is full, and forgets nothing; a key can still be revoked", () => {
    const set = new RevocationSet();
    const token = verified(mint(["message in a"]));
    for (let i = 0; i < REVOCATIONS_PER_TENANT_MAX; i++)
      set.add({ kind: "token", value: String(i).padStart(22, "-"), at: AT }, NOW_MS);
    set.add({ kind: "token", value: "-".repeat(21).concat("0"), at: AT }, NOW_MS);
    set.add({ kind: "kid", value: "7", at: AT }, NOW_MS);
    expect([set.size, set.refuse(token, SIGNER)]).toEqual([REVOCATIONS_PER_TENANT_MAX + 1, undefined]);
    set.add({ kind: "subtree", value: "0".repeat(64), at: AT }, NOW_MS);
    expect(set.size).toBe(REVOCATIONS_PER_TENANT_MAX + 1);
    expect(set.refuse(token, SIGNER)).toMatchObject({ code: "token_revoked" });
  });
});

const anyEntry: fc.Arbitrary<Revocation> = fc.record(
  {
    kind: fc.constant("kid" as const),
    value: fc.integer({ min: 1, max: 999_999_999 }).map(String),
    at: fc.string(),
    until_ms: fc.maxSafeInteger(),
    reason: fc.string({ unit: "binary" }),
  },
  { requiredKeys: ["kind", "value", "at"] },
);

describe("a page", () => {
  it("is read as it was written, whatever the reasons say", () => {
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 20 }), fc.nat(9_999_999), (entries, page) => {
        const written = encodePage({ tenant: "demo", page, entries }, "n");
        expect(decodePage(written, "demo", page)).toEqual({ tenant: "demo", page, entries });
        expect(decodePage(written, "other", page)).toBeTypeOf("string");
        expect(decodePage(written, "demo", page + 1)).toBeTypeOf("string");
      }),
    );
  });

  const entries: readonly Revocation[] = [
    { kind: "tenant", value: "demo", at: AT },
    { kind: "holder", value: "0".repeat(64), at: AT, reason: "gone" },
  ];
  const written = encodePage({ tenant: "demo", page: 3, entries }, "n");

  it("is refused with one bit turned over, or cut", () => {
    for (let bit = 0; bit < written.length * 8; bit++)
      expect(decodePage(flipBit(written, bit), "demo", 3)).toBeTypeOf("string");
    for (let length = 0; length < written.length; length++)
      expect(decodePage(written.subarray(0, length), "demo", 3)).toBeTypeOf("string");
  });

  it("is refused whole where one entry is not understood, or there are too many", () => {
    const wrong = (entry: object): unknown =>
      decodePage(encodePage({ tenant: "demo", page: 0, entries: [entry as Revocation] }, "n"), "demo", 0);
    expect(isRefusal(wrong({ kind: "kid", value: "1", at: AT }))).toBe(false);
    for (const entry of [
      { kind: "audience", value: "x", at: AT },
      { kind: "kid", value: 1, at: AT },
      { kind: "kid", value: "01", at: AT },
      { kind: "holder", value: "A".repeat(64), at: AT },
      { kind: "kid", value: "1" },
      { kind: "kid", value: "1", at: AT, until_ms: "never" },
    ])
      expect(wrong(entry), JSON.stringify(entry)).toBe("has an entry that this version does not understand");
    const many = (count: number): unknown => {
      const full = Array.from(
        { length: count },
        (_, i) => ({ kind: "kid", value: String(i + 1), at: AT }) as const,
      );
      return decodePage(encodePage({ tenant: "demo", page: 0, entries: full }, "n"), "demo", 0);
    };
    expect(many(REVOCATIONS_PER_PAGE)).toBeTypeOf("object");
    expect(many(REVOCATIONS_PER_PAGE + 1)).toBeTypeOf("string");
  });

  it("can be read by a person", () => {
    expect(fromUtf8(written)?.split("\n").slice(1)).toEqual([
      '{"tenant":"demo","page":3,"nonce":"n"}',
      `{"kind":"tenant","value":"demo","at":"${AT}"}`,
      `{"kind":"holder","value":"${"0".repeat(64)}","at":"${AT}","reason":"gone"}`,
    ]);
  });
});

it("the digest of a tail is neither the tail nor its plain hash", async () => {
  const { signature } = mint(["message in a"]);
  const plain = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(signature)));
  expect(subtreeDigest(signature)).toMatch(/^[0-9a-f]{64}$/);
  expect([toHex(signature), toHex(plain)]).not.toContain(subtreeDigest(signature));
  const tagged = new Uint8Array([...utf8("postern/revocation/subtree/v1\n"), ...signature]);
  expect(subtreeDigest(signature)).toBe(toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", tagged))));
});

it("there are five kinds", () => {
  expect(REVOCATION_KINDS).toEqual(["token", "subtree", "holder", "kid", "tenant"]);
});
