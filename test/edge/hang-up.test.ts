/** Callers hang up while the edge node learns what it needs: what their requests began must not be lost with them. */
import { setTimeout } from "node:timers/promises";
import { request } from "undici";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type EdgeGate, startEdgeGate } from "../support/edge.ts";
import { call, codeOf, freshAccount, party, signed } from "../support/gate.ts";

let gates: EdgeGate;
beforeAll(async () => {
  gates = await startEdgeGate();
});
afterAll(() => gates.end());

it("the next caller is answered as if nothing had been", async () => {
  const actor = freshAccount();
  const ada = party(gates.edge, actor);
  // Nobody has called yet, so each of these begins, or waits for, the first look at everything.
  for (let i = 0; i < 5; i++) {
    const { url, headers, body } = signed(ada, actor, "balance");
    const hangUp = new AbortController();
    const asked = request(url, { method: "POST", headers, body, signal: hangUp.signal });
    await setTimeout(5);
    hangUp.abort();
    await asked.then(({ body: answer }) => answer.dump()).catch(() => undefined);
  }
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
});
