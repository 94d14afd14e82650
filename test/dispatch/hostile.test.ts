/** Every attack of the corpus ends within its bounds, with its code, and so does the turn of whoever comes next. */
import { describe, expect, test } from "vitest";
import { admit } from "../../src/dispatch/admission.ts";
import { runTurn } from "../../src/dispatch/sandbox.ts";
import { isRefusal } from "../../src/errors.ts";
import { admitted, answering, problemsOf, TURN } from "./guests.ts";
import { ADMITTED, NOT_ADMITTED } from "./hostile.ts";

const NEXT = admitted(answering('{"reply":1}'));

describe("ends with its code", () => {
  test.each(ADMITTED.map(({ name, ...attack }) => [name, attack] as const))(
    "%s",
    (_name, { bytes, code, says }) => {
      const refusal = runTurn(admitted(bytes), TURN);
      if (!isRefusal(refusal)) throw new Error(`not refused: ${JSON.stringify(refusal).slice(0, 200)}`);
      expect(refusal.code).toBe(code);
      if (says !== undefined) expect(refusal.detail).toContain(says);
      // Nothing of the host's shows.
      expect(refusal.detail).not.toMatch(/wasm:|\.ts\b|\n/);
      expect(runTurn(NEXT, TURN)).toMatchObject({ reply: 1 });
    },
  );

  test("the same each time, and with the same fuel", () => {
    for (const { bytes } of ADMITTED.filter(({ code }) => code !== "handler_fuel")) {
      const module = admitted(bytes);
      expect(runTurn(module, TURN)).toEqual(runTurn(module, TURN));
    }
  });
});

describe("is not admitted", () => {
  test.each(NOT_ADMITTED.map(({ name, ...attack }) => [name, attack] as const))(
    "%s",
    (_name, { bytes, code, says }) => {
      const [problem] = problemsOf(admit(bytes));
      expect(problem?.code).toBe(code);
      if (says !== undefined) expect(problem?.detail).toContain(says);
    },
  );
});

test("no two attacks have the same name", () => {
  const names = [...ADMITTED, ...NOT_ADMITTED].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
