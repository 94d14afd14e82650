import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NONCE_LENGTH_MAX } from "../../src/limits.ts";
import { Secret } from "../../src/secret.ts";
import { CHALLENGE, Challenges, challengedNonce, isChallenged } from "../../src/signature/challenge.ts";
import { refuseStale, rememberUntil } from "../../src/signature/freshness.ts";
import { outcome } from "../token/outcome.ts";

const MASTER = new Secret(new Uint8Array(32).fill(7));
const gate = new Challenges(MASTER);
const KEY = "a1".repeat(32);
const NOW_S = 1_767_225_600;
const OWN = "AAECAwQFBgcICQoLDA0ODw";

test("is short, and fits into a nonce beside the caller's own", () => {
  const challenge = gate.issue(KEY, NOW_S);
  expect(challenge).toMatch(CHALLENGE);
  expect(challengedNonce(challenge, OWN).length).toBeLessThanOrEqual(NONCE_LENGTH_MAX);
  expect([challengedNonce(challenge, OWN), OWN].map(isChallenged)).toEqual([true, false]);
});

test("gives its own time to what is signed with it, at any gate of the store", () => {
  const anyTime = fc.integer({ min: 0, max: 2 ** 40 - 1 });
  fc.assert(
    fc.property(anyTime, fc.double({ min: 0, max: 0.99, noNaN: true }), (now_s, fraction) => {
      const nonce = challengedNonce(gate.issue(KEY, now_s + fraction), OWN);
      const lifetime = new Challenges(MASTER).lifetimeOf(nonce, KEY);
      expect(lifetime).toEqual({ created: now_s, expires: now_s + 60 });
    }),
  );
});

test("is taken for a minute, and the clocks of two nodes may differ", () => {
  const lifetime = gate.lifetimeOf(challengedNonce(gate.issue(KEY, NOW_S), OWN), KEY);
  if (lifetime === undefined) throw new Error("it is none");
  const at = (offset_s: number) => outcome(refuseStale(lifetime, NOW_S + offset_s));
  expect([-31, -30, 0, 60, 90, 91].map(at)).toEqual([
    "signature_invalid",
    "taken",
    "taken",
    "taken",
    "taken",
    "signature_invalid",
  ]);
  expect(rememberUntil(lifetime)).toBe(NOW_S + 90);
});

describe("is none", () => {
  const challenge = gate.issue(KEY, NOW_S);

  test("for another key, of another store, or with a character changed", () => {
    expect(gate.lifetimeOf(challengedNonce(challenge, OWN), "b2".repeat(32))).toBeUndefined();
    const other = new Challenges(new Secret(new Uint8Array(32).fill(8)));
    expect(other.lifetimeOf(challengedNonce(challenge, OWN), KEY)).toBeUndefined();
    for (let at = 0; at < challenge.length; at++) {
      const forged = challenge.slice(0, at) + (challenge[at] === "A" ? "B" : "A") + challenge.slice(at + 1);
      expect(gate.lifetimeOf(challengedNonce(forged, OWN), KEY)).toBeUndefined();
    }
  });

  test.each(["", ".", "x", "A".repeat(28), challenge.slice(0, 27), `${challenge}A`, `${challenge}=`])(
    "where it is %j",
    (text) => {
      expect(gate.lifetimeOf(challengedNonce(text, OWN), KEY)).toBeUndefined();
    },
  );
});
