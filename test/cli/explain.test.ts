/** `postern explain`, offline: each caveat of the registry is explained, where it passes and where it does not. */
import { describe, expect, test } from "vitest";
import { type CaveatName, formatCaveat } from "../../src/authorize/caveats.ts";
import { explain } from "../../src/cli/explain.ts";
import { isRefusal } from "../../src/errors.ts";
import { encodeToken } from "../../src/token/envelope.ts";
import { testEnvironment } from "../support/environment.ts";
import { mint } from "../token/arbitrary.ts";

const [ADA, BOB] = ["a1".repeat(32), "b2".repeat(32)];
/** The call that is asked about. */
const CALL = {
  actor: "account/1",
  message: "deposit",
  args: '{"amount":5}',
  at: "2026-06-01T12:00:00Z",
  signer: ADA,
  "client-ip": "192.0.2.7",
  authority: "gate.example",
};

async function check(
  caveats: readonly string[],
): Promise<{ readonly ok: boolean | null; readonly reason: string }> {
  const stdin = async () => encodeToken(mint(caveats));
  const outcome = await explain.run(testEnvironment({ stdin }), CALL, []);
  if (isRefusal(outcome) || !("json" in outcome)) throw new Error("no answer");
  const { checks, allowed } = outcome.json as {
    checks: { ok: boolean | null; reason: string }[];
    allowed: boolean;
  };
  const last = checks.at(-1);
  if (last === undefined) throw new Error("no check");
  expect(allowed).toBe(last.ok !== false);
  return last;
}

/** For each kind: what lets the call pass, or what only a gate can tell of it; what does not; and why. */
const KINDS: Readonly<Record<CaveatName, readonly [passes: string, fails: string | undefined, why: RegExp]>> =
  {
    actor: ["account/*", "account/2", /^it reaches account\/2, not account\/1$/],
    message: ["deposit,close", "close", /^it allows close, not deposit$/],
    expires: ["2026-06-01T12:00:01Z", "2026-06-01T12:00:00Z", /^it expired at 2026-06-01T12:00:00Z$/],
    not_before: ["2026-06-01T12:00:00Z", "2026-06-01T12:00:01Z", /^it begins at 2026-06-01T12:00:01Z$/],
    holder: [ADA, BOB, /signed by another key than the holder's$/],
    delegate: [`${BOB} ${"00".repeat(64)}`, undefined, /./],
    protocol: ["deposit ; close", "open ; deposit", /^after nothing it admits open, not deposit$/],
    when: ["args.amount <= 5", "args.amount < 5", /^its condition does not hold$/],
    client_ip: ["192.0.2.0/24", "198.51.100.0/24", /^it admits 198\.51\.100\.0\/24, not 192\.0\.2\.7$/],
    uses: ["3", undefined, /^not checked: how many calls there were is known at the gate$/],
    rate: ["3/m", undefined, /^not checked: how many calls there were is known at the gate$/],
    audience: [
      "https://gate.example",
      "https://other.example",
      /^it is meant for https:\/\/other\.example, not for gate\.example$/,
    ],
  };

describe.each(Object.keys(KINDS) as CaveatName[])("%s", (name) => {
  const [passes, fails, why] = KINDS[name];

  test("is explained", async () => {
    const good = await check([formatCaveat(name, passes)]);
    if (fails === undefined) {
      expect(good.ok).not.toBe(true);
      expect(good.reason).toMatch(why);
      return;
    }
    expect(good).toMatchObject({ ok: true, reason: "" });
    const bad = await check([formatCaveat(name, fails)]);
    expect(bad.ok).toBe(false);
    expect(bad.reason).toMatch(why);
  });
});

test("what is not in the registry is explained as refused", async () => {
  expect(await check(["colour = blue"])).toMatchObject({
    ok: false,
    reason: "caveat 0 is refused because this gate does not know it",
  });
});
