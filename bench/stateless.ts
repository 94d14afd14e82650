/** A tenant whose accounts have no state, published into a store of its own, and callers of it. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../src/bytes.ts";
import type { TenantPolicy } from "../src/config.ts";
import { admit } from "../src/dispatch/admission.ts";
import { admitHandlers, publish } from "../src/publish.ts";
import { Secret } from "../src/secret.ts";
import type { Store } from "../src/store/contract.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { answering } from "../test/dispatch/guests.ts";
import { expectDone, type Identity, posternIdentities, TENANT } from "./callers.ts";

/** @param protocol of the actor and of the tokens: it must admit everything always, or a log is needed all the same */
export async function publishStateless(
  folder: string,
  accounts: number,
  protocol: string,
): Promise<readonly Identity[]> {
  const masterKey = toHex(randomBytes(32));
  // Where `serve` looks for the master key of an embedded store.
  writeFileSync(join(folder, "master.key"), `${masterKey}\n`, { mode: 0o600 });
  const store = sqliteStore(folder);
  try {
    return await publishStatelessIn(store, masterKey, accounts, protocol);
  } finally {
    await store.close();
  }
}

/** What the handler is: it answers the same to everything. */
export const STATELESS_HANDLER = answering('{"reply":{"amount":1}}');

/** The same in a store that is open. @param masterKey 64 hex digits */
export async function publishStatelessIn(
  store: Store,
  masterKey: string,
  accounts: number,
  protocol: string,
): Promise<readonly Identity[]> {
  const handlers = await admitHandlers(new Map([["answer", STATELESS_HANDLER]]), admit);
  if (!handlers.ok) throw new Error("the handler is not admitted");
  const amount = {
    type: "object",
    properties: { amount: { type: "integer", exclusiveMinimum: 0 } },
    required: ["amount"],
    additionalProperties: false,
  };
  const policy: TenantPolicy = {
    tenant: TENANT,
    holder: "required",
    actors: {
      account: {
        actor: "account",
        handler: { wasm: "answer" },
        state: "none",
        messages: { deposit: { args: amount, result: amount, reads: true } },
        protocol,
        behaviour: protocol,
      },
    },
  };
  const master = new Secret(Buffer.from(masterKey, "hex"));
  expectDone(await publish(store, policy, handlers.modules, master, (length) => randomBytes(length)));
  return posternIdentities(store, masterKey, accounts, protocol);
}
