/** `GET` on an actor: what this capability may send to it now, and nothing about what it may never. */
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { utf8 } from "../../src/bytes.ts";
import { type Caller, type Description, send, signDescribe, signRequest } from "../../src/sdk/client.ts";
import {
  call,
  codeOf,
  freshAccount,
  inOneHour,
  mintToken,
  narrow,
  newSigner,
  party,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { headHeaders } from "../support/head.ts";
import { exchange } from "../support/raw.ts";

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

const ask = (caller: Caller, actor: string) => send(signDescribe(caller, { tenant: "demo", actor }), fetch);

async function told(caller: Caller, actor: string): Promise<Description> {
  const outcome = await ask(caller, actor);
  if (!("result" in outcome)) throw new Error(outcome.problem.detail);
  return outcome.result as unknown as Description;
}

describe("a question", () => {
  it("is answered with what is enabled, its schemas, and what the rest waits for", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const before = await told(ada, actor);
    expect(before).toMatchObject({ actor, exists: false, enabled: ["open"] });
    expect(Date.parse(before.expires ?? "")).toBeGreaterThan(Date.now());
    expect(Object.keys(before.messages)).toEqual(["balance", "close", "deposit", "open", "withdraw"]);
    expect(before.messages["open"]).toEqual({
      args: expect.objectContaining({ type: "object", required: ["owner"] }),
      result: expect.objectContaining({ required: ["balance"] }),
      reads: false,
    });
    expect(before.messages["balance"]).toMatchObject({
      reads: true,
      waits_for: {
        behaviour: true,
        caveats: [{ index: 3, text: expect.stringContaining("protocol = open") }],
      },
    });

    await call(ada, actor, "open", { owner: "Ada" });
    const opened = await told(ada, actor);
    expect(opened).toMatchObject({ exists: true, enabled: ["balance", "close", "deposit", "withdraw"] });
    // It can never be opened again, so that is no longer told.
    expect(Object.keys(opened.messages)).toEqual(["balance", "close", "deposit", "withdraw"]);
    expect(opened.messages["deposit"]).not.toHaveProperty("waits_for");

    await call(ada, actor, "close");
    expect(await told(ada, actor)).toMatchObject({ exists: true, enabled: [], messages: {} });
  });

  it("says nothing of what the token can never send", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const some = { ...ada, token: narrow(ada.token, "message in balance,deposit,open") };
    expect(Object.keys((await told(some, actor)).messages)).toEqual(["balance", "deposit"]);
    const ordered = { ...ada, token: narrow(ada.token, "protocol = deposit ; withdraw?") };
    expect(await told(ordered, actor)).toMatchObject({
      enabled: ["deposit"],
      messages: {
        deposit: {},
        withdraw: { waits_for: { caveats: [{ index: 4, text: "protocol = deposit ; withdraw?" }] } },
      },
    });
    expect(Object.keys((await told(ordered, actor)).messages)).toEqual(["deposit", "withdraw"]);
    const none = { ...ada, token: narrow(some.token, "message in withdraw") };
    expect(await told(none, actor)).toMatchObject({ enabled: [], messages: {} });
  });

  it("changes nothing, neither the order nor the log", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const once = { ...ada, token: narrow(ada.token, "protocol = deposit ; balance") };
    for (let i = 0; i < 3; i++) expect((await told(once, actor)).enabled).toEqual(["deposit"]);
    expect(codeOf(await call(once, actor, "deposit", { amount: 1 }))).toBe("200");
    expect((await told(once, actor)).enabled).toEqual(["balance"]);
  });

  it("tells as much as a call would be admitted, whoever moved the monitors", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const twice = { ...ada, token: narrow(ada.token, "protocol = deposit ; deposit") };
    const sibling = { ...ada, token: narrow(twice.token, "message in deposit") };
    await call(sibling, actor, "deposit", { amount: 1 });
    await call(sibling, actor, "deposit", { amount: 1 });
    expect(await told(twice, actor)).toMatchObject({ enabled: [], messages: {} });
    expect((await told(ada, actor)).enabled).toContain("deposit");
  });

  it("without an order in the token is answered by the behaviour alone", async () => {
    const actor = freshAccount();
    const signer = newSigner();
    const caveats = [formatCaveat("actor", actor), inOneHour(), formatCaveat("holder", signer.publicKey)];
    const caller = { ...party(gate, actor), signer, token: mintToken(gate.key, caveats) };
    const { messages } = await told(caller, actor);
    expect(messages["close"]).toMatchObject({ waits_for: { behaviour: true } });
    expect(messages["close"]?.waits_for).not.toHaveProperty("caveats");
  });
});

describe("a question is refused like a call", () => {
  it("of another actor, key, or time", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    expect(codeOf(await ask(ada, freshAccount()))).toBe("caveat_denied");
    expect(codeOf(await ask({ ...ada, signer: newSigner() }, actor))).toBe("caveat_denied");
    const late = narrow(ada.token, "expires < 2020-01-01T00:00:00Z");
    expect(codeOf(await ask({ ...ada, token: late }, actor))).toBe("token_expired");
    expect(codeOf(await ask({ ...ada, token: narrow(ada.token, "colour = blue") }, actor))).toBe(
      "unknown_caveat",
    );
  });

  it("of a type that the tenant does not have", async () => {
    const signer = newSigner();
    const caveats = [formatCaveat("actor", "thing/1"), inOneHour(), formatCaveat("holder", signer.publicKey)];
    const caller = { ...party(gate, "thing/1"), signer, token: mintToken(gate.key, caveats) };
    expect(codeOf(await ask(caller, "thing/1"))).toBe("no_such_actor_type");
  });

  it("without a signature, twice, or signed as something else", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const question = signDescribe(ada, { tenant: "demo", actor });
    expect(codeOf(await send({ ...question, headers: {} }, fetch))).toBe("token_malformed");
    const { signature: _, ...unsigned } = question.headers as Record<string, string>;
    expect(codeOf(await send({ ...question, headers: unsigned }, fetch))).toBe("signature_missing");
    expect(codeOf(await send(question, fetch))).toBe("200");
    expect(codeOf(await send(question, fetch))).toBe("replayed");
    const post = signRequest(ada, `/v1/demo/${actor}`, utf8(""));
    expect(codeOf(await send({ ...question, headers: post.headers }, fetch))).toBe("signature_invalid");
  });

  it("with a body", async () => {
    const actor = freshAccount();
    const { headers, url } = signDescribe(party(gate, actor), { tenant: "demo", actor });
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    const head = [`GET ${new URL(url).pathname} HTTP/1.1`, `host: ${new URL(url).host}`, ...lines];
    const bytes = utf8(`${[...head, "content-length: 2", "connection: close"].join("\r\n")}\r\n\r\n{}`);
    expect(await exchange(gate.server.url, bytes)).toMatchObject({ status: 400 });
  });
});

describe("other methods", () => {
  it("HEAD is a question without its answer's body, and signed as such", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const { url, headers } = signDescribe(ada, { tenant: "demo", actor });
    const unsigned = await fetch(url, { method: "HEAD", headers });
    expect([unsigned.status, await unsigned.text()]).toEqual([401, ""]);
    const signed = headHeaders(ada, actor);
    const response = await fetch(url, { method: "HEAD", headers: signed });
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect(response.headers.get("content-type")).toContain("application/json");
  });

  it("OPTIONS says what there is, to anybody", async () => {
    const options = (path: string) => fetch(new URL(path, gate.server.url), { method: "OPTIONS" });
    const actor = await options("/v1/demo/account/1");
    expect([actor.status, actor.headers.get("allow")]).toEqual([204, "GET, HEAD, POST, OPTIONS"]);
    const message = await options("/v1/demo/account/1/open");
    expect([message.status, message.headers.get("allow")]).toEqual([204, "POST, OPTIONS"]);
    expect((await options("/v1/demo/account")).status).toBe(400);
  });

  it("no others are taken", async () => {
    for (const method of ["PUT", "DELETE", "PATCH"])
      expect((await fetch(new URL("/v1/demo/account/1", gate.server.url), { method })).status).toBe(400);
  });
});
