/** A small tenant, published without files: one actor type `thing`, whose handler answers one fixed document. */
import type { ActorPolicy, TenantPolicy } from "../../src/config.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { admitHandlers, publish } from "../../src/publish.ts";
import type { Store } from "../../src/store/contract.ts";
import { answering } from "../dispatch/guests.ts";
import { MASTER, must, random } from "./gate.ts";

export interface Shape {
  readonly holder?: "required" | "optional";
  readonly reply?: number;
  /** The handler's whole answer, where it is not a reply and an empty state. */
  readonly output?: string;
  /** A module that is run as it is: no admission, no fuel. */
  readonly raw?: Uint8Array;
  /** Another handler altogether. */
  readonly module?: Uint8Array<ArrayBuffer>;
  /** What differs from an actor that takes `go` at any time. */
  readonly policy?: Partial<ActorPolicy>;
}

export async function publishTenant(store: Store, tenant: string, shape: Shape = {}): Promise<void> {
  const { holder = "optional", reply = 1, output = `{"state":null,"reply":${reply}}`, policy } = shape;
  const { raw, module = answering(output) } = shape;
  const handlers = await admitHandlers(new Map([["thing", module]]), admit);
  if (!handlers.ok) throw new Error(JSON.stringify(handlers.problems));
  const modules =
    raw === undefined ? handlers.modules : new Map([["thing", { original: raw, instrumented: raw }]]);
  const document: TenantPolicy = {
    tenant,
    holder,
    actors: {
      thing: {
        actor: "thing",
        handler: { wasm: "thing" },
        messages: { go: { args: {}, result: {}, reads: false } },
        protocol: "go*",
        behaviour: "go*",
        ...policy,
      },
    },
  };
  must(await publish(store, document, modules, MASTER, random));
}
