/** An edge node has leaked, key and rings: what whoever has them can still do once it is cut off. */
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, expect, it } from "vitest";
import { EDGE_HEADER, HOPS_HEADER, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import { CLIENT_HEADER, Vouching } from "../../src/cluster/vouching.ts";
import { cutOff } from "../../src/edge-nodes.ts";
import { parseAddress } from "../../src/ip.ts";
import { type Caller, signCall } from "../../src/sdk/client.ts";
import { keyringKey, openCopy } from "../../src/token/keyring.ts";
import { EDGE, EDGE_KEY, type EdgeGate, keyOf, startEdgeGate } from "../support/edge.ts";
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
  type TestGate,
} from "../support/gate.ts";

let gates: EdgeGate;
beforeAll(async () => {
  gates = await startEdgeGate();
});
afterAll(() => gates.end());

const open = async (gate: TestGate, actor: string, caller: Caller): Promise<string> =>
  codeOf(await call({ ...caller, url: gate.server.url }, actor, "open", { owner: "Ada" }));

/** As the edge node would pass it on, with the address that it likes. */
async function passOn(caller: Caller, actor: string, key = EDGE_KEY, name = EDGE): Promise<string> {
  const { url, headers, body } = signCall(
    { ...caller, url: gates.edge.server.url },
    { tenant: "demo", actor, message: "open", args: { owner: "Eve" } },
  );
  const address = parseAddress("203.0.113.9") ?? new Uint8Array();
  const response = await fetch(new URL(new URL(url).pathname, gates.node.server.url), {
    method: "POST",
    body,
    headers: {
      ...headers,
      [HOPS_HEADER]: "1",
      [REMAINING_HEADER]: "5000",
      [EDGE_HEADER]: `${name} ${new URL(url).host}`,
      [CLIENT_HEADER]: new Vouching(key).write(address, headers["signature"] ?? ""),
    },
  });
  return response.status === 200 ? "200" : ((await response.json()) as { code: string }).code;
}

const forge = (key: Parameters<typeof mintToken>[0], ...caveats: string[]): Caller => ({
  url: "",
  token: mintToken(key, ["actor = account/*", inOneHour(), ...caveats]),
  signer: newSigner(),
  now_ms: () => Date.now(),
  random,
});

it("while it is trusted, its word on an address counts; nobody else's in its name does", async () => {
  const eve = party(gates.edge, "account/*", "client_ip in 203.0.113.0/24");
  expect(await passOn(eve, freshAccount())).toBe("200");
  for (const [key, name] of [
    [MASTER, EDGE],
    [EDGE_KEY, "other-edge"],
    [EDGE_KEY, "constructor"],
  ] as const)
    expect(await passOn(eve, freshAccount(), key, name)).toBe("caveat_denied");
});

it("after it was cut off: its rings mint nothing, its word counts for nothing, and it serves nobody", async () => {
  const found = must(await gates.store.get(keyringKey("demo")));
  const ring = openCopy(found?.body ?? new Uint8Array(), "demo", { name: EDGE, key: EDGE_KEY });
  const [stolen] = ring === undefined || ring === "withdrawn" ? [] : ring;
  if (stolen === undefined) throw new Error("nothing to steal");
  const forged = forge(stolen, `holder = ${"0".repeat(64)}`);
  // It is what a tenant's key is good for: only its signature is missing.
  expect(await open(gates.node, freshAccount(), forged)).toBe("caveat_denied");
  const honest = party(gates.edge, "account/*");
  expect(await open(gates.edge, freshAccount(), honest)).toBe("200");

  must(await cutOff({ store: gates.store, tenant: "demo", master: MASTER, random }, EDGE));
  await setTimeout(2_000);
  const actor = freshAccount();
  expect(await open(gates.node, actor, forged)).toBe("token_invalid");
  expect(await open(gates.node, actor, honest)).toBe("token_invalid");
  expect(await open(gates.edge, actor, honest)).toBe("no_such_tenant");
  const renewed = party({ ...gates.edge, key: await keyOf(gates.store, "demo") }, "account/*");
  expect(await open(gates.node, actor, renewed)).toBe("200");
  expect(await open(gates.edge, actor, renewed)).toBe("no_such_tenant");
  const inside = party(
    { ...gates.edge, key: await keyOf(gates.store, "demo") },
    "account/*",
    "client_ip in 203.0.113.0/24",
  );
  expect(await passOn(inside, freshAccount())).toBe("caveat_denied");
  const after = must(await gates.store.get(keyringKey("demo")));
  expect(openCopy(after?.body ?? new Uint8Array(), "demo", { name: EDGE, key: EDGE_KEY })).toBe("withdrawn");
});
