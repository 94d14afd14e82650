/** `postern mint`: a new token from a tenant's active key. The only token command that needs the store. */
import { toBase64url } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { narrow } from "../narrow.ts";
import { type PublishedTenant, parsePublished, policyKey } from "../publish.ts";
import type { Store } from "../store/contract.ts";
import { readKeyring } from "../tenants.ts";
import { mintMacaroon } from "../token/chain.ts";
import { activeKey } from "../token/keyring.ts";
import { formatIdentifier } from "../token/macaroon.ts";
import {
  type Command,
  DEFAULT_STORE,
  type Environment,
  type Outcome,
  text,
  UsageProblem,
  type Values,
} from "./command.ts";
import { type OpenStore, openStore } from "./inputs.ts";
import { chooseTenant } from "./tenant-input.ts";
import { caveatsFromFlags, TOKEN_HELP, TOKEN_OPTIONS } from "./token-flags.ts";
import { printToken, TOKEN_OUTPUT, TOKEN_OUTPUT_HELP } from "./token-output.ts";

const DEFAULT_LIFETIME = "1h";

export const mint: Command = {
  name: "mint",
  summary: "mint a token",
  usage: "--actor type/id --holder PUBLIC_KEY [--expires 1h] [--protocol EXPRESSION] …",
  options: { ...TOKEN_OPTIONS, ...TOKEN_OUTPUT, store: { type: "string" }, tenant: { type: "string" } },
  help: {
    ...TOKEN_HELP,
    expires: `${TOKEN_HELP.expires} (default ${DEFAULT_LIFETIME})`,
    protocol: "expression: the allowed order of messages (default: the policy's protocol)",
    tenant: "which tenant (default: the only one in the store)",
    store: `where the tenant is published (default ${DEFAULT_STORE})`,
    ...TOKEN_OUTPUT_HELP,
  },
  async run(environment, values) {
    const opened = await openStore(environment, values, "read");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    try {
      return await mintFrom(opened, environment, values);
    } finally {
      await opened.store.close();
    }
  },
};

async function mintFrom(opened: OpenStore, environment: Environment, values: Values): Promise<Outcome> {
  const published = await readPublished(opened.store, values);
  if (published instanceof UsageProblem || isRefusal(published)) return published;
  const { policy } = published;
  const actor = text(values, "actor");
  const actorPolicy = Object.entries(policy.actors).find(([type]) => type === actor?.split("/")[0])?.[1];
  if (actor === undefined || actorPolicy === undefined)
    return new UsageProblem(
      `--actor type/id is needed; ${policy.tenant} has ${Object.keys(policy.actors).join(", ")}`,
    );
  if (policy.holder === "required" && values["holder"] === undefined)
    return new UsageProblem(
      `--holder PUBLIC_KEY is needed: tenant ${policy.tenant} binds its tokens to keys`,
    );
  const caveats = caveatsFromFlags(environment, {
    ...values,
    expires: values["expires"] ?? DEFAULT_LIFETIME,
    protocol: values["protocol"] ?? actorPolicy.protocol,
  });
  if (caveats instanceof UsageProblem) return caveats;

  const ring = await readKeyring(opened.store, policy.tenant, opened.master);
  if (isRefusal(ring)) return ring;
  const key = activeKey(ring);
  if (key === undefined) return refuse("token_invalid", `tenant ${policy.tenant} has no active key`);
  const identifier = formatIdentifier(policy.tenant, key.kid, toBase64url(environment.random(16)));
  const macaroon = narrow(mintMacaroon(key.secret, identifier), caveats);
  return isRefusal(macaroon) ? macaroon : printToken(macaroon, values);
}

async function readPublished(
  store: Store,
  values: Values,
): Promise<PublishedTenant | UsageProblem | Refusal> {
  const tenant = await chooseTenant(store, values);
  if (tenant instanceof UsageProblem || isRefusal(tenant)) return tenant;
  const found = await store.get(policyKey(tenant));
  if (isRefusal(found)) return found;
  if (found === undefined) return refuse("no_such_tenant", `the store has no tenant ${tenant}`);
  return (
    parsePublished(found.body) ??
    refuse(
      "store_unavailable",
      `the object ${policyKey(tenant)} is damaged: \`postern apply\` writes it anew`,
    )
  );
}
