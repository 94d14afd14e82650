/** Law 2 for discharges: every caveat of every one is asked, and is named by its token where it refuses. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Grant } from "../../src/authorize/authorize.ts";
import type { Access } from "../../src/authorize/caveats.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { COUNT_CAVEATS_MAX, WHEN_CAVEATS_MAX } from "../../src/limits.ts";
import { type Addition, attenuate } from "../../src/token/chain.ts";
import { type RevocationKind, RevocationSet, subtreeDigest } from "../../src/token/revocation.ts";
import { verify } from "../../src/token/verify.ts";
import { authorize } from "../support/authorize.ts";
import { mint, SECRET } from "../token/arbitrary.ts";
import { asking, bound, discharge } from "../token/discharges.ts";
import { outcome, refused, taken } from "../token/outcome.ts";
import { ACCESS, ALICE, anyAccess, anyCaveat, MALLORY, NOW_MS, SIGNATURES, USABLE } from "./arbitrary.ts";

const ONE = asking("one");
const TWO = asking("two");

/** A usable token with two third parties, the second one's discharge asking for none of its own. */
function discharged(first: readonly Addition[], second: readonly Addition[] = [], own = USABLE) {
  const root = taken(attenuate(mint(own), [ONE, TWO]));
  return taken(verify(root, SECRET, [bound(root, ONE, first), bound(root, TWO, second)]));
}

function ask(
  first: readonly string[],
  second: readonly string[] = [],
  access: Partial<Access> = {},
): Grant | Refusal {
  const requirements = { holder: "required", signatures: SIGNATURES } as const;
  return authorize(discharged(first, second), { ...ACCESS, ...access }, requirements);
}

const askToken = (caveats: readonly string[], access: Partial<Access>): Grant | Refusal =>
  authorize(
    taken(verify(mint([...USABLE, ...caveats]), SECRET)),
    { ...ACCESS, ...access },
    { holder: "required", signatures: SIGNATURES },
  );

test("a discharge's caveats admit what they would admit in the token itself", () => {
  let admitted = 0;
  // Order belongs to the token alone; holders are a chain's own affair.
  const anyPlain = anyCaveat.filter((caveat) => !/^(protocol|holder|delegate) /.test(caveat));
  const anyPlains = fc.array(anyPlain, { maxLength: 3 });
  fc.assert(
    fc.property(anyPlains, anyPlains, anyAccess, (first, second, access) => {
      const apart = ask(first, second, access);
      const together = askToken([...first, ...second], access);
      expect(outcome(apart)).toBe(outcome(together));
      if (isRefusal(apart) || isRefusal(together)) return;
      admitted++;
      expect(apart.messages).toEqual(together.messages);
      expect(apart.expires_ms).toBe(together.expires_ms);
      expect(apart.counts.map(({ text }) => text)).toEqual(together.counts.map(({ text }) => text));
    }),
    { numRuns: 1000 },
  );
  expect(admitted).toBeGreaterThan(10);
});

describe("refusals name the discharge and its caveat", () => {
  test.each([
    ["caveat_denied", "message in withdraw", "caveat 1 of discharge 2 forbids this call"],
    ["token_expired", "expires < 2020-01-01T00:00:00Z", "caveat 1 of discharge 2 forbids this call"],
    ["unknown_caveat", "colour = red", "caveat 1 of discharge 2 is refused"],
    [
      "unknown_caveat",
      "protocol = a",
      "caveat 1 of discharge 2 is refused because a discharge holds no order",
    ],
    ["caveat_denied", `holder = ${MALLORY}`, "caveat 1 of discharge 2 forbids this call"],
  ])("%s for %s", (code, text, detail) => {
    const refusal = refused(ask(["message in deposit,balance"], ["actor = account/*", text]));
    expect(refusal).toMatchObject({ code, facts: { token: 2, caveat: { index: 1, text } } });
    expect(refusal.detail).toContain(detail);
  });
});

describe("holders", () => {
  test("each macaroon has its own: a discharge for the same key passes, and binds no token that is free", () => {
    expect(outcome(ask([`holder = ${ALICE}`]))).toBe("taken");
    const free = taken(attenuate(mint(USABLE.filter((text) => !text.startsWith("holder"))), [ONE]));
    const verified = taken(verify(free, SECRET, [bound(free, ONE, [`holder = ${ALICE}`])]));
    const asked = authorize(verified, ACCESS, { holder: "required", signatures: SIGNATURES });
    expect(refused(asked)).toMatchObject({ code: "token_invalid", facts: { token: 0 } });
  });

  test("what a token must carry, no discharge carries for it", () => {
    for (const [at, text] of USABLE.entries()) {
      const root = taken(attenuate(mint(USABLE.toSpliced(at, 1)), [ONE]));
      const verified = taken(verify(root, SECRET, [bound(root, ONE, [text])]));
      const asked = authorize(verified, ACCESS, { holder: "required", signatures: SIGNATURES });
      expect(outcome(asked)).toBe("token_invalid");
    }
  });
});

describe("what costs the gate or the actor something is bounded for all macaroons together", () => {
  test.each([
    ["when = true", WHEN_CAVEATS_MAX],
    ["uses <= 3", COUNT_CAVEATS_MAX],
  ])("%s", (text, most) => {
    const some = (count: number) => Array.from({ length: count }, () => text);
    expect(outcome(ask(some(most - 1), some(1)))).toBe("taken");
    expect(refused(ask(some(most), some(1)))).toMatchObject({
      code: "unknown_caveat",
      facts: { token: 2, caveat: { index: 0, text } },
    });
  });
});

describe("counts of a discharge", () => {
  const until = (text: string) => Date.parse(text);

  test("are its own: by its tail, and not by the token's", () => {
    const { counts } = taken(ask(["uses <= 1"], ["uses <= 1"]));
    expect(counts.map(({ token, index }) => [token, index])).toEqual([
      [1, 0],
      [2, 0],
    ]);
    expect(counts[0]?.tail).toEqual(discharge(ONE, ["uses <= 1"]).signature);
    expect(counts[0]?.tail).not.toEqual(counts[1]?.tail);
  });

  test("end with the caveats before them, in the discharge and before the caveat that asked for it", () => {
    const [early, late, later] = ["2030-07-01T00:00:00Z", "2031-01-01T00:00:00Z", "2032-01-01T00:00:00Z"];
    const [inner, outer] = [asking(), asking()];
    const root = taken(
      attenuate(mint(["actor = account/*", `expires < ${later}`, `holder = ${ALICE}`]), [
        outer,
        // It binds only some of those who share the discharge.
        `expires < ${early}`,
      ]),
    );
    const untilOf = (first: readonly Addition[], second: readonly Addition[]) => {
      const discharges = [bound(root, outer, first), bound(root, inner, second)];
      const verified = taken(verify(root, SECRET, discharges));
      const grant = taken(authorize(verified, ACCESS, { holder: "required", signatures: SIGNATURES }));
      return grant.counts.map(({ until_ms }) => until_ms);
    };
    expect(untilOf(["uses <= 1", inner], ["uses <= 2"])).toEqual([until(later), until(later)]);
    expect(untilOf([`expires < ${late}`, inner], ["uses <= 2"])).toEqual([until(late)]);
    expect(untilOf([inner, `expires < ${late}`], ["uses <= 2"])).toEqual([until(later)]);
    expect(untilOf([inner], [`expires < ${early}`, "uses <= 2"])).toEqual([until(early)]);
    expect(untilOf([inner], ["uses <= 2", `expires < ${early}`])).toEqual([until(later)]);
  });
});

describe("revocation reaches discharges", () => {
  const revoked = (kind: RevocationKind, value: string): RevocationSet => {
    const set = new RevocationSet();
    set.add({ kind, value, at: "" }, NOW_MS);
    return set;
  };
  const token = discharged([`holder = ${ALICE}`, "message in deposit"], ["uses <= 3"]);

  test("a holder that a discharge names", () => {
    const other = discharged([`holder = ${MALLORY}`]);
    expect(revoked("holder", MALLORY).refuse(token, ALICE)).toBeUndefined();
    expect(revoked("holder", MALLORY).refuse(other, ALICE)).toMatchObject({
      code: "token_revoked",
      facts: { token: 1, caveat: { index: 0, text: `holder = ${MALLORY}` } },
    });
  });

  test("a subtree that ends with a third party's caveat, in a discharge, or with a discharge as a whole", () => {
    const cuts = (tail: Uint8Array) => revoked("subtree", subtreeDigest(tail)).refuse(token, ALICE)?.facts;
    const root = taken(attenuate(mint(USABLE), [ONE, TWO]));
    expect(cuts(taken(attenuate(mint(USABLE), [ONE])).signature)).toMatchObject({
      token: 0,
      caveat: { index: USABLE.length },
    });
    expect(cuts(root.signature)).toMatchObject({ token: 0, caveat: { index: USABLE.length + 1 } });
    expect(cuts(discharge(ONE, [`holder = ${ALICE}`]).signature)).toMatchObject({
      token: 1,
      caveat: { index: 0 },
    });
    expect(cuts(discharge(TWO, ["uses <= 3"]).signature)).toMatchObject({ token: 2 });
    expect(cuts(discharge(TWO, []).signature)).toBeUndefined();
    const bare = discharged([]);
    const set = revoked("subtree", subtreeDigest(discharge(ONE).signature));
    expect(set.refuse(bare, ALICE)).toMatchObject({ code: "token_revoked", facts: { token: 1 } });
  });
});
