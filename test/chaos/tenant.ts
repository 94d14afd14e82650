/** The demo tenant, published into a store, and a caller who may do everything with its accounts. */
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { UsageProblem } from "../../src/cli/command.ts";
import { publishAll, readPolicyFolder } from "../../src/cli/policy-folder.ts";
import { admit } from "../../src/dispatch/admission.ts";
import type { Caller } from "../../src/sdk/client.ts";
import type { Store } from "../../src/store/contract.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { ACCOUNT_PROTOCOL, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";

const HOUR_MS = 3_600_000;

/** @param lifetime_ms how long the caller works; its token lasts an hour longer */
export async function publishedCaller(store: Store, lifetime_ms: number): Promise<Omit<Caller, "url">> {
  const folder = await readPolicyFolder("policies/demo", "wasm", admit);
  if (folder instanceof UsageProblem || !folder.ok) throw new Error(JSON.stringify(folder));
  must(await publishAll(folder.tenants, { store, master: MASTER, url: "" }, random));
  const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
  if (key === undefined) throw new Error("the tenant has no key");
  const signer = newSigner();
  const expires = new Date(Date.now() + lifetime_ms + HOUR_MS).toISOString().slice(0, 19);
  const token = mintToken(key, [
    formatCaveat("actor", "account/*"),
    formatCaveat("expires", `${expires}Z`),
    formatCaveat("holder", signer.publicKey),
    formatCaveat("protocol", ACCOUNT_PROTOCOL),
  ]);
  return { token, signer, now_ms: () => Date.now(), random };
}
