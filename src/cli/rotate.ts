/** `postern rotate`: gives a tenant a new active key, retires an old one, or shows what there is. */
import { isRefusal, type Refusal } from "../errors.ts";
import { changeKeyring } from "../rotate.ts";
import { readKeyring } from "../tenants.ts";
import { activeKey, type Keyring, retireKey, rotateKeyring } from "../token/keyring.ts";
import { type Command, DEFAULT_STORE, flag, text, UsageProblem } from "./command.ts";
import { openStore } from "./inputs.ts";
import { chooseTenant } from "./tenant-input.ts";

export const rotate: Command = {
  name: "rotate",
  summary: "give a tenant a new key, or retire an old one",
  usage: "[--tenant NAME] [--retire KID | --list] [--store URL]",
  options: {
    tenant: { type: "string" },
    retire: { type: "string" },
    list: { type: "boolean" },
    store: { type: "string" },
  },
  help: {
    tenant: "whose keys (default: the only tenant in the store)",
    retire: "retire this key instead: from then on no token that it minted verifies",
    list: "only show the keys",
    store: `where the tenant is published (default ${DEFAULT_STORE})`,
  },
  async run(environment, values) {
    const retired = text(values, "retire");
    if (retired !== undefined && !/^[1-9]\d{0,8}$/.test(retired))
      return new UsageProblem(`--retire ${retired} is no key number`);
    const isList = flag(values, "list");
    if (isList && retired !== undefined) return new UsageProblem("--list changes nothing: not with --retire");
    const opened = await openStore(environment, values, isList ? "read" : "change");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    const { store, master } = opened;
    try {
      const tenant = await chooseTenant(store, values);
      if (tenant instanceof UsageProblem || isRefusal(tenant)) return tenant;
      const random = (length: number): Uint8Array => environment.random(length);
      const change = (ring: Keyring): Keyring | Refusal =>
        retired === undefined ? rotateKeyring(ring, random) : retireKey(ring, Number(retired));
      const ring = isList
        ? await readKeyring(store, tenant, master)
        : await changeKeyring(store, tenant, master, change, random);
      if (isRefusal(ring)) return ring;
      const keys = ring.map(({ kid, state }) => ({ kid, state }));
      const lines = keys.map(({ kid, state }) => `${kid}  ${state}`);
      return {
        json: { tenant, active: activeKey(ring)?.kid, keys },
        text: [...lines, ...(isList ? [] : ["nodes follow within 2 s"])].join("\n"),
      };
    } finally {
      await store.close();
    }
  },
};
