/** What is one too many for a gate is added by nothing that makes tokens. */
import { describe, expect, test } from "vitest";
import { attenuate as attenuateCommand } from "../src/cli/attenuate.ts";
import { explain } from "../src/cli/explain.ts";
import { isRefusal } from "../src/errors.ts";
import {
  COUNT_CAVEATS_MAX,
  DELEGATE_CAVEATS_MAX,
  PROTOCOL_CAVEATS_MAX,
  WHEN_CAVEATS_MAX,
} from "../src/limits.ts";
import { narrow } from "../src/narrow.ts";
import { delegateToken } from "../src/sdk/delegate.ts";
import { restrictToken, splitToken } from "../src/sdk/split.ts";
import { holderSigner } from "../src/signature/holder.ts";
import { attenuate } from "../src/token/chain.ts";
import { encodeToken } from "../src/token/envelope.ts";
import { testEnvironment } from "./support/environment.ts";
import { mint } from "./token/arbitrary.ts";
import { refused, taken } from "./token/outcome.ts";

const ada = holderSigner("01".repeat(32), (length) => new Uint8Array(length));
if (ada === undefined) throw new Error("no key");
const delegation = `delegate = ${ada.publicKey} ${"00".repeat(64)}`;

const KINDS = [
  ["when", "when = true", WHEN_CAVEATS_MAX],
  ["protocol", "protocol = a*", PROTOCOL_CAVEATS_MAX],
  ["delegate", delegation, DELEGATE_CAVEATS_MAX],
  ["uses", "uses <= 3", COUNT_CAVEATS_MAX],
  ["rate", "rate <= 3/m", COUNT_CAVEATS_MAX],
] as const;
const many = (text: string, count: number) => Array.from({ length: count }, () => text);
const bound = (...caveats: string[]) => mint([`holder = ${ada.publicKey}`, ...caveats]);

describe.each(KINDS)("%s", (name, text, most) => {
  const tooMany = `a token carries at most ${most} ${name} caveats, those of its discharges included`;

  test("as many as a gate takes, and no more, in one step or in many", () => {
    expect(taken(narrow(mint([]), many(text, most))).unsafeCaveats).toHaveLength(most);
    const refusal = refused(narrow(mint([]), many(text, most + 1)));
    expect(refusal).toMatchObject({ code: "unknown_caveat", detail: tooMany });
    expect(refusal.facts.caveat).toEqual({ index: most, text });
    expect(refused(narrow(mint(many(text, most)), [text])).detail).toBe(tooMany);
  });

  test("by split, restrict and delegate, whatever else they add", () => {
    const token = encodeToken(bound(...many(text, most)));
    const random = (length: number) => new Uint8Array(length);
    const options = { random, caveats: [text] };
    for (const made of [
      splitToken(token, ["a", "a"], options),
      restrictToken(token, "a", { caveats: [text] }),
      delegateToken(token, ada.publicKey, ada, { caveats: [text] }),
    ])
      expect(refused(made)).toMatchObject({ code: "unknown_caveat", detail: tooMany });
  });

  test("by `postern attenuate`; `postern explain` tells it of a token that other tools made", async () => {
    const full = encodeToken(mint(many(text, most)));
    const environment = testEnvironment({ stdin: async () => full });
    const outcome = await attenuateCommand.run(environment, { caveat: [text] }, []);
    expect(refused(outcome).detail).toBe(tooMany);
    const over = taken(attenuate(mint(many(text, most)), [text]));
    const asked = await explain.run(
      testEnvironment({ stdin: async () => encodeToken(over) }),
      { actor: "account/1", message: "a" },
      [],
    );
    if (isRefusal(asked) || !("json" in asked)) throw new Error("no answer");
    const { checks } = asked.json as { checks: readonly { ok: boolean; reason: string }[] };
    expect(checks.at(-1)).toEqual({ caveat: expect.any(String), ok: false, reason: tooMany });
  });
});

test("of other kinds there may be as many as fit, and what is not understood is counted nowhere", () => {
  const caveats = [...many("message in a", 50), ...many("a riddle", 50)];
  expect(taken(narrow(mint([]), caveats)).unsafeCaveats).toHaveLength(100);
});
