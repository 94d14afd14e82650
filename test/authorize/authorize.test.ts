import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Grant, refuseExpired } from "../../src/authorize/authorize.ts";
import { type Access, parseCaveat } from "../../src/authorize/caveats.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { authorize } from "../support/authorize.ts";
import { mintVerified } from "../token/arbitrary.ts";
import { outcome, refused, taken } from "../token/outcome.ts";
import {
  ACCESS,
  ALICE,
  anyAccess,
  anyCaveat,
  MALLORY,
  NOW_MS,
  SIGNATURES,
  USABLE,
  unknownCaveats,
} from "./arbitrary.ts";

function ask(
  caveats: readonly string[],
  access: Partial<Access> = {},
  holder: "required" | "optional" = "required",
): Grant | Refusal {
  return authorize(mintVerified(caveats), { ...ACCESS, ...access }, { holder, signatures: SIGNATURES });
}

const anyCaveats = fc.array(anyCaveat, { maxLength: 5 });
/** Usable tokens: what they must carry admits much, so that what stands beside decides. */
const anyUsable = anyCaveats.map((caveats) => ["actor = account/*", USABLE[1], USABLE[2], ...caveats]);

describe("law 2: attenuation only narrows", () => {
  test("T + c admits exactly what T admits and c does not prohibit", () => {
    let admitted = 0;
    fc.assert(
      fc.property(anyUsable, anyCaveat, anyAccess, (caveats, added, access) => {
        const [wide, narrow] = [ask(caveats, access), ask([...caveats, added], access)];
        const caveat = taken(parseCaveat(added, 0));
        const bound = caveat.holder !== undefined && caveat.holder !== access.signer;
        const prohibited = bound || caveat.prohibits(access) !== undefined;
        expect(isRefusal(narrow)).toBe(isRefusal(wide) || prohibited);
        if (!isRefusal(narrow)) admitted++;
      }),
      { numRuns: 3000 },
    );
    expect(admitted).toBeGreaterThan(100);
  });

  test("a grant of T + c is no wider than that of T: fewer messages, every protocol, every count", () => {
    fc.assert(
      fc.property(anyUsable, anyCaveats, anyAccess, (caveats, added, access) => {
        const [wide, narrow] = [ask(caveats, access), ask([...caveats, ...added], access)];
        if (isRefusal(wide) || isRefusal(narrow)) return;
        expect(narrow.protocols.slice(0, wide.protocols.length)).toEqual(wide.protocols);
        expect(narrow.counts.slice(0, wide.counts.length)).toEqual(wide.counts);
        if (wide.messages !== undefined) expect(narrow.messages?.isSubsetOf(wide.messages)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("whatever a token misses, adding cannot make up for what is prohibited", () => {
    fc.assert(
      fc.property(anyCaveats, anyCaveats, anyAccess, (caveats, added, access) => {
        const wide = ask(caveats, access, "optional");
        fc.pre(isRefusal(wide) && wide.code !== "token_invalid");
        expect(ask([...caveats, ...added], access, "optional")).toEqual(wide);
      }),
      { numRuns: 1000 },
    );
  });

  test("each caveat is asked, wherever it stands", () => {
    for (let at = 0; at <= USABLE.length; at++) {
      const denied = refused(ask(USABLE.toSpliced(at, 0, "message in withdraw")));
      expect(denied.code).toBe("caveat_denied");
      expect(denied.facts.caveat).toEqual({ index: at, text: "message in withdraw" });
    }
  });
});

describe("law 1: what is not understood is refused", () => {
  test.each(unknownCaveats)("%j, whatever else stands beside it", (unknown) => {
    for (let at = 0; at <= USABLE.length; at++) {
      const denied = refused(ask(USABLE.toSpliced(at, 0, unknown)));
      expect(denied.code).toBe("unknown_caveat");
      expect(denied.facts).toMatchObject({ token: 0, caveat: { index: at, text: unknown } });
    }
  });
});

describe("law 8: a refusal explains itself", () => {
  test.each<[string, Partial<Access>, string]>([
    ["actor = account/bob", {}, "caveat_denied"],
    ["message in withdraw", {}, "caveat_denied"],
    ["not_before >= 2031-01-01T00:00:00Z", {}, "caveat_denied"],
    ["when = args.amount > 5", {}, "caveat_denied"],
    ["when = args.amount", {}, "caveat_denied"],
    ["client_ip in 10.0.0.0/8", {}, "caveat_denied"],
    ["client_ip in 0.0.0.0/0", { address: undefined }, "caveat_denied"],
    ["audience = https://other.example", {}, "caveat_denied"],
    ["expires < 2030-06-01T12:00:00Z", {}, "token_expired"],
  ])("%s: which caveat, and why", (text, access, code) => {
    const reason = taken(parseCaveat(text, 0)).prohibits({ ...ACCESS, ...access });
    const denied = refused(ask([...USABLE, text], access));
    expect(denied.code).toBe(code);
    expect(denied.detail).toBe(`caveat 3 forbids this call: ${reason}`);
    expect(denied.facts).toEqual({ token: 0, caveat: { index: 3, text } });
  });

  test("the first of several is told; what is not understood before all others", () => {
    const denied = [...USABLE, "message in withdraw", "actor = account/bob"];
    expect(refused(ask(denied)).facts.caveat?.index).toBe(3);
    expect(refused(ask([...denied, "nonsense"])).facts.caveat?.index).toBe(5);
  });
});

describe("what a token must carry to be used", () => {
  const [actor, expires, holder] = USABLE;

  test.each([
    ["actor", [expires, holder], "required"],
    ["expires", [actor, holder], "required"],
    ["holder", [actor, expires], "required"],
    ["actor", [expires, holder], "optional"],
    ["expires", [actor, holder], "optional"],
    ["actor", [], "required"],
  ] as const)("not without %s: %j, holder %s", (name, caveats, policy) => {
    expect(refused(ask(caveats, {}, policy))).toMatchObject({
      code: "token_invalid",
      detail: `the token has no ${name} caveat, which this tenant requires`,
      facts: { token: 0 },
    });
  });

  test("a holder only where the tenant requires one", () => {
    expect(outcome(ask([actor, expires], {}, "optional"))).toBe("taken");
  });

  test("a holder caveat binds, where the tenant requires none", () => {
    expect(outcome(ask(USABLE, { signer: MALLORY }, "optional"))).toBe("caveat_denied");
  });

  test("in any order, and more than once", () => {
    expect(outcome(ask([...USABLE.toReversed(), ...USABLE]))).toBe("taken");
  });
});

describe("the grant", () => {
  test("tells the messages that are left", () => {
    expect(taken(ask(USABLE)).messages).toBeUndefined();
    const some = ask([...USABLE, "message in deposit,withdraw", "message in balance,deposit"]);
    expect(taken(some).messages).toEqual(new Set(["deposit"]));
  });

  test("tells each protocol, with its tail and the moment after which no token has it", () => {
    const caveats = [
      "protocol = a",
      "actor = account/*",
      "expires < 2031-01-01T00:00:00Z",
      "protocol = b @ 0123abcd",
      "expires < 2030-12-01T00:00:00Z",
      "expires < 2032-01-01T00:00:00Z",
      "protocol = c",
    ];
    const token = mintVerified(caveats);
    const grant = taken(authorize(token, ACCESS, { holder: "optional", signatures: SIGNATURES }));
    const claim = (index: number, expression: string, until?: string) => ({
      index,
      text: caveats[index],
      expression,
      tail: token.caveats[index]?.tail,
      until_ms: until === undefined ? undefined : Date.parse(until),
    });
    expect(grant.protocols).toEqual([
      claim(0, "a"),
      claim(3, "b", "2031-01-01T00:00:00Z"),
      claim(6, "c", "2030-12-01T00:00:00Z"),
    ]);
  });
});

describe("an expired token is refused before anything is computed", () => {
  const texts = ["actor = account/alice", "expires < 2030-06-01T12:00:00Z", "expires < 2031-01-01T00:00:00Z"];

  test("at the moment it expires, and not before", () => {
    expect(refuseExpired(texts, NOW_MS - 1)).toBeUndefined();
    const refusal = refused(refuseExpired(texts, NOW_MS));
    expect(refusal.code).toBe("token_expired");
    expect(refusal.detail).toBe("caveat 1 forbids this call: it expired at 2030-06-01T12:00:00Z");
    expect(refusal.facts).toEqual({ token: 0, caveat: { index: 1, text: texts[1] } });
  });

  test("in the words in which authorize refuses it", () => {
    fc.assert(
      fc.property(anyUsable, anyAccess, (caveats, access) => {
        const early = refuseExpired(caveats, access.now_ms);
        const late = ask(caveats, access);
        if (outcome(late) === "token_expired") expect(early).toEqual(late);
        expect(early !== undefined && outcome(late) === "taken").toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  test("unreadable caveats are left to authorize, which refuses them", () => {
    expect(
      refuseExpired(["expires < never", "expires", "", "nonsense", "expires <"], NOW_MS),
    ).toBeUndefined();
    expect(refuseExpired([], NOW_MS)).toBeUndefined();
  });

  test("another holder's time is no one's business", () => {
    expect(outcome(ask(["actor = account/*", "expires < 2020-01-01T00:00:00Z", `holder = ${ALICE}`]))).toBe(
      "token_expired",
    );
  });
});
