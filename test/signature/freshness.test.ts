import { describe, expect, test } from "vitest";
import { SIGNATURE_LIFETIME_S_MAX as LIFETIME, CLOCK_SKEW_S_MAX as SKEW } from "../../src/limits.ts";
import { type Lifetime, refuseLongLived, refuseStale, rememberUntil } from "../../src/signature/freshness.ts";
import { outcome, refused } from "../token/outcome.ts";

const CREATED = 1_700_000_000;
const at = (now_s: number, lifetime_s = 10) =>
  outcome(refuseAny({ created: CREATED, expires: CREATED + lifetime_s }, now_s));
const refuseAny = (lifetime: Lifetime, now_s: number) =>
  refuseLongLived(lifetime) ?? refuseStale(lifetime, now_s);

describe("by the gate's clock", () => {
  test.each([
    ["when it is made", 0, "taken"],
    ["when it expires", 10, "taken"],
    ["made by a clock that is just not too fast", -SKEW, "taken"],
    ["made by a clock that is too fast", -SKEW - 1, "signature_invalid"],
    ["too fast by a fraction", -SKEW - 0.001, "signature_invalid"],
    ["expired by a clock that is just not too slow", 10 + SKEW, "taken"],
    ["expired by a clock that is too slow", 10 + SKEW + 1, "signature_invalid"],
    ["too slow by a fraction", 10 + SKEW + 0.001, "signature_invalid"],
  ])("%s (%d s)", (_, offset_s, expected) => {
    expect(at(CREATED + offset_s)).toBe(expected);
  });
});

describe("by its own lifetime", () => {
  test.each([
    [-1, "signature_invalid"],
    [0, "signature_invalid"],
    [1, "taken"],
    [LIFETIME, "taken"],
    [LIFETIME + 1, "signature_invalid"],
    [Number.MAX_SAFE_INTEGER - CREATED, "signature_invalid"],
  ])("%d s", (lifetime_s, expected) => {
    expect(at(CREATED, lifetime_s)).toBe(expected);
  });
});

test("the refusal says how far the clocks are apart", () => {
  const late = refused(refuseStale({ created: CREATED, expires: CREATED + 10 }, CREATED + 1010));
  expect(late.detail).toBe("the signature has expired: 1000 s away from this gate's clock, 30 are allowed");
  const early = refused(refuseStale({ created: CREATED, expires: CREATED + 10 }, CREATED - 45));
  expect(early.detail).toContain("in the future: 45 s away");
});

test("a nonce is remembered for as long as its request could be taken", () => {
  const signature = { created: CREATED, expires: CREATED + 10 };
  expect(outcome(refuseStale(signature, rememberUntil(signature)))).toBe("taken");
  expect(outcome(refuseStale(signature, rememberUntil(signature) + 0.001))).toBe("signature_invalid");
});
