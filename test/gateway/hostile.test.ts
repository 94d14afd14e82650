/** One tenant's handlers burn all that they are given, without end. Another tenant's calls go on through the same gate. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Caller, type CallOutcome, send, signCall } from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { guest } from "../dispatch/guests.ts";
import {
  call,
  freshAccount,
  inOneHour,
  MASTER,
  mintToken,
  must,
  newSigner,
  party,
  random,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { publishTenant } from "../support/tenant.ts";

const ATTACKS = 12;
let gate: TestGate;
let mallory: Caller;

beforeAll(async () => {
  gate = await startGate();
  const store = sqliteStore(gate.directory);
  await publishTenant(store, "hostile", { module: guest("(loop $l (br $l)) (i64.const 0)") });
  const key = activeKey(must(await readKeyring(store, "hostile", MASTER)));
  await store.close();
  if (key === undefined) throw new Error("no key");
  const token = mintToken(key, ["actor = thing/*", inOneHour()], "hostile");
  mallory = { url: gate.server.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
  for (let code = "no_such_tenant"; code === "no_such_tenant"; ) code = await attack(0);
});
afterAll(() => gate.end());

async function attack(actor: number, timeout_ms?: number): Promise<string> {
  const input = {
    tenant: "hostile",
    actor: `thing/${actor}`,
    message: "go",
    ...(timeout_ms !== undefined && { timeout_ms }),
  };
  const outcome = await send(signCall(mallory, input), fetch);
  return "problem" in outcome ? outcome.problem.code : "done";
}

it("calls of others are all answered, and more of them than turns of the attack", async () => {
  const ended: string[] = [];
  const over = new AbortController();
  const attacks = Array.from({ length: ATTACKS }, async (_, actor) => {
    while (!over.signal.aborted) ended.push(await attack(actor));
  });
  const answered: CallOutcome[] = [];
  const clients = Array.from({ length: 4 }, async () => {
    const account = freshAccount();
    const ada = party(gate, account);
    answered.push(await call(ada, account, "open", { owner: "Ada" }));
    while (ended.length < 8) answered.push(await call(ada, account, "deposit", { amount: 1 }));
  });
  await Promise.all(clients);
  over.abort();
  const taken = answered.length;
  expect(taken).toBeGreaterThan(ended.length);
  await Promise.all(attacks);
  for (const outcome of answered) expect(outcome).toMatchObject({ status: 200 });
  expect(new Set(ended)).toEqual(new Set(["handler_fuel"]));
});

it("a call whose time is over while it waits for its actor is not begun", async () => {
  const held = Array.from({ length: 4 }, () => attack(0));
  expect(await attack(0, 1)).toBe("deadline");
  expect(new Set(await Promise.all(held))).toEqual(new Set(["handler_fuel"]));
});
