/** The cache of verified prefixes changes what verifying costs, and nothing else. */
import { inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex, utf8 } from "../../src/bytes.ts";
import { isRefusal, refuse } from "../../src/errors.ts";
import { PREFIX_IDLE_MS, PREFIX_SWEEP_MS } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { tailsOf } from "../../src/token/chain.ts";
import { decodeV2, encodeV2 } from "../../src/token/codec-v2.ts";
import {
  formatIdentifier,
  type Identifier,
  type Macaroon,
  parseIdentifier,
  type UnsafeCaveat,
} from "../../src/token/macaroon.ts";
import { type Chain, PrefixCache } from "../../src/token/prefix-cache.ts";
import { RevocationSet, subtreeDigest } from "../../src/token/revocation.ts";
import { verify } from "../../src/token/verify.ts";
import { flipBit } from "./arbitrary.ts";
import { outcome } from "./outcome.ts";

const KEY = new Secret(utf8("the key of this test"));
const SIGNER = "ab".repeat(32);

const nonceOf = (number: number): string => String(number).padStart(22, "A");

/** A genuine token of any caveats, third parties' and unreadable ones included. */
function mint(caveats: readonly (string | UnsafeCaveat)[], tenant = "demo", nonce = 0, key = KEY): Macaroon {
  const unsafeCaveats = caveats.map((caveat) =>
    typeof caveat === "string" ? { cid: utf8(caveat) } : caveat,
  );
  const identifier = utf8(formatIdentifier(tenant, 1, nonceOf(nonce)));
  const signature = tailsOf(key, identifier, unsafeCaveats).at(-1) ?? new Uint8Array();
  return { location: "", identifier, unsafeCaveats, signature };
}

function identifierOf(macaroon: Macaroon): Identifier {
  const identifier = parseIdentifier(macaroon.identifier);
  if (identifier === undefined) throw new Error("the token is not of this test");
  return identifier;
}

interface Clock {
  now_ms: number;
}

function newCache(bytesMax?: number, clock: Clock = { now_ms: 0 }): PrefixCache {
  return new PrefixCache({
    readingBytes: () => 0,
    monotonic_ms: () => clock.now_ms,
    ...(bytesMax !== undefined && { bytesMax }),
  });
}

const chainOf = (cache: PrefixCache, token: Macaroon, key = KEY): Chain =>
  cache.chainOf(identifierOf(token), key, token);

/** How many of the token's tails the cache knows: those are the same objects each time. */
function known(cache: PrefixCache, token: Macaroon, key = KEY): number {
  const again = chainOf(cache, token, key).tails;
  return chainOf(cache, token, key).tails.filter((tail, index) => tail === again[index]).length;
}

function warm(cache: PrefixCache, token: Macaroon, key = KEY): void {
  chainOf(cache, token, key).keep();
}

describe("what it saves", () => {
  test("the same token costs no HMAC, a descendant those of its new caveats", () => {
    const cache = newCache();
    warm(cache, mint(["a = 1", "b = 2"]));
    expect(known(cache, mint(["a = 1", "b = 2"]))).toBe(3);
    expect(known(cache, mint(["a = 1", "b = 2", "c = 3", "d = 4"]))).toBe(3);
    expect(known(cache, mint(["a = 1", "x = 9"]))).toBe(2);
    expect(known(cache, mint([]))).toBe(1);
    expect(known(cache, mint([], "demo", 1))).toBe(0);
    expect(cache.size).toBe(3);
  });

  test("third parties' caveats count like others, and are known by both their parts", () => {
    const cache = newCache();
    const third = { cid: utf8("c"), vid: utf8("v") };
    warm(cache, mint(["a = 1", third, "b = 2"]));
    expect(known(cache, mint(["a = 1", third, "b = 2"]))).toBe(4);
    for (const other of ["c", { cid: utf8("c"), vid: utf8("w") }, { cid: utf8("d"), vid: utf8("v") }])
      expect(known(cache, mint(["a = 1", other, "b = 2"]))).toBe(2);
  });

  test("a key is of one caveat's bytes only, be they text or not", () => {
    const anyCaveat: fc.Arbitrary<UnsafeCaveat> = fc.record(
      { cid: fc.uint8Array({ maxLength: 3 }), vid: fc.uint8Array({ maxLength: 3 }) },
      { requiredKeys: ["cid"] },
    );
    const texts: fc.Arbitrary<UnsafeCaveat> = fc
      .constantFrom("", "AA", ":", "\ud7ff", "\u{10ffff}", "\ufffdAA")
      .map((cid) => ({ cid: utf8(cid) }));
    fc.assert(
      fc.property(fc.oneof(anyCaveat, texts), fc.oneof(anyCaveat, texts), (one, other) => {
        const cache = newCache();
        warm(cache, mint([one]));
        const same = inspect([one.cid, one.vid]) === inspect([other.cid, other.vid]);
        expect(known(cache, mint([other]))).toBe(same ? 2 : 1);
      }),
    );
  });
});

describe("with the cache as without it", () => {
  const TENANTS = ["ada", "bob", "cy"] as const;
  /** Two keys that a tenant's ring has had under the same number. */
  const KEYS = [new Secret(utf8("first")), new Secret(utf8("other"))] as const;
  const CAVEATS: readonly UnsafeCaveat[] = [
    { cid: utf8("a = 1") },
    { cid: utf8("a = 2") },
    { cid: utf8("holder = ") },
    { cid: utf8("a = 1"), vid: utf8("v") },
    { cid: utf8("a = 1"), vid: utf8("w") },
    { cid: Uint8Array.of(0xff) },
  ];
  const DAMAGES = {
    none: (token: Macaroon) => token,
    signature: (token: Macaroon) => ({ ...token, signature: flipBit(token.signature, 77) }),
    forgedPrefix: (token: Macaroon) => ({
      ...token,
      unsafeCaveats: [{ cid: utf8("a = 2") }, ...token.unsafeCaveats.slice(1)],
    }),
    forgedEnd: (token: Macaroon) => ({
      ...token,
      unsafeCaveats: [...token.unsafeCaveats.slice(0, -1), { cid: utf8("a = 2") }],
    }),
    cut: (token: Macaroon) => ({ ...token, unsafeCaveats: token.unsafeCaveats.slice(0, -1) }),
    reordered: (token: Macaroon) => ({ ...token, unsafeCaveats: token.unsafeCaveats.toReversed() }),
    renamed: (token: Macaroon) => ({
      ...token,
      identifier: utf8(formatIdentifier(identifierOf(token).tenant, 1, nonceOf(1))),
    }),
  };

  const key = fc.constantFrom(0 as const, 1 as const);
  const anyStep = fc.record({
    tenant: fc.constantFrom(...TENANTS),
    /** The key that the token was minted with, and the one that the ring has now: mostly the same. */
    minted: fc.oneof({ weight: 4, arbitrary: fc.constant(0 as const) }, key),
    ring: fc.oneof({ weight: 4, arbitrary: fc.constant(0 as const) }, key),
    nonce: fc.nat(1),
    // Mostly what every gate takes.
    caveats: fc.array(fc.oneof({ weight: 6, arbitrary: fc.nat(2) }, fc.nat(CAVEATS.length - 1)), {
      maxLength: 5,
    }),
    damage: fc.oneof(
      { weight: 4, arbitrary: fc.constant("none" as const) },
      fc.constantFrom(...keysOf(DAMAGES)),
    ),
    signed: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, fc.boolean()),
    /** Revoked first: nothing, the token as minted, or what descends from one of its caveats. */
    revoke: fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, fc.nat(5)),
    wait_ms: fc.constantFrom(0, 0, 0, PREFIX_SWEEP_MS, PREFIX_IDLE_MS + 1),
  });
  type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

  function keysOf<T extends object>(object: T): (keyof T)[] {
    return Object.keys(object) as (keyof T)[];
  }

  /** What a gate does with its caller, once with the cache and once without, over the same history. */
  function agrees(steps: readonly Step[], bytesMax: number, plant: Plant = {}): void {
    const clock = { now_ms: 0 };
    const cache = newCache(bytesMax, clock);
    const revoked = new RevocationSet();
    for (const { tenant, minted, ring, nonce, caveats, damage, signed, revoke, wait_ms } of steps) {
      clock.now_ms += wait_ms;
      const chosen = caveats.flatMap((index) => CAVEATS[index] ?? []);
      const token = DAMAGES[damage](mint(chosen, tenant, nonce, KEYS[minted]));
      if (revoke !== undefined) {
        const tail = tailsOf(KEYS[minted], token.identifier, token.unsafeCaveats)[revoke + 1];
        const value = tail === undefined ? nonceOf(nonce) : subtreeDigest(tail);
        revoked.add({ kind: tail === undefined ? "token" : "subtree", value, at: "" }, 0);
      }

      const without = verify(token, KEYS[ring]);
      const refusal = isRefusal(without) ? undefined : revoked.refuse(without, SIGNER);
      const before = cache.size;
      const seen = plant.seen?.(token) ?? token;
      const chain = chainOf(cache, seen, KEYS[plant.ring ?? ring]);
      const withIt = verify(token, KEYS[ring], [], chain.tails);
      expect(withIt).toEqual(without);
      if (isRefusal(withIt) || !signed || refusal !== undefined) {
        if (refusal !== undefined) chain.forget(refusal);
        if (plant.keepsAll) chain.keep();
        // Nothing is written for who did not prove who he is.
        expect(cache.size).toBeLessThanOrEqual(before);
        if (refusal !== undefined)
          expect(known(cache, token, KEYS[ring])).toBeLessThanOrEqual(token.unsafeCaveats.length);
        continue;
      }
      chain.keep();
      expect(cache.bytes).toBeLessThanOrEqual(bytesMax);
    }
  }

  /** Mistakes that a cache could make, put around the real one. */
  interface Plant {
    /** It looks at this token in place of the one that came. */
    readonly seen?: (token: Macaroon) => Macaroon;
    /** It knows a key by its number only. */
    readonly ring?: 0;
    /** It keeps what has not been proved. */
    readonly keepsAll?: true;
  }

  const anyHistory = fc.array(anyStep, { minLength: 1, maxLength: 40 });
  /** From room for two prefixes to room for all. */
  const anyBytesMax = fc.constantFrom(1_600, 4_000, 12_000, 1_000_000);

  test("for any tokens in any order, forged, unsigned, revoked, under changed keys, with evictions", () => {
    const law = fc.property(anyHistory, anyBytesMax, (steps, bytesMax) => agrees(steps, bytesMax));
    expect(() => fc.assert(law, { numRuns: 300 })).not.toThrow();
  });

  test.each<[string, Plant]>([
    ["knows a key by its number", { ring: 0 }],
    ["keeps what is not proved", { keepsAll: true }],
    [
      "takes a third party's caveat for a first party's",
      { seen: (token) => ({ ...token, unsafeCaveats: token.unsafeCaveats.map(({ cid }) => ({ cid })) }) },
    ],
    [
      "reads text anew before it looks it up",
      {
        seen: (token) => ({
          ...token,
          unsafeCaveats: token.unsafeCaveats.map((caveat) => ({
            ...caveat,
            cid: utf8(new TextDecoder().decode(caveat.cid)),
          })),
        }),
      },
    ],
    [
      "looks at the order no more",
      { seen: (token) => ({ ...token, unsafeCaveats: sorted(token.unsafeCaveats) }) },
    ],
  ])("a cache that %s is found out", (_, plant) => {
    const checked = fc.check(
      fc.property(anyHistory, anyBytesMax, (steps, bytesMax) => agrees(steps, bytesMax, plant)),
      { numRuns: 300, seed: 5 },
    );
    expect(checked.failed).toBe(true);
  });

  const sorted = (caveats: readonly UnsafeCaveat[]): readonly UnsafeCaveat[] =>
    caveats.toSorted((a, b) => toHex(a.cid).localeCompare(toHex(b.cid)));
});

test("no bit of a warm token can be turned over", () => {
  const cache = newCache();
  const token = mint(["actor = account/1", "expires < 2099-01-01T00:00:00Z", "a = 1"]);
  warm(cache, token);
  const bytes = encodeV2(token);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const mutated = decodeV2(flipBit(bytes, bit));
    if (isRefusal(mutated) || parseIdentifier(mutated.identifier) === undefined) continue;
    const { tails } = chainOf(cache, mutated);
    expect(outcome(verify(mutated, KEY, [], tails))).toBe("token_invalid");
  }
  expect(known(cache, token)).toBe(4);
});

describe("what leaves", () => {
  const token = mint(["a = 1", "b = 2", "c = 3"]);
  const revoked = (index?: number) =>
    refuse("token_revoked", "", { token: 0, ...(index !== undefined && { caveat: { index, text: "" } }) });

  test("what was revoked: from the caveat on, or whole", () => {
    const cache = newCache();
    warm(cache, token);
    warm(cache, mint(["a = 1", "x = 9"]));
    chainOf(cache, token).forget(revoked(1));
    expect(known(cache, token)).toBe(2);
    expect(known(cache, mint(["a = 1", "x = 9"]))).toBe(3);
    // That of a discharge is no place in the token.
    chainOf(cache, token).forget(revoked(0).with({ token: 1 }));
    expect(known(cache, token)).toBe(2);
    chainOf(cache, token).forget(revoked());
    expect(cache.size).toBe(0);
    expect(cache.bytes).toBe(0);
  });

  test("nothing where a discharge was revoked: the token may come with another", () => {
    const cache = newCache();
    warm(cache, token);
    const size = cache.size;
    chainOf(cache, token).forget(refuse("token_revoked", "", { token: 1, caveat: { index: 0, text: "" } }));
    expect(cache.size).toBe(size);
  });

  test("what another key has made, though it has the same number", () => {
    const cache = newCache();
    warm(cache, token);
    expect(known(cache, token, new Secret(utf8("the key of this tesT")))).toBe(0);
    expect(cache.size).toBe(0);
    // A ring that was read again holds other objects, and the same keys.
    warm(cache, token);
    expect(known(cache, token, new Secret(KEY.expose()))).toBe(4);
  });

  test("what nobody has used for a while, of every tenant", () => {
    const clock = { now_ms: 0 };
    const cache = newCache(undefined, clock);
    warm(cache, token);
    warm(cache, mint(["a = 1"], "other"));
    clock.now_ms = PREFIX_IDLE_MS / 2;
    warm(cache, mint(["a = 1"]));
    clock.now_ms = PREFIX_IDLE_MS + 1;
    warm(cache, mint([], "third"));
    // What its descendant uses is used.
    expect(known(cache, token)).toBe(2);
    expect(cache.bytesOf("other")).toBe(0);
    expect(cache.size).toBe(3);
  });

  test("what was used longest ago, where there is no room", () => {
    const room = newCache();
    warm(room, mint(["a = 1"]));
    const cache = newCache(2 * room.bytes);
    for (const nonce of [1, 2, 1, 3]) warm(cache, mint(["a = 1"], "demo", nonce));
    expect([1, 2, 3].map((nonce) => known(cache, mint(["a = 1"], "demo", nonce)))).toEqual([2, 0, 2]);
  });

  test("a token that is larger than the cache, by its end", () => {
    const cache = newCache(4_000);
    const long = mint(Array.from({ length: 128 }, (_, index) => `a = ${index}`));
    warm(cache, long);
    expect(cache.bytes).toBeLessThanOrEqual(4_000);
    expect(known(cache, long)).toBeGreaterThan(0);
    expect(verify(long, KEY, [], chainOf(cache, long).tails)).toEqual(verify(long, KEY));
  });
});

describe("shared among tenants", () => {
  test("nobody loses what is within an equal share, whatever the others do", () => {
    const BYTES = 60_000;
    const anyCall = fc.record({
      tenant: fc.constantFrom("ada", "bob", "cy"),
      nonce: fc.nat(400),
      more: fc.nat(9),
    });
    fc.assert(
      fc.property(
        fc.array(anyCall, { minLength: 200, maxLength: 400 }),
        fc.integer({ min: 1, max: 6 }),
        (calls, few) => {
          const cache = newCache(BYTES);
          const modest = Array.from({ length: few }, (_, nonce) => mint(["a = 1", "b = 2"], "modest", nonce));
          for (const token of modest) warm(cache, token);
          // There are four tenants.
          fc.pre(cache.bytesOf("modest") <= BYTES / 4);
          for (const { tenant, nonce, more } of calls)
            warm(cache, mint(["a = 1", `b = ${more}`], tenant, nonce));
          expect(cache.bytes).toBeGreaterThan(BYTES - 3_000);
          expect(cache.bytes).toBeLessThanOrEqual(BYTES);
          for (const token of modest) expect(known(cache, token)).toBe(3);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("who is alone has all, and gives up what is more than a share once another comes", () => {
    const cache = newCache(60_000);
    for (let nonce = 0; nonce < 200; nonce++) warm(cache, mint([], "ada", nonce));
    expect(cache.bytesOf("ada")).toBeGreaterThan(58_000);
    for (let nonce = 0; nonce < 200; nonce++) warm(cache, mint([], "bob", nonce));
    expect(cache.bytesOf("ada")).toBeGreaterThan(29_000);
    expect(cache.bytesOf("bob")).toBeGreaterThan(29_000);
  });
});

test("law 7: neither the cache nor a chain shows a tail", () => {
  const cache = newCache();
  const token = mint(["a = 1"]);
  warm(cache, token);
  const chain = chainOf(cache, token);
  const shown = [cache, chain]
    .map((it) => inspect(it, { depth: 9, showHidden: true }) + JSON.stringify(it))
    .join("");
  expect(chain.tails.length).toBe(2);
  for (const tail of chain.tails) {
    expect(shown).not.toContain(toHex(tail));
    expect(shown).not.toContain([...tail].join(", "));
  }
  expect(shown).not.toContain("Uint8Array");
});
