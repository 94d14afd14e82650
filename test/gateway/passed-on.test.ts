/** What a node answers to a call that another one has passed on, where it cannot do it: never that the caller is wrong. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HOPS_HEADER, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import type { Problem } from "../../src/errors.ts";
import { type SignedRequest, signCall } from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { call, codeOf, freshAccount, party, signed, startGate, type TestGate } from "../support/gate.ts";
import { exchange, wire } from "../support/raw.ts";
import { takenShard } from "../support/taken-shard.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-passed-on-"));
let gate: TestGate;
beforeAll(async () => {
  gate = await startGate(directory);
});
afterAll(() => gate.end());

/** Sends it as another node does. @returns the code, or `200` */
async function passOn(request: SignedRequest): Promise<string> {
  const bytes = wire(request, [`${HOPS_HEADER}: 1`, `${REMAINING_HEADER}: 5000`]);
  const { status, body } = await exchange(gate.server.url, bytes);
  return status === 200 ? "200" : (JSON.parse(body) as Problem).code;
}

/** Somebody without a lease takes the actor's shard, so that the node's next entry is lost. */
async function depose(actor: string): Promise<void> {
  const store = sqliteStore(directory);
  await takenShard(store, actor);
  await store.close();
}

it("had no effect because the shard was lost: it may come again, nonce and all", async () => {
  const actor = freshAccount();
  const ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
  await depose(actor);
  const request = signed(ada, actor, "deposit", { amount: 5 });
  expect(await passOn(request)).toBe("not_leader");
  // The thief has no lease, so the node takes its shard back.
  expect(await passOn(request)).toBe("200");
  expect(await passOn(request)).toBe("replayed");
  expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 5 } });
});

it("comes from a node that is not known here, or no more: the caller is not to blame", async () => {
  const actor = freshAccount();
  const elsewhere = { ...party(gate, actor), url: "http://127.0.0.1:1" };
  const request = signCall(elsewhere, { tenant: "demo", actor, message: "open", args: { owner: "Ada" } });
  expect(await passOn(request)).toBe("not_leader");
});
