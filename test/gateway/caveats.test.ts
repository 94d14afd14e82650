/** Caveats that a gate alone can judge: where a call comes from and goes to, what it carries, how many there were. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { toHex } from "../../src/bytes.ts";
import { parseRange } from "../../src/ip.ts";
import type { Json } from "../../src/json.ts";
import {
  type BatchCall,
  type Caller,
  type CallOutcome,
  resultOf,
  send,
  signBatch,
  signDescribe,
} from "../../src/sdk/client.ts";
import { delegateToken } from "../../src/sdk/delegate.ts";
import { holderSigner, newHolder } from "../../src/signature/holder.ts";
import {
  ACCOUNT_PROTOCOL,
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
  startGate,
  type TestGate,
} from "../support/gate.ts";

let gate: TestGate;

beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

interface Opened {
  readonly actor: string;
  readonly owner: Caller;
  /** The owner's token with more caveats. */
  readonly with: (...caveats: readonly string[]) => Caller;
}

async function openAccount(at = gate): Promise<Opened> {
  const actor = freshAccount();
  const owner = party(at, actor);
  expect(codeOf(await call(owner, actor, "open", { owner: "Ada" }))).toBe("200");
  return { actor, owner, with: (...caveats) => ({ ...owner, token: narrow(owner.token, ...caveats) }) };
}

/** What a refusal says, and of which caveat. */
function refusalOf(outcome: CallOutcome): readonly unknown[] {
  return "problem" in outcome
    ? [outcome.problem.code, outcome.problem.caveat?.text, outcome.problem.detail]
    : [outcome.status];
}

/** A call with headers that are not signed. */
function callWith(headers: Record<string, string>, caller: Caller, actor: string): Promise<CallOutcome> {
  const request = signed(caller, actor, "balance");
  return send({ ...request, headers: { ...request.headers, ...headers } }, fetch);
}

describe("when", () => {
  it("looks at the arguments that came", async () => {
    const { actor, with: narrowed } = await openAccount();
    const caller = narrowed("when = message != 'deposit' || args.amount <= 100");
    const deposit = (amount: Json) => call(caller, actor, "deposit", { amount });
    expect(codeOf(await deposit(100))).toBe("200");
    expect(refusalOf(await deposit(101))).toEqual([
      "caveat_denied",
      "when = message != 'deposit' || args.amount <= 100",
      "caveat 4 forbids this call: its condition does not hold",
    ]);
    // What cannot be compared is refused, before its type is: the caveat stands before the schema.
    expect(codeOf(await deposit("5"))).toBe("caveat_denied");
    expect(codeOf(await call(caller, actor, "balance"))).toBe("200");
  });

  it("looks at who calls what, when and from where", async () => {
    const { actor, owner, with: narrowed } = await openAccount();
    const id = actor.split("/")[1];
    const condition =
      `actor.type == 'account' && actor.id == '${id}' && message == 'balance' && ` +
      `client.key == '${owner.signer.publicKey}' && client.ip == '127.0.0.1'`;
    expect(codeOf(await call(narrowed(`when = ${condition}`), actor, "balance"))).toBe("200");
    expect(
      codeOf(await call(narrowed("when = now > timestamp('2020-01-01T00:00:00Z')"), actor, "balance")),
    ).toBe("200");
    expect(codeOf(await call(narrowed("when = client.ip == '127.0.0.2'"), actor, "balance"))).toBe(
      "caveat_denied",
    );
  });

  it("that no gate reads is refused as an unknown caveat, and named", async () => {
    const { actor, with: narrowed } = await openAccount();
    for (const text of ["when = args.amount <=", "when = arg.amount < 5", "when = args.s.matches('a')"])
      expect((await call(narrowed(text), actor, "balance")) as object).toMatchObject({
        problem: { code: "unknown_caveat", caveat: { index: 4, text } },
      });
  });
});

describe("client_ip", () => {
  it("is the socket's, whatever a request says of itself", async () => {
    const { actor, with: narrowed } = await openAccount();
    expect(codeOf(await call(narrowed("client_ip in 10.0.0.0/8,127.0.0.0/8"), actor, "balance"))).toBe("200");
    const elsewhere = narrowed("client_ip in 203.0.113.0/24");
    expect(refusalOf(await call(elsewhere, actor, "balance"))).toEqual([
      "caveat_denied",
      "client_ip in 203.0.113.0/24",
      "caveat 4 forbids this call: it admits 203.0.113.0/24, not 127.0.0.1",
    ]);
    for (const headers of [
      { "x-forwarded-for": "203.0.113.9" },
      { forwarded: "for=203.0.113.9" },
      { "x-real-ip": "203.0.113.9", "cf-connecting-ip": "203.0.113.9" },
      { "postern-client": `203.0.113.9 ${"00".repeat(32)}` },
      {
        "postern-client": `203.0.113.9 ${"00".repeat(32)}`,
        "postern-hops": "1",
        "postern-remaining-ms": "1000",
      },
    ])
      expect(codeOf(await callWith(headers, elsewhere, actor))).toBe("caveat_denied");
  });

  it("is what a trusted proxy has written down, and only its last word", async () => {
    const loopback = parseRange("127.0.0.0/8");
    const proxied = await startGate(undefined, undefined, {
      trustedProxies: loopback === undefined ? [] : [loopback],
    });
    try {
      const { actor, with: narrowed } = await openAccount(proxied);
      const caller = narrowed("client_ip in 203.0.113.0/24,2001:db8::/32");
      const said = async (headers: Record<string, string>) => codeOf(await callWith(headers, caller, actor));
      expect(await said({ "x-forwarded-for": "203.0.113.9" })).toBe("200");
      expect(await said({ "x-forwarded-for": "192.0.2.1, 203.0.113.9, 127.0.0.5" })).toBe("200");
      expect(await said({ forwarded: 'for="[2001:db8::1]:4711";proto=https' })).toBe("200");
      expect(await said({ "x-forwarded-for": "203.0.113.9, 192.0.2.1" })).toBe("caveat_denied");
      expect(await said({ "x-forwarded-for": "203.0.113.9, unknown" })).toBe("caveat_denied");
      expect(await said({ "x-forwarded-for": "192.0.2.1", forwarded: "for=203.0.113.9" })).toBe(
        "caveat_denied",
      );
      expect(await said({})).toBe("caveat_denied");
    } finally {
      await proxied.end();
    }
  });
});

describe("audience", () => {
  it("is the gate that the request was addressed to", async () => {
    const { actor, with: narrowed } = await openAccount();
    const { host, port } = new URL(gate.server.url);
    for (const origin of [`http://${host}`, `https://${host}`])
      expect(codeOf(await call(narrowed(`audience = ${origin}`), actor, "balance"))).toBe("200");
    // The same gate under another of its names is another audience.
    for (const origin of [`http://localhost:${port}`, "https://gate.example", "http://127.0.0.1"])
      expect(codeOf(await call(narrowed(`audience = ${origin}`), actor, "balance"))).toBe("caveat_denied");
  });
});

describe("uses and rate", () => {
  it("count what takes effect, for all who hold the caveat together", async () => {
    const { actor, owner, with: narrowed } = await openAccount();
    const two = narrowed("uses <= 2");
    const child = { ...two, token: narrow(two.token, "message in balance") };
    expect(codeOf(await call(two, actor, "withdraw", { amount: 5 }))).toBe("handler_error");
    expect(codeOf(await call(child, actor, "withdraw", { amount: 5 }))).toBe("caveat_denied");
    const key = { idempotencyKey: "one" };
    for (let times = 0; times < 3; times++)
      expect(codeOf(await call(two, actor, "deposit", { amount: 5 }, key))).toBe("200");
    expect(codeOf(await call(child, actor, "balance"))).toBe("200");
    for (const caller of [two, child])
      expect(refusalOf(await call(caller, actor, "balance"))).toEqual([
        "caveat_denied",
        "uses <= 2",
        "caveat 4 forbids this call: its 2 uses are used up",
      ]);
    // Another caveat of the same text, at another place of a chain, counts for itself.
    expect(codeOf(await call(narrowed("message in balance", "uses <= 2"), actor, "balance"))).toBe("200");
    expect(codeOf(await call(owner, actor, "balance"))).toBe("200");
  });

  it("count for each actor alone", async () => {
    const signer = newSigner();
    const token = mintToken(gate.key, [
      "actor = account/*",
      inOneHour(),
      `holder = ${signer.publicKey}`,
      "uses <= 1",
    ]);
    const caller: Caller = { url: gate.server.url, token, signer, now_ms: () => Date.now(), random };
    const [one, other] = [freshAccount(), freshAccount()];
    for (const actor of [one, other])
      expect(codeOf(await call(caller, actor, "open", { owner: "Ada" }))).toBe("200");
    for (const actor of [one, other])
      expect(codeOf(await call(caller, actor, "balance"))).toBe("caveat_denied");
  });

  it("of a rate say when to come back", async () => {
    const { actor, with: narrowed } = await openAccount();
    const caller = narrowed("rate <= 3/d");
    for (let times = 0; times < 3; times++) expect(codeOf(await call(caller, actor, "balance"))).toBe("200");
    const outcome = await call(caller, actor, "balance");
    expect(outcome).toMatchObject({ status: 429, problem: { code: "quota_exceeded", caveat: { index: 4 } } });
    const wait_ms = "problem" in outcome ? (outcome.problem.retry_after_ms ?? 0) : 0;
    expect(wait_ms).toBeGreaterThan(86_400_000 - 60_000);
    expect(wait_ms).toBeLessThan(86_400_000 * (1 + 1 / 15));
  });
});

describe("batches and questions", () => {
  const batch = (caller: Caller, actor: string, calls: readonly BatchCall[]) =>
    send(signBatch(caller, { tenant: "demo", actor, calls }), fetch);
  const deposit = (amount: BatchCall["args"]): BatchCall => ({
    message: "deposit",
    args: { amount } as Json,
  });
  const BALANCE: BatchCall = { message: "balance" };

  it("when is asked about each call of a batch, and of one that refers to results when they are there", async () => {
    const { actor, owner, with: narrowed } = await openAccount();
    const small = narrowed("when = message != 'deposit' || args.amount <= 10");
    expect((await batch(small, actor, [deposit(5), deposit(10)])).status).toBe(200);
    expect(await batch(small, actor, [deposit(5), deposit(11)])).toMatchObject({
      problem: { code: "caveat_denied", call: 1, caveat: { index: 4 } },
    });
    // The balance is 15 now: doubling it by way of a reference is a deposit of 15.
    const doubling = [BALANCE, deposit(resultOf(0, "balance"))];
    expect(await batch(small, actor, doubling)).toMatchObject({
      problem: { code: "caveat_denied", call: 1, caveat: { index: 4 } },
    });
    expect(await call(owner, actor, "balance")).toEqual({ status: 200, result: { balance: 15 } });
    const large = narrowed("when = message != 'deposit' || args.amount <= 20");
    expect(await batch(large, actor, doubling)).toEqual({
      status: 200,
      result: [{ balance: 15 }, { balance: 30 }],
    });
  });

  it("uses and rates count each call of a batch, and take it whole or not at all", async () => {
    const { actor, owner, with: narrowed } = await openAccount();
    const three = narrowed("uses <= 3");
    expect((await batch(three, actor, [deposit(1), deposit(1)])).status).toBe(200);
    expect(await batch(three, actor, [deposit(1), deposit(1)])).toMatchObject({
      problem: {
        code: "caveat_denied",
        call: 1,
        detail: expect.stringContaining("1 of its 3 uses") as unknown,
      },
    });
    expect(await call(owner, actor, "balance")).toMatchObject({ result: { balance: 2 } });
    expect(codeOf(await call(three, actor, "balance"))).toBe("200");
    expect(codeOf(await call(three, actor, "balance"))).toBe("caveat_denied");
    const rated = narrowed("rate <= 2/d");
    expect(codeOf(await batch(rated, actor, [BALANCE, BALANCE, BALANCE]))).toBe("caveat_denied");
    expect((await batch(rated, actor, [BALANCE, BALANCE])).status).toBe(200);
    expect(codeOf(await batch(rated, actor, [BALANCE]))).toBe("quota_exceeded");
  });

  it("a question is prohibited by what does not depend on a message, and counts nothing", async () => {
    const { actor, with: narrowed } = await openAccount();
    const ask = async (...caveats: string[]) =>
      codeOf(await send(signDescribe(narrowed(...caveats), { tenant: "demo", actor }), fetch));
    expect(
      await ask("when = args.amount <= 10", "when = message == 'deposit'", "uses <= 1", "rate <= 1/d"),
    ).toBe("200");
    expect(await ask("when = now < timestamp('2020-01-01T00:00:00Z')")).toBe("caveat_denied");
    expect(await ask("client_ip in 10.0.0.0/8")).toBe("caveat_denied");
    expect(await ask("audience = https://other.example")).toBe("caveat_denied");
    const once = narrowed("uses <= 1");
    for (let times = 0; times < 3; times++)
      expect((await send(signDescribe(once, { tenant: "demo", actor }), fetch)).status).toBe(200);
    expect(codeOf(await call(once, actor, "balance"))).toBe("200");
  });
});

describe("holders", () => {
  function stranger(scheme: "bip340" | "ed25519") {
    const signer = holderSigner(newHolder(scheme, random).secret, random);
    if (signer === undefined) throw new Error("no key");
    return signer;
  }

  it("with Ed25519 keys are holders like any other", async () => {
    const actor = freshAccount();
    const signer = stranger("ed25519");
    const caveats = [
      formatCaveat("actor", actor),
      inOneHour(),
      formatCaveat("holder", signer.publicKey),
      formatCaveat("protocol", ACCOUNT_PROTOCOL),
    ];
    const caller = { ...party(gate, actor), token: mintToken(gate.key, caveats), signer };
    expect(codeOf(await call(caller, actor, "open", { owner: "Ada" }))).toBe("200");
    expect(codeOf(await call({ ...caller, signer: stranger("ed25519") }, actor, "balance"))).toBe(
      "caveat_denied",
    );
    expect(codeOf(await call({ ...caller, signer: newSigner() }, actor, "balance"))).toBe("caveat_denied");
    const lying = { ...stranger("ed25519"), publicKey: signer.publicKey };
    expect(codeOf(await call({ ...caller, signer: lying }, actor, "balance"))).toBe("signature_invalid");
  });

  it("hand a token on, offline, to a key of either scheme, and again", async () => {
    const { actor, owner } = await openAccount();
    const [bob, carl] = [stranger("ed25519"), stranger("bip340")];
    const caveats = ["message in balance,deposit"];
    const bobs = must(delegateToken(owner.token, bob.publicKey, owner.signer, { caveats }));
    const carls = must(delegateToken(bobs, carl.publicKey, bob));
    const ask = async (token: string, signer: typeof bob, message: string, args: Json = {}) =>
      codeOf(await call({ ...owner, token, signer }, actor, message, args));
    expect(await ask(bobs, bob, "deposit", { amount: 5 })).toBe("200");
    expect(await ask(bobs, bob, "withdraw", { amount: 5 })).toBe("caveat_denied");
    expect(await ask(carls, carl, "balance")).toBe("200");
    for (const [token, signer] of [
      [bobs, owner.signer],
      [bobs, carl],
      [carls, owner.signer],
      [carls, bob],
    ] as const)
      expect(await ask(token, signer, "balance")).toBe("caveat_denied");
    expect(await ask(owner.token, owner.signer, "withdraw", { amount: 5 })).toBe("200");
  });

  it("with a forged delegation are nobody", async () => {
    const { actor, owner } = await openAccount();
    const thief = stranger("bip340");
    const forged = narrow(owner.token, `delegate = ${thief.publicKey} ${toHex(random(64))}`);
    expect(codeOf(await call({ ...owner, token: forged, signer: thief }, actor, "balance"))).toBe(
      "caveat_denied",
    );
  });
});
