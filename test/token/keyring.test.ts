import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromUtf8, toBase64url, toHex, utf8 } from "../../src/bytes.ts";
import { encodeDocument } from "../../src/checked.ts";
import { KEYRING_KEYS_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import {
  activeKey,
  createKeyring,
  type Keyring,
  openCopy,
  openTenantKeys,
  retireKey,
  rotateKeyring,
  sealTenantKeys,
  verifyingKey,
} from "../../src/token/keyring.ts";
import { flipBit } from "./arbitrary.ts";
import { outcome, taken } from "./outcome.ts";

/** Different bytes at each call, the same in each run. */
function counting(): (length: number) => Uint8Array {
  let calls = 0;
  return (length) => new Uint8Array(length).fill(++calls);
}

const MASTER = new Secret(new Uint8Array(32).fill(0xaa));
const anyKeyBytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
const anyRing: fc.Arbitrary<Keyring> = fc.array(
  fc.record({
    kid: fc.integer({ min: 1, max: 999_999_999 }),
    state: fc.constantFrom("active", "verify-only", "retired"),
    secret: anyKeyBytes.map((bytes) => new Secret(bytes)),
  }),
  { maxLength: 4 },
);
/** Without edge nodes. */
const sealKeyring = (ring: Keyring, tenant: string, master: Secret, random: (length: number) => Uint8Array) =>
  sealTenantKeys({ ring, edges: new Map() }, tenant, master, random);
const openKeyring = (sealed: Uint8Array, tenant: string, master: Secret) =>
  openTenantKeys(sealed, tenant, master)?.ring;
const plain = (ring: Keyring | undefined) =>
  ring?.map(({ kid, state, secret }) => ({ kid, state, secret: toHex(secret.expose()) }));

describe("sealed", () => {
  const sealed = sealKeyring(createKeyring(counting()), "demo", MASTER, counting());

  test("and opened, a ring is what it was", () => {
    fc.assert(
      fc.property(anyRing, anyKeyBytes, (ring, masterBytes) => {
        const master = new Secret(masterBytes);
        const opened = openKeyring(sealKeyring(ring, "demo", master, counting()), "demo", master);
        expect(plain(opened)).toEqual(plain(ring));
      }),
    );
  });

  test("it opens for no other tenant", () => {
    for (const tenant of ["demo2", "dem", "", "Demo", "demo "])
      expect(openKeyring(sealed, tenant, MASTER)).toBeUndefined();
  });

  test("it opens under no other master key", () => {
    for (let bit = 0; bit < 256; bit++)
      expect(openKeyring(sealed, "demo", new Secret(flipBit(MASTER.expose(), bit)))).toBeUndefined();
  });

  test("no bit of it can be turned over, no byte cut off or added", () => {
    for (let bit = 0; bit < sealed.length * 8; bit++)
      expect(openKeyring(flipBit(sealed, bit), "demo", MASTER)).toBeUndefined();
    for (let length = 0; length < sealed.length; length++)
      expect(openKeyring(sealed.subarray(0, length), "demo", MASTER)).toBeUndefined();
    expect(openKeyring(concat(sealed, Uint8Array.of(0)), "demo", MASTER)).toBeUndefined();
  });

  test("it shows neither the keys nor their number's text", () => {
    const random = counting();
    const ring = createKeyring(random);
    const bytes = sealKeyring(ring, "demo", MASTER, random);
    expect(toHex(bytes)).not.toContain(toHex(ring[0]?.secret.expose() ?? utf8("none")));
    expect(fromUtf8(bytes) ?? "").not.toContain("active");
  });

  test("it is different each time", () => {
    const random = counting();
    const ring = createKeyring(random);
    expect(sealKeyring(ring, "demo", MASTER, random)).not.toEqual(sealKeyring(ring, "demo", MASTER, random));
  });
});

describe("for edge nodes", () => {
  const fra = { name: "fra", key: new Secret(new Uint8Array(32).fill(1)) };
  const iad = { name: "iad", key: new Secret(new Uint8Array(32).fill(2)) };
  const ring = createKeyring(counting());
  const edges = new Map([fra, iad].map(({ name, key }) => [name, key]));
  const sealed = sealTenantKeys({ ring, edges }, "demo", MASTER, counting());

  test("each opens its copy, and no other node's or tenant's", () => {
    for (const edge of [fra, iad])
      expect(plain(openCopy(sealed, "demo", edge) as Keyring)).toEqual(plain(ring));
    expect(openCopy(sealed, "demo", { ...fra, key: iad.key })).toBeUndefined();
    expect(openCopy(sealed, "demo2", fra)).toBeUndefined();
    expect(openTenantKeys(sealed, "demo", fra.key)).toBeUndefined();
  });

  test("who has none is told so, whatever its name", () => {
    for (const name of ["ams", "constructor", ""])
      expect(openCopy(sealed, "demo", { ...fra, name })).toBe("withdrawn");
  });

  test("a copy put under another's name does not open", () => {
    const swapped = (fromUtf8(sealed) ?? "").split("\n")[1] ?? "";
    const document = JSON.parse(swapped) as { copies: Record<string, string> };
    const copies = { fra: document.copies["iad"], iad: document.copies["fra"] };
    const forged = encodeDocument("postern-keys/2", { ...document, copies });
    for (const edge of [fra, iad]) expect(openCopy(forged, "demo", edge)).toBeUndefined();
  });

  test("whoever has the master key knows them and their keys; a copy tells nothing of the others", () => {
    const opened = openTenantKeys(sealed, "demo", MASTER);
    expect([...(opened?.edges ?? [])].map(([name, key]) => [name, key.expose()])).toEqual(
      [fra, iad].map(({ name, key }) => [name, key.expose()]),
    );
    expect(openTenantKeys(sealed, "demo", MASTER)?.ring).toHaveLength(1);
  });

  test("neither keys nor rings can be read", () => {
    for (const secret of [fra.key, iad.key, ring[0]?.secret])
      for (const text of [
        toHex(secret?.expose() ?? utf8("none")),
        toBase64url(secret?.expose() ?? utf8("none")),
      ])
        expect(fromUtf8(sealed)).not.toContain(text);
  });

  test("one bit turned, and neither ring nor copy opens", () => {
    for (let bit = 0; bit < sealed.length * 8; bit += 13)
      expect([
        openTenantKeys(flipBit(sealed, bit), "demo", MASTER),
        openCopy(flipBit(sealed, bit), "demo", fra),
      ]).toEqual([undefined, undefined]);
  });
});

describe("which key does what", () => {
  const key = (kid: number, state: "active" | "verify-only" | "retired") => ({
    kid,
    state,
    secret: new Secret(new Uint8Array(32).fill(kid)),
  });
  const ring = [key(1, "retired"), key(2, "verify-only"), key(3, "active")];

  test("the active one mints", () => {
    expect(activeKey(ring)?.kid).toBe(3);
    expect(activeKey(ring.slice(0, 2))).toBeUndefined();
  });

  test("active and verify-only ones verify; a retired and an unknown one do not", () => {
    expect([0, 1, 2, 3, 4].map((kid) => verifyingKey(ring, kid)?.kid)).toEqual([
      undefined,
      undefined,
      2,
      3,
      undefined,
    ]);
  });

  test("a new ring has one active key of 32 fresh bytes", () => {
    const [only, ...more] = createKeyring(counting());
    expect(only).toMatchObject({ kid: 1, state: "active" });
    expect(only?.secret.expose()).toEqual(new Uint8Array(32).fill(1));
    expect(more).toEqual([]);
  });
});

describe("rotated and retired, in any order", () => {
  test("a ring has one active key, the newest, never uses a number twice, and changes no secret", () => {
    const anyStep = fc.oneof(
      { weight: 2, arbitrary: fc.constant("rotate" as const) },
      fc.integer({ min: 1, max: 9 }),
    );
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
        const random = counting();
        let ring = createKeyring(random);
        const secrets = new Map([[1, toHex(ring[0]?.secret.expose() ?? new Uint8Array())]]);
        const retired = new Set<number>();
        for (const step of steps) {
          const newest = Math.max(...secrets.keys());
          const known = secrets.has(step as number);
          const next = step === "rotate" ? rotateKeyring(ring, random) : retireKey(ring, step);
          if (step !== "rotate") {
            expect(outcome(next)).toBe(known && step !== newest ? "taken" : "token_invalid");
            if (outcome(next) !== "taken") continue;
            retired.add(step);
          }
          ring = taken(next);
          if (step === "rotate") {
            const made = activeKey(ring);
            expect(made?.kid).toBe(newest + 1);
            secrets.set(newest + 1, toHex(made?.secret.expose() ?? new Uint8Array()));
          }
        }
        expect(new Set(secrets.values()).size).toBe(secrets.size);
        expect(ring.filter(({ state }) => state === "active").map(({ kid }) => kid)).toEqual([
          Math.max(...secrets.keys()),
        ]);
        for (const [kid, secret] of secrets) {
          const verifying = verifyingKey(ring, kid);
          expect(verifying && toHex(verifying.secret.expose())).toBe(retired.has(kid) ? undefined : secret);
        }
      }),
    );
  });

  test("a full ring forgets its oldest retired key only, and refuses where there is none", () => {
    const random = counting();
    let ring = createKeyring(random);
    while (ring.length < KEYRING_KEYS_MAX) ring = taken(rotateKeyring(ring, random));
    expect(outcome(rotateKeyring(ring, random))).toBe("quota_exceeded");
    for (const kid of [7, 3]) ring = taken(retireKey(ring, kid));
    const numbers = Array.from({ length: KEYRING_KEYS_MAX + 2 }, (_, i) => i + 1);
    ring = taken(rotateKeyring(ring, random));
    expect(ring.map(({ kid }) => kid)).toEqual(numbers.slice(0, -1).filter((kid) => kid !== 3));
    expect(verifyingKey(ring, 7)).toBeUndefined();
    ring = taken(rotateKeyring(ring, random));
    expect(ring.map(({ kid }) => kid)).toEqual(numbers.filter((kid) => kid !== 3 && kid !== 7));
    expect(outcome(rotateKeyring(ring, random))).toBe("quota_exceeded");
  });
});
