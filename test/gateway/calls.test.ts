/** The gate end to end over a socket: what is admitted, what is refused, and what a refusal says. */
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { CODES } from "../../src/errors.ts";
import { PROTOCOL_CAVEATS_MAX } from "../../src/limits.ts";
import { send } from "../../src/sdk/client.ts";
import { decodeToken, encodeToken } from "../../src/token/envelope.ts";
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
  signed,
  startGate,
  type TestGate,
} from "../support/gate.ts";

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

describe("a call", () => {
  it("runs in the handler, in order, and answers its result", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    expect(await call(ada, actor, "open", { owner: "Ada Łovelace \u{1F9EE}" })).toEqual({
      status: 200,
      result: { balance: 0 },
    });
    expect(await call(ada, actor, "deposit", { amount: 100 })).toEqual({
      status: 200,
      result: { balance: 100 },
    });
    expect(await call(ada, actor, "withdraw", { amount: 30 })).toEqual({
      status: 200,
      result: { balance: 70 },
    });
    expect(await call(ada, actor, "balance")).toEqual({ status: 200, result: { balance: 70 } });
    expect(await call(ada, actor, "close")).toEqual({ status: 200, result: { balance: 70 } });
  });

  it("with the same idempotency key takes effect once and gets the same answer", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const again = { idempotencyKey: "pay-rent" };
    const answers = await Promise.all([1, 2, 3].map(() => call(ada, actor, "deposit", { amount: 5 }, again)));
    const once = { status: 200, result: { balance: 5 } };
    expect(answers).toEqual([once, once, once]);
    expect(codeOf(await call(ada, actor, "deposit", { amount: 6 }, again))).toBe("idempotency_mismatch");
    expect(codeOf(await call(ada, actor, "withdraw", { amount: 5 }, again))).toBe("idempotency_mismatch");
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 5 } });
  });

  it("under an idempotency key that another caller used, too, is a call of its own", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const key = { idempotencyKey: "same" };
    expect(await call(ada, actor, "deposit", { amount: 5 }, key)).toMatchObject({ result: { balance: 5 } });
    const signer = newSigner();
    const hers = {
      ...ada,
      signer,
      token: mintToken(gate.key, [`actor = ${actor}`, inOneHour(), `holder = ${signer.publicKey}`]),
    };
    expect(await call(hers, actor, "deposit", { amount: 5 }, key)).toMatchObject({ result: { balance: 10 } });
  });

  it("is serialised with all others on its actor", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const calls = Array.from({ length: 40 }, () => call(ada, actor, "deposit", { amount: 1 }));
    const balances = (await Promise.all(calls)).map((outcome) =>
      "result" in outcome ? outcome.result : outcome,
    );
    expect(new Set(balances.map((balance) => JSON.stringify(balance))).size).toBe(40);
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 40 } });
  });

  it("carries a request id, also in the node's log, and no cache may keep it", async () => {
    const actor = freshAccount();
    const { url, ...init } = signed(party(gate, actor), actor, "open", { owner: "Ada" });
    const response = await fetch(url, init);
    const id = response.headers.get("request-id");
    expect(response.headers.get("cache-control")).toBe("no-store");
    const record = gate.lines.map((line) => JSON.parse(line)).find((line) => line.request_id === id);
    expect(record).toMatchObject({ method: "POST", actor: `demo/${actor}`, message: "open", status: 200 });
  });
});

describe("order", () => {
  it("is enforced by the behaviour, with what is enabled", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const early = await call(ada, actor, "deposit", { amount: 1 });
    expect(early).toMatchObject({ status: 409, problem: { code: "out_of_order", enabled: ["open"] } });
    await call(ada, actor, "open", { owner: "Ada" });
    const twice = await call(ada, actor, "open", { owner: "Ada" });
    expect(twice).toMatchObject({ problem: { enabled: ["balance", "close", "deposit", "withdraw"] } });
  });

  it("is enforced by a protocol caveat, shared by all copies and descendants of the token", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const twice = { ...ada, token: narrow(ada.token, "protocol = deposit ; deposit") };
    const child = { ...ada, token: narrow(twice.token, "message in deposit,withdraw") };
    expect(codeOf(await call(twice, actor, "deposit", { amount: 1 }))).toBe("200");
    expect(codeOf(await call(child, actor, "deposit", { amount: 1 }))).toBe("200");
    const third = await call(twice, actor, "deposit", { amount: 1 });
    expect(third).toMatchObject({
      status: 409,
      problem: {
        code: "out_of_order",
        enabled: [],
        caveat: { index: 4, text: "protocol = deposit ; deposit" },
      },
    });
    // The parent's own monitor was stepped along and admits more.
    expect(codeOf(await call(ada, actor, "deposit", { amount: 1 }))).toBe("200");
  });

  it("tells as enabled only what the token's message caveats leave", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const open = { ...ada, token: narrow(ada.token, "message in open,balance") };
    expect(await call(open, actor, "open", { owner: "Ada" })).toMatchObject({
      problem: { enabled: ["balance"] },
    });
  });

  it("is not stepped by a call that the handler refuses", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const once = { ...ada, token: narrow(ada.token, "protocol = withdraw ; balance") };
    const refused = await call(once, actor, "withdraw", { amount: 1 });
    expect(refused).toMatchObject({
      status: 422,
      problem: { code: "handler_error", handler_code: "insufficient_funds" },
    });
    await call(ada, actor, "deposit", { amount: 1 });
    expect(codeOf(await call(once, actor, "withdraw", { amount: 1 }))).toBe("200");
    expect(codeOf(await call(once, actor, "balance"))).toBe("200");
  });
});

describe("a token", () => {
  it("that was widened is invalid", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const macaroon = must(decodeToken(narrow(ada.token, "message in balance")));
    const widened = encodeToken({ ...macaroon, unsafeCaveats: macaroon.unsafeCaveats.slice(0, -1) });
    expect(codeOf(await call({ ...ada, token: widened }, actor, "open", { owner: "Ada" }))).toBe(
      "token_invalid",
    );
  });

  it("says which caveat denied, by index and text", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const other = await call(ada, freshAccount(), "open", { owner: "Ada" });
    expect(other).toMatchObject({
      status: 403,
      problem: { code: "caveat_denied", token: 0, caveat: { index: 0, text: `actor = ${actor}` } },
    });
    const stolen = await call({ ...ada, signer: newSigner() }, actor, "open", { owner: "Ada" });
    expect(stolen).toMatchObject({ status: 403, problem: { code: "caveat_denied", caveat: { index: 2 } } });
    const late = await call(
      { ...ada, token: narrow(ada.token, "expires < 2020-01-01T00:00:00Z") },
      actor,
      "balance",
    );
    expect(late).toMatchObject({ status: 401, problem: { code: "token_expired", caveat: { index: 4 } } });
    const early = await call(
      { ...ada, token: narrow(ada.token, "not_before >= 2120-01-01T00:00:00Z") },
      actor,
      "balance",
    );
    expect(early).toMatchObject({ status: 403, problem: { code: "caveat_denied", caveat: { index: 4 } } });
  });

  it("with a caveat that the gate does not know is refused, wherever it stands", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    for (const caveat of [
      "colour = blue",
      "when = tru",
      "uses <= three",
      "protocol = open ; (",
      "protocol = a{1,9999}",
    ])
      expect(
        codeOf(await call({ ...ada, token: narrow(ada.token, caveat) }, actor, "open", { owner: "Ada" })),
        caveat,
      ).toBe("unknown_caveat");
  });

  it("with more protocols than a gate compiles for one token is refused", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const protocols = Array.from({ length: PROTOCOL_CAVEATS_MAX - 1 }, (_, i) => `protocol = open ; m${i}*`);
    const most = { ...ada, token: narrow(ada.token, ...protocols) };
    const tooMany = { ...ada, token: narrow(most.token, "protocol = open") };
    expect(codeOf(await call(tooMany, actor, "open", { owner: "Ada" }))).toBe("unknown_caveat");
    expect(codeOf(await call(most, actor, "open", { owner: "Ada" }))).toBe("200");
  });

  it("without the caveats that this tenant requires opens nothing", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const holder = formatCaveat("holder", ada.signer.publicKey);
    const lacking = [
      [inOneHour(), holder],
      [formatCaveat("actor", actor), holder],
      [formatCaveat("actor", actor), inOneHour()],
    ];
    for (const caveats of lacking) {
      const token = mintToken(gate.key, caveats);
      expect(codeOf(await call({ ...ada, token }, actor, "open", { owner: "Ada" }))).toBe("token_invalid");
    }
  });

  it("of another tenant or key is invalid", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const caveats = [formatCaveat("actor", actor), inOneHour(), formatCaveat("holder", ada.signer.publicKey)];
    for (const token of [mintToken(gate.key, caveats, "other"), mintToken({ ...gate.key, kid: 2 }, caveats)])
      expect(codeOf(await call({ ...ada, token }, actor, "open", { owner: "Ada" }))).toBe("token_invalid");
  });
});

describe("a signed request", () => {
  it("is taken once", async () => {
    const actor = freshAccount();
    const request = signed(party(gate, actor), actor, "open", { owner: "Ada" });
    expect(codeOf(await send(request, fetch))).toBe("200");
    expect(codeOf(await send(request, fetch))).toBe("replayed");
  });

  it("is bound to every part that it covers", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const request = signed(ada, actor, "open", { owner: "Ada" });
    const other = signed(ada, actor, "open", { owner: "Eve" });
    const changed = {
      "body and digest": [
        {
          ...request,
          body: other.body,
          headers: { ...request.headers, "content-digest": other.headers["content-digest"] ?? "" },
        },
        "signature_invalid",
      ],
      path: [{ ...request, url: request.url.replace("open", "close") }, "signature_invalid"],
      "idempotency key": [
        { ...request, headers: { ...request.headers, "idempotency-key": '"other"' } },
        "signature_invalid",
      ],
      token: [
        {
          ...request,
          headers: { ...request.headers, authorization: `Macaroon ${narrow(ada.token, "message in open")}` },
        },
        "signature_invalid",
      ],
      host: [{ ...request, url: request.url.replace("127.0.0.1", "localhost") }, "signature_invalid"],
    } as const;
    for (const [part, [tampered, code]] of Object.entries(changed))
      expect(codeOf(await send(tampered, fetch)), part).toBe(code);
    expect(codeOf(await send(request, fetch))).toBe("200");
    const another = signed(ada, actor, "close");
    expect(codeOf(await send({ ...another, body: other.body }, fetch))).toBe("malformed_request");
  });

  it("must be signed", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const request = signed(ada, actor, "open", { owner: "Ada" });
    const { signature: _, ...unsigned } = request.headers as Record<string, string>;
    expect(codeOf(await send({ ...request, headers: unsigned }, fetch))).toBe("signature_missing");
  });
});

describe("arguments", () => {
  it("of the wrong type are refused with the place", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    const wrong = [
      [{ amount: "five" }, "/amount"],
      [{ amount: 1.5 }, "/amount"],
      [{ amount: 0 }, "/amount"],
      [{}, ""],
      [{ amount: 1, more: 1 }, ""],
      [[], ""],
    ] as const;
    for (const [args, path] of wrong)
      expect(await call(ada, actor, "deposit", args)).toMatchObject({
        status: 422,
        problem: { code: "schema_violation", path },
      });
  });

  it("past what is kept exactly are refused, not rounded", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    await call(ada, actor, "open", { owner: "Ada" });
    expect(codeOf(await call(ada, actor, "deposit", { amount: 2 ** 53 }))).toBe("malformed_request");
    expect(codeOf(await call(ada, actor, "deposit", { amount: 2 ** 53 - 1 }))).toBe("200");
    expect(await call(ada, actor, "deposit", { amount: 1 })).toMatchObject({
      problem: { handler_code: "balance_too_large" },
    });
  });
});

describe("a problem document", () => {
  it("has the status and title of its code, and names the request", async () => {
    const actor = freshAccount();
    const { url, ...init } = signed(party(gate, actor), actor, "nonsense");
    const response = await fetch(url, init);
    const problem = (await response.json()) as Record<string, unknown>;
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(problem).toMatchObject({
      type: "urn:postern:problem:no_such_message",
      title: CODES.no_such_message.title,
      status: 404,
      code: "no_such_message",
      request_id: response.headers.get("request-id"),
      enabled: ["balance", "close", "deposit", "open", "withdraw"],
    });
  });
});
