/** A node serves everybody else while a tenant's handlers attack it: after each attack of the corpus, and beside all of them. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import type { ActorPolicy } from "../../src/config.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { admitHandlers, publish } from "../../src/publish.ts";
import type { Caller } from "../../src/sdk/client.ts";
import { send, signCall } from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { ADMITTED } from "../dispatch/hostile.ts";
import {
  call,
  codeOf,
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

/** An actor type of the attacker's for each attack. */
const TYPES = ADMITTED.map((attack, i) => ({ type: `attack_${i}`, attack }));

const POLICY: Omit<ActorPolicy, "actor" | "handler"> = {
  messages: { go: { args: {}, result: {}, reads: false } },
  protocol: "go*",
  behaviour: "go*",
};

let gate: TestGate;
let key: RootKey;
const signer = newSigner();
let ada: Caller;
const account = freshAccount();

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-hostile-"));
  const store = sqliteStore(directory);
  const modules = new Map(TYPES.map(({ type, attack }) => [type, attack.bytes]));
  const handlers = await admitHandlers(modules, admit);
  if (!handlers.ok) throw new Error(JSON.stringify(handlers.problems));
  const actors = Object.fromEntries(
    TYPES.map(({ type }) => [type, { ...POLICY, actor: type, handler: { wasm: type } }]),
  );
  const policy = { tenant: "evil", holder: "optional", actors } as const;
  must(await publish(store, policy, handlers.modules, MASTER, random));
  const evil = activeKey(must(await readKeyring(store, "evil", MASTER)));
  await store.close();
  if (evil === undefined) throw new Error("no key");
  key = evil;
  gate = await startGate(directory);
  ada = party(gate, account);
  expect(codeOf(await call(ada, account, "open", { owner: "Ada" }))).toBe("200");
});
afterAll(() => gate.end());

async function attackBy(type: string): Promise<string> {
  const token = mintToken(key, [formatCaveat("actor", `${type}/1`), inOneHour()], "evil");
  const eve = { url: gate.server.url, token, signer, now_ms: () => Date.now(), random };
  const request = signCall(eve, { tenant: "evil", actor: `${type}/1`, message: "go", args: {} });
  return codeOf(await send(request, fetch));
}

const serves = async (): Promise<string> => codeOf(await call(ada, account, "deposit", { amount: 1 }));

describe("another tenant's call succeeds after", () => {
  it.each(TYPES.map(({ type, attack: { name, code } }) => [name, type, code] as const))(
    "%s",
    async (_name, type, code) => {
      expect(await attackBy(type)).toBe(code);
      expect(await serves()).toBe("200");
    },
  );
});

it("another tenant's calls succeed beside all of them at once", async () => {
  const attacks = Promise.all(TYPES.map(async ({ type, attack: { code } }) => [code, await attackBy(type)]));
  for (let i = 0; i < 10; i++) expect(await serves()).toBe("200");
  for (const [expected, code] of await attacks) expect([expected, "overloaded"]).toContain(code);
  expect(await serves()).toBe("200");
});
