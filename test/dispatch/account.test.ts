/** The demo handler keeps its books: against single cases, and against a model under random messages. */
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runTurn, type TurnResult } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { admitted, TURN } from "./guests.ts";

const module = admitted(readFileSync(new URL("../../wasm/account/account.wasm", import.meta.url)));

function send(state: string | undefined, message: string, args: Json = {}): TurnResult | Refusal {
  return runTurn(module, { ...TURN, actor: "account/a", state, message, args });
}

function codeOf(result: TurnResult | Refusal): string | undefined {
  return isRefusal(result) ? result.facts.handler_code : undefined;
}

function account(owner: string, balance: number): string {
  return JSON.stringify({ owner, balance });
}

describe("an account", () => {
  test("opens empty, and only once", () => {
    const opened = send(undefined, "open", { owner: "ada" });
    expect(opened).toMatchObject({ reply: { balance: 0 }, state: account("ada", 0) });
    expect(codeOf(send(account("ada", 0), "open", { owner: "eve" }))).toBe("already_open");
  });

  test("takes and gives", () => {
    expect(send(account("ada", 5), "deposit", { amount: 7 })).toMatchObject({
      reply: { balance: 12 },
      state: account("ada", 12),
    });
    expect(send(account("ada", 5), "withdraw", { amount: 5 })).toMatchObject({ reply: { balance: 0 } });
  });

  test("shows its balance and changes nothing by it", () => {
    const shown = send(account("ada", 5), "balance");
    expect(shown).toMatchObject({ reply: { balance: 5 }, state: undefined });
  });

  test("never goes below zero", () => {
    const refused = send(account("ada", 5), "withdraw", { amount: 6 });
    expect(refused).toMatchObject({
      code: "handler_error",
      detail: "the balance is 5",
      facts: { handler_code: "insufficient_funds" },
    });
  });

  test("never passes 2^53 - 1", () => {
    const nearly = account("ada", Number.MAX_SAFE_INTEGER - 1);
    expect(send(nearly, "deposit", { amount: 1 })).toMatchObject({
      reply: { balance: Number.MAX_SAFE_INTEGER },
    });
    expect(codeOf(send(nearly, "deposit", { amount: 2 }))).toBe("balance_too_large");
    expect(codeOf(send(nearly, "deposit", { amount: Number.MAX_SAFE_INTEGER }))).toBe("balance_too_large");
  });

  test("closes with what is left paid out, and then does nothing more", () => {
    const closed = send(account("ada", 9), "close");
    expect(closed).toMatchObject({
      reply: { balance: 9 },
      state: '{"owner":"ada","balance":0,"closed":true}',
    });
    const state = isRefusal(closed) ? undefined : closed.state;
    for (const message of ["deposit", "withdraw", "balance", "close"])
      expect(codeOf(send(state, message, { amount: 1 }))).toBe("account_closed");
  });

  test.each([0, -1, 1.5, 1e300, "1", null, true, [], {}])("refuses the amount %j", (amount) => {
    expect(codeOf(send(account("ada", 5), "deposit", { amount }))).toBe("invalid_amount");
    expect(codeOf(send(account("ada", 5), "withdraw", { amount }))).toBe("invalid_amount");
  });

  test("refuses what came before open, what it does not know, and a missing amount", () => {
    expect(codeOf(send(undefined, "deposit", { amount: 1 }))).toBe("not_open");
    expect(codeOf(send(account("ada", 5), "audit", { amount: 1 }))).toBe("unknown_message");
    expect(codeOf(send(account("ada", 5), "deposit"))).toBe("invalid_amount");
    expect(codeOf(send(account("ada", 5), "deposit", [1]))).toBe("invalid_amount");
  });

  test("is not misled by members that look like others", () => {
    const args = { 'amount":9,"': 1, x: { amount: 2 }, y: '"amount":3,', z: ["amount", 4, "}"], amount: 5 };
    expect(send(account('"balance":7', 1), "deposit", args)).toMatchObject({ reply: { balance: 6 } });
  });
});

test("every owner's name comes back as it went in", () => {
  const owner = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: "grapheme", maxLength: 40 }),
    fc.string({ unit: "binary-ascii", maxLength: 40 }),
    fc.constantFrom('"', "\\", "\\u0041", "\u0000\u001f\u007f", "😀", "\u2028", '{"owner":"x"}'),
  );
  fc.assert(
    fc.property(owner, (name) => {
      const opened = send(undefined, "open", { owner: name });
      if (isRefusal(opened)) throw new Error(opened.detail);
      const after = send(opened.state, "deposit", { amount: 1 });
      if (isRefusal(after)) throw new Error(after.detail);
      expect(JSON.parse(after.state ?? "")).toEqual({ owner: name, balance: 1 });
    }),
    { numRuns: 300 },
  );
});

describe("against a model", () => {
  interface Model {
    readonly open: boolean;
    readonly closed: boolean;
    readonly balance: number;
  }

  /** What should come: the balance replied and the next model, or the error's code. */
  function expected(
    model: Model,
    message: string,
    amount: number,
  ): { balance: number; next: Model } | string {
    if (!model.open) return message === "open" ? { balance: 0, next: { ...model, open: true } } : "not_open";
    if (message === "open") return "already_open";
    if (model.closed) return "account_closed";
    if (message === "balance") return { balance: model.balance, next: model };
    if (message === "close") return { balance: model.balance, next: { ...model, closed: true, balance: 0 } };
    if (message === "withdraw" && amount > model.balance) return "insufficient_funds";
    const balance = message === "withdraw" ? model.balance - amount : model.balance + amount;
    return balance > Number.MAX_SAFE_INTEGER ? "balance_too_large" : { balance, next: { ...model, balance } };
  }

  const step = fc.record({
    message: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom("deposit", "withdraw") },
      { weight: 2, arbitrary: fc.constantFrom("balance", "open") },
      { weight: 1, arbitrary: fc.constant("close") },
    ),
    amount: fc.oneof(
      fc.integer({ min: 1, max: 100 }),
      fc.maxSafeNat().map((amount) => Math.max(1, amount)),
    ),
  });

  test("every word of messages gives the balances and the errors of the model", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let model: Model = { open: false, closed: false, balance: 0 };
        let state: string | undefined;
        for (const { message, amount } of [{ message: "open", amount: 1 }, ...steps]) {
          const args = message === "open" ? { owner: "ada" } : { amount };
          const result = send(state, message, args);
          const want = expected(model, message, amount);
          const got = isRefusal(result) ? codeOf(result) : result.reply;
          expect(got).toEqual(typeof want === "string" ? want : { balance: want.balance });
          if (!isRefusal(result)) state = result.state ?? state;
          if (typeof want !== "string") model = want.next;
        }
      }),
      { numRuns: 150 },
    );
  });
});
