/** A node runs handlers only as instrumented by a fuel pass that it knows and trusts. */
import { describe, expect, it } from "vitest";
import { decodeDocument, encodeDocument } from "../src/checked.ts";
import { FUEL_PASS_VERSION, FUEL_PASS_VERSION_MIN } from "../src/dispatch/fuel.ts";
import { turnsHere } from "../src/dispatch/turns.ts";
import { StoredHandlers } from "../src/handlers.ts";
import { type PublishedTenant, policyKey } from "../src/publish.ts";
import { Quarantine } from "../src/quarantine.ts";
import { memoryStore } from "../src/store/memory.ts";
import { openWith, TenantDirectory } from "../src/tenants.ts";
import { MASTER, must } from "./support/gate.ts";
import { publishTenant } from "./support/tenant.ts";

const FORMAT = "postern-policy/1";

/** What a node says of a tenant whose handlers went through that pass. */
async function readOf(pass: number): Promise<{ refusal: string | undefined; served: boolean }> {
  const store = memoryStore();
  await publishTenant(store, "acme");
  const found = must(await store.get(policyKey("acme")));
  if (found === undefined) throw new Error("nothing was published");
  const document = decodeDocument(FORMAT, found.body) as PublishedTenant;
  must(
    await store.put(policyKey("acme"), encodeDocument(FORMAT, { ...document, pass }), {
      ifMatch: found.etag,
    }),
  );
  const tenants = new TenantDirectory({
    store,
    openKeys: openWith(MASTER),
    handlers: new StoredHandlers(store, turnsHere),
    quarantine: new Quarantine(),
  });
  const refusal = await tenants.read("acme");
  return {
    refusal: refusal && `${refusal.code}: ${refusal.detail}`,
    served: tenants.get("acme") !== undefined,
  };
}

describe("the fuel pass of published handlers", () => {
  it("is that of this version, or an older one that is still good", async () => {
    for (let pass = FUEL_PASS_VERSION_MIN; pass <= FUEL_PASS_VERSION; pass++)
      expect(await readOf(pass)).toEqual({ refusal: undefined, served: true });
  });

  it("that is too old is refused, with what to do", async () => {
    const { refusal, served } = await readOf(FUEL_PASS_VERSION_MIN - 1);
    expect(served).toBe(false);
    expect(refusal).toMatch(
      /^store_unavailable: .*tenant acme .*pass 0; this node requires 1: .*`postern apply`$/,
    );
  });

  it("that this node does not know is refused, with what to do", async () => {
    const { refusal, served } = await readOf(FUEL_PASS_VERSION + 1);
    expect(served).toBe(false);
    expect(refusal).toMatch(/knows passes up to \d+: upgrade it$/);
  });
});
