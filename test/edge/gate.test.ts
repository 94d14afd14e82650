/**
 * One gate, two ways in: the same tests at a node and at an edge node before it.
 *
 * What is different on purpose stands at the end.
 */
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { revoke } from "../../src/revoke.ts";
import { type Caller, send, signBatch, signDescribe } from "../../src/sdk/client.ts";
import { answering, instrumented } from "../dispatch/guests.ts";
import { type EdgeGate, keyOf, startEdgeGate } from "../support/edge.ts";
import {
  call,
  codeOf,
  freshAccount,
  inOneHour,
  mintToken,
  must,
  narrow,
  newSigner,
  party,
  random,
  signed,
  type TestGate,
} from "../support/gate.ts";
import { publishTenant } from "../support/tenant.ts";

const message = { args: {}, result: {}, reads: true };
const STATELESS = {
  output: '{"reply":1}',
  policy: { state: "none", messages: { go: message }, protocol: "go*", behaviour: "go*" },
} as const;

let gates: EdgeGate;
beforeAll(async () => {
  gates = await startEdgeGate({
    tenants: ["stateless", "unbundled"],
    handlers: [instrumented(answering(STATELESS.output))],
    bindings: { POSTERN_CLIENT_ADDRESS: "cf-connecting-ip" },
  });
  await publishTenant(gates.store, "stateless", STATELESS);
  await publishTenant(gates.store, "unbundled", { ...STATELESS, output: '{"reply":2}' });
  for (const tenant of ["stateless", "unbundled"]) await gates.admit(tenant);
  // The node knows them in a moment.
  for (const tenant of ["stateless", "unbundled"])
    while (codeOf(await go(gates.node, tenant)) !== "200") await setTimeout(50);
});
afterAll(() => gates.end());

async function thingCaller(gate: TestGate, tenant: string, ...caveats: readonly string[]): Promise<Caller> {
  const token = mintToken(
    await keyOf(gates.store, tenant),
    ["actor = thing/1", inOneHour(), ...caveats],
    tenant,
  );
  return { url: gate.server.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
}

const go = async (gate: TestGate, tenant: string, ...caveats: readonly string[]) =>
  call(await thingCaller(gate, tenant, ...caveats), "thing/1", "go", {}, { tenant });

/** A message to the stateless actor that brings a capability. */
async function give(gate: TestGate, capability: string) {
  const args = { given: { $cap: capability } };
  return call(await thingCaller(gate, "stateless"), "thing/1", "go", args, { tenant: "stateless" });
}

describe.each(["node", "edge"] as const)("at the %s", (way) => {
  const at = (): TestGate => gates[way];

  it("a call runs in order and answers its result", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    expect(await call(ada, actor, "open", { owner: "Ada \u{1F9EE}" })).toEqual({
      status: 200,
      result: { balance: 0 },
    });
    expect(await call(ada, actor, "deposit", { amount: 5 })).toEqual({ status: 200, result: { balance: 5 } });
    expect(await call(ada, actor, "open", { owner: "Ada" })).toMatchObject({
      status: 409,
      problem: { code: "out_of_order", enabled: ["balance", "close", "deposit", "withdraw"] },
    });
  });

  it("a protocol is shared by all who descend from it", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const once = { ...ada, token: narrow(ada.token, "protocol = deposit") };
    const child = { ...ada, token: narrow(once.token, "message in deposit") };
    expect(codeOf(await call(child, actor, "deposit", { amount: 1 }))).toBe("200");
    expect(await call(once, actor, "deposit", { amount: 1 })).toMatchObject({
      problem: { code: "out_of_order", enabled: [], caveat: { index: 4, text: "protocol = deposit" } },
    });
  });

  it("a batch is admitted whole, and refers to its own results", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    const calls = [
      { message: "open", args: { owner: "Ada" } },
      { message: "deposit", args: { amount: 7 } },
      { message: "withdraw", args: { amount: { $ref: "$1.balance" } } },
    ];
    const batch = { tenant: "demo", actor, calls: JSON.stringify(calls) };
    expect(await send(signBatch(ada, batch), fetch)).toEqual({
      status: 200,
      result: [{ balance: 0 }, { balance: 7 }, { balance: 0 }],
    });
    expect(await send(signBatch(ada, batch), fetch)).toMatchObject({
      status: 409,
      problem: { code: "out_of_order", call: 0 },
    });
  });

  it("a question is answered", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    expect(await send(signDescribe(ada, { tenant: "demo", actor }), fetch)).toMatchObject({
      status: 200,
      result: { actor, exists: false, enabled: ["open"] },
    });
  });

  it("a request is taken once, and its reply is kept for its idempotency key", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const request = signed(ada, actor, "deposit", { amount: 5 }, { idempotencyKey: "rent" });
    expect([codeOf(await send(request, fetch)), codeOf(await send(request, fetch))]).toEqual([
      "200",
      "replayed",
    ]);
    const again = await call(ada, actor, "deposit", { amount: 5 }, { idempotencyKey: "rent" });
    expect(again).toMatchObject({ result: { balance: 5 } });
    expect(codeOf(await call(ada, actor, "deposit", { amount: 6 }, { idempotencyKey: "rent" }))).toBe(
      "idempotency_mismatch",
    );
  });

  it("what is wrong is refused for the same reason", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    const bob = party(at(), actor);
    const unused = { ...at().key, kid: 9 };
    const wrong: Record<string, Promise<unknown>> = {
      caveat_denied: call({ ...ada, signer: bob.signer }, actor, "open", { owner: "Eve" }),
      token_truncated: call({ ...ada, token: ada.token.slice(0, -2) }, actor, "open"),
      token_invalid: call(
        { ...ada, token: mintToken(unused, ["actor = account/*", inOneHour()]) },
        actor,
        "open",
      ),
      token_expired: call(
        { ...ada, token: narrow(ada.token, "expires < 2026-01-01T00:00:00Z") },
        actor,
        "open",
      ),
      unknown_caveat: call({ ...ada, token: narrow(ada.token, "colour = red") }, actor, "open", {
        owner: "Ada",
      }),
      schema_violation: call(ada, actor, "open", { owner: 7 }),
      no_such_message: call(ada, actor, "steal"),
      no_such_tenant: call(ada, actor, "open", {}, { tenant: "nobody" }),
      handler_error: (async () => {
        await call(bob, actor, "open", { owner: "Bob" });
        return call(bob, actor, "withdraw", { amount: 1 });
      })(),
    };
    for (const [code, outcome] of Object.entries(wrong))
      expect(await outcome, code).toMatchObject({ problem: { code, type: `urn:postern:problem:${code}` } });
    const { url, headers, body } = signed(ada, actor, "open", { owner: "Ada" });
    const sendWith = async (more: Record<string, string>, bytes: Uint8Array<ArrayBuffer> = body) =>
      (
        (await (
          await fetch(url, { method: "POST", headers: { ...headers, ...more }, body: bytes })
        ).json()) as { code: string }
      ).code;
    expect(await sendWith({ "signature-input": "" })).toBe("signature_missing");
    expect(await sendWith({ "idempotency-key": '"other"' })).toBe("signature_invalid");
    expect(await sendWith({}, new TextEncoder().encode('{"owner":"Eve"}'))).toBe("malformed_request");
    expect(await sendWith({ authorization: "Bearer x" })).toMatch(/^token_/);
  });

  it("a caller's address is known at the actor, too", async () => {
    const actor = freshAccount();
    const [inside, outside] = ["198.51.100.0/24,127.0.0.0/8", "203.0.113.0/24"].map((range) =>
      party(at(), actor, `client_ip in ${range}`),
    );
    const asked = async (caller: Caller | undefined) => {
      if (caller === undefined) throw new Error("nobody");
      const { url, headers, body } = signed(caller, actor, "open", { owner: "Ada" });
      const from = { ...headers, "cf-connecting-ip": "198.51.100.7", "x-forwarded-for": "203.0.113.9" };
      return (await fetch(url, { method: "POST", headers: from, body })).status;
    };
    expect([await asked(outside), await asked(inside)]).toEqual([403, 200]);
  });

  it("a message of an actor without state is answered on the spot", async () => {
    const before = gates.node.lines.length;
    expect(await go(at(), "stateless")).toEqual({ status: 200, result: 1 });
    expect(gates.node.lines.length - before).toBe(way === "edge" ? 0 : 1);
  });

  it("a caller whose clock is wrong is given the time, whoever does the call", async () => {
    const actor = freshAccount();
    const lost = { ...party(at(), actor), now_ms: () => Date.now() - 3_600_000 };
    expect(codeOf(await call(lost, actor, "open", { owner: "Ada" }))).toBe("200");
    const here = { ...(await thingCaller(at(), "stateless")), now_ms: lost.now_ms };
    expect(codeOf(await call(here, "thing/1", "go", {}, { tenant: "stateless" }))).toBe("200");
  });

  it("a capability that the actor could not use is refused", async () => {
    const outcome = await give(at(), party(at(), "account/1").token);
    expect(outcome).toMatchObject({ problem: { code: "capability_refused", path: "/given" } });
  });

  it("what is revoked is refused within 2 s", async () => {
    const actor = freshAccount();
    const ada = party(at(), actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const now_ms = Date.now();
    const entry = {
      kind: "holder",
      value: ada.signer.publicKey,
      at: new Date(now_ms).toISOString(),
    } as const;
    must(await revoke(gates.store, "demo", entry, { now_ms, random }));
    await setTimeout(2_000);
    expect(codeOf(await call(ada, actor, "balance"))).toBe("token_revoked");
  });

  it("both probes say that all is well", async () => {
    for (const path of ["/livez", "/readyz"])
      expect((await fetch(`${at().server.url}${path}`)).status).toBe(200);
    expect((await fetch(`${at().server.url}/v2`)).status).toBe(400);
  });
});

describe("what is different at the edge", () => {
  it("a handler that was not bundled runs at the node", async () => {
    const before = gates.node.lines.length;
    expect(await go(gates.edge, "unbundled")).toEqual({ status: 200, result: 2 });
    expect(gates.node.lines.slice(before).map((line) => JSON.parse(line))).toMatchObject([
      { hop: "received" },
    ]);
  });

  it("a call that brings a capability runs at the node: it takes the actor's key", async () => {
    const { token } = await thingCaller(gates.edge, "stateless");
    const before = gates.node.lines.length;
    expect(await give(gates.edge, token)).toEqual({ status: 200, result: 1 });
    expect(gates.node.lines.slice(before).map((line) => JSON.parse(line))).toMatchObject([
      { hop: "received" },
    ]);
  });

  it("nothing is passed on to it", async () => {
    const actor = freshAccount();
    const { url, headers, body } = signed(party(gates.edge, actor), actor, "open", { owner: "Ada" });
    const passedOn = { ...headers, "postern-hops": "1", "postern-remaining-ms": "1000" };
    const response = await fetch(url, { method: "POST", headers: passedOn, body });
    expect([response.status, await response.json()]).toMatchObject([421, { code: "not_leader" }]);
  });

  it("a request that it has passed on is taken once, whichever way it comes", async () => {
    const actor = freshAccount();
    const { url, headers, body } = signed(party(gates.edge, actor), actor, "open", { owner: "Ada" });
    const host = new URL(url).host;
    const direct = new URL(new URL(url).pathname, gates.node.server.url);
    expect((await fetch(url, { method: "POST", headers, body })).status).toBe(200);
    const again = await fetch(direct, { method: "POST", headers: { ...headers, host }, body });
    expect(await again.json()).toMatchObject({ code: "replayed" });
  });

  it("its lines hold no secret", () => {
    const everything = gates.edge.lines.join("\n");
    expect(everything).toContain('"status":200');
    expect(everything).not.toMatch(/pst_|Macaroon /);
  });
});
