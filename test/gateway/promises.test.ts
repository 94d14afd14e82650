/** What a policy and a caller's deadline promise, where handler or sender do not keep up with it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { HOPS_HEADER, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import { call, codeOf, freshAccount, party, signed, startGate } from "../support/gate.ts";
import { wire } from "../support/raw.ts";

it("a reply that is not of the message's result type is the handler's fault, and has no effect", async () => {
  const policies = mkdtempSync(join(tmpdir(), "postern-promises-"));
  onTestFinished(() => rmSync(policies, { recursive: true }));
  mkdirSync(join(policies, "demo"));
  for (const name of ["tenant.yaml", "account.yaml"]) {
    const text = readFileSync(join("policies/demo", name), "utf8");
    // The handler answers {"balance": integer} to every message.
    const other = text.replace(/withdraw: .*/, "withdraw: { args: *amount, result: { type: string } }");
    writeFileSync(join(policies, "demo", name), other);
  }
  const gate = await startGate(undefined, policies);
  onTestFinished(() => gate.end());
  const actor = freshAccount();
  const ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
  expect(codeOf(await call(ada, actor, "deposit", { amount: 5 }))).toBe("200");
  const broken = await call(ada, actor, "withdraw", { amount: 5 });
  expect(broken).toMatchObject({ status: 502, problem: { code: "handler_invalid" } });
  expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 5 } });
});

it.each([
  ["its caller has given up", { timeout_ms: 50 }, []],
  ["the node that passed it on says so", {}, [`${HOPS_HEADER}: 1`, `${REMAINING_HEADER}: 50`]],
] as const)("a call does not run after its time: %s", async (_, more, extra) => {
  const gate = await startGate();
  onTestFinished(() => gate.end());
  const actor = freshAccount();
  const ada = party(gate, actor);
  const request = wire(signed(ada, actor, "open", { owner: "Ada" }, more), extra);
  const socket = connect(Number(new URL(gate.server.url).port), "127.0.0.1");
  socket.write(request.subarray(0, -1));
  await setTimeout(200);
  socket.write(request.subarray(-1));
  expect(Buffer.concat(await Array.fromAsync(socket)).toString()).toMatch(
    /^HTTP\/1\.1 504[^]*"code":"deadline"/,
  );
  expect(await call(ada, actor, "open", { owner: "Ada" })).toMatchObject({ status: 200 });
});
