/** A small tenant, published without files: one actor type `thing`, whose handler answers a fixed number to `go`. */
import type { TenantPolicy } from "../../src/config.ts";
import { admitHandlers, publish } from "../../src/publish.ts";
import type { Store } from "../../src/store/contract.ts";
import { answering } from "../dispatch/guests.ts";
import { MASTER, must, random } from "./gate.ts";

export interface Shape {
  readonly holder?: "required" | "optional";
  readonly reply?: number;
}

export async function publishTenant(
  store: Store,
  tenant: string,
  { holder = "optional", reply = 1 }: Shape = {},
): Promise<void> {
  const handlers = admitHandlers(new Map([["thing", answering(`{"state":null,"reply":${reply}}`)]]));
  if (!handlers.ok) throw new Error(JSON.stringify(handlers.problems));
  const policy: TenantPolicy = {
    tenant,
    holder,
    actors: {
      thing: {
        actor: "thing",
        handler: { wasm: "thing" },
        messages: { go: { args: {}, result: {}, reads: false } },
        protocol: "go*",
        behaviour: "go*",
      },
    },
  };
  must(await publish(store, policy, handlers.modules, MASTER, random));
}
