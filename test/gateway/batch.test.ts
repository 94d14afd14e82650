/** Batches end to end over a socket: one signature, one key, all or nothing. */
import * as fc from "fast-check";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import type { Json } from "../../src/json.ts";
import { BATCH_CALLS_MAX } from "../../src/limits.ts";
import {
  type BatchCall,
  type Caller,
  type CallOutcome,
  resultOf,
  send,
  signBatch,
  signRequest,
} from "../../src/sdk/client.ts";
import {
  call,
  codeOf,
  freshAccount,
  narrow,
  newSigner,
  party,
  startGate,
  type TestGate,
} from "../support/gate.ts";

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate.end());

const OPEN: BatchCall = { message: "open", args: { owner: "Ada" } };
const deposit = (amount: number): BatchCall => ({ message: "deposit", args: { amount } });
const withdraw = (amount: number): BatchCall => ({ message: "withdraw", args: { amount } });
const BALANCE: BatchCall = { message: "balance" };

function batch(
  caller: Caller,
  actor: string,
  calls: readonly BatchCall[],
  idempotencyKey?: string,
): Promise<CallOutcome> {
  const key = idempotencyKey === undefined ? {} : { idempotencyKey };
  return send(signBatch(caller, { tenant: "demo", actor, calls, ...key }), fetch);
}

/** A body as no SDK would write it. */
function raw(caller: Caller, actor: string, body: unknown): Promise<CallOutcome> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return send(signRequest(caller, `/v1/demo/${actor}`, utf8(text)), fetch);
}

async function opened(): Promise<{ actor: string; ada: Caller }> {
  const actor = freshAccount();
  const ada = party(gate, actor);
  expect(codeOf(await call(ada, actor, "open", { owner: "Ada" }))).toBe("200");
  return { actor, ada };
}

describe("a batch", () => {
  it("runs its calls in order, with references to earlier results", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const emptied = { message: "withdraw", args: { amount: resultOf(1, "balance") } };
    expect(await batch(ada, actor, [OPEN, deposit(5), emptied, { message: "close" }])).toEqual({
      status: 200,
      result: [{ balance: 0 }, { balance: 5 }, { balance: 0 }, { balance: 0 }],
    });
    expect(await call(ada, actor, "balance")).toMatchObject({
      problem: { code: "out_of_order", enabled: [] },
    });
  });

  it("is signed once, recorded once, and logged with its messages", async () => {
    const { actor, ada } = await opened();
    const request = signBatch(ada, { tenant: "demo", actor, calls: [deposit(1), BALANCE] });
    const { url, ...init } = request;
    const response = await fetch(url, init);
    expect(response.status).toBe(200);
    expect(codeOf(await send(request, fetch))).toBe("replayed");
    const id = response.headers.get("request-id");
    const record = gate.lines.map((line) => JSON.parse(line)).find((line) => line.request_id === id);
    expect(record).toMatchObject({ method: "POST", actor: `demo/${actor}`, message: "deposit,balance" });
  });

  it("with the same idempotency key takes effect once; another batch, or a call, is a mismatch", async () => {
    const { actor, ada } = await opened();
    const first = await batch(ada, actor, [deposit(5), BALANCE], "rent");
    expect(await batch(ada, actor, [deposit(5), BALANCE], "rent")).toEqual(first);
    expect(codeOf(await batch(ada, actor, [deposit(6), BALANCE], "rent"))).toBe("idempotency_mismatch");
    expect(codeOf(await call(ada, actor, "deposit", { amount: 5 }, { idempotencyKey: "rent" }))).toBe(
      "idempotency_mismatch",
    );
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 5 } });
  });

  it("survives a restart as it was answered", async () => {
    const { actor, ada } = await opened();
    const before = await batch(ada, actor, [deposit(5), withdraw(2)], "k");
    const directory = gate.directory;
    await gate.server.stop(0);
    gate = await startGate(directory);
    const again = { ...ada, url: gate.server.url };
    expect(await batch(again, actor, [deposit(5), withdraw(2)], "k")).toEqual(before);
    expect(await call(again, actor, "balance")).toMatchObject({ result: { balance: 3 } });
  });
});

describe("a batch is refused whole", () => {
  it("where a handler refuses one of its calls", async () => {
    const { actor, ada } = await opened();
    const refused = await batch(ada, actor, [deposit(5), BALANCE, withdraw(6)]);
    expect(refused).toMatchObject({
      status: 422,
      problem: { code: "handler_error", handler_code: "insufficient_funds", call: 2 },
    });
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 0 } });
  });

  it("where one is out of order, with what was enabled there", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    expect(await batch(ada, actor, [OPEN, deposit(1), OPEN])).toMatchObject({
      status: 409,
      problem: { code: "out_of_order", call: 2, enabled: ["balance", "close", "deposit", "withdraw"] },
    });
    expect(await batch(ada, actor, [deposit(1)])).toMatchObject({ problem: { call: 0, enabled: ["open"] } });
    const twice = { ...ada, token: narrow(ada.token, "protocol = open ; deposit{0,2}") };
    expect(await batch(twice, actor, [OPEN, deposit(1), deposit(1), deposit(1)])).toMatchObject({
      problem: { code: "out_of_order", call: 3, enabled: [], caveat: { index: 4 } },
    });
    expect(codeOf(await batch(twice, actor, [OPEN, deposit(1), deposit(1)]))).toBe("200");
    expect(codeOf(await batch(twice, actor, [deposit(1)]))).toBe("out_of_order");
  });

  it("where a caveat forbids one of them", async () => {
    const { actor, ada } = await opened();
    const some = { ...ada, token: narrow(ada.token, "message in deposit,balance") };
    expect(await batch(some, actor, [deposit(1), withdraw(1)])).toMatchObject({
      status: 403,
      problem: { code: "caveat_denied", call: 1, caveat: { index: 4 } },
    });
    const stranger = { ...ada, signer: newSigner() };
    expect(await batch(stranger, actor, [BALANCE])).toMatchObject({
      problem: { code: "caveat_denied", call: 0, caveat: { index: 2 } },
    });
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 0 } });
  });

  it("where arguments are of the wrong type, before anything runs or once they are resolved", async () => {
    const { actor, ada } = await opened();
    const wrong = { message: "deposit", args: { amount: "five" } };
    expect(await batch(ada, actor, [withdraw(9), wrong])).toMatchObject({
      status: 422,
      problem: { code: "schema_violation", call: 1, path: "/amount" },
    });
    const resolved = { message: "deposit", args: { amount: resultOf(0, "balance") } };
    expect(await batch(ada, actor, [BALANCE, resolved])).toMatchObject({
      status: 422,
      problem: { code: "schema_violation", call: 1, path: "/amount" },
    });
    const missing = { message: "deposit", args: { amount: resultOf(0, "cents") } };
    expect(await batch(ada, actor, [deposit(1), missing])).toMatchObject({
      status: 422,
      problem: { code: "schema_violation", call: 1, path: "/amount" },
    });
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: 0 } });
  });

  it("where a message does not exist", async () => {
    const { actor, ada } = await opened();
    expect(await batch(ada, actor, [BALANCE, { message: "steal" }])).toMatchObject({
      status: 404,
      problem: { code: "no_such_message", call: 1 },
    });
  });

  it.each<[string, unknown, string, number | undefined]>([
    ["no JSON", "[", "malformed_request", undefined],
    ["an object", { message: "balance" }, "malformed_request", undefined],
    ["nothing", [], "malformed_request", undefined],
    ["too much", Array.from({ length: BATCH_CALLS_MAX + 1 }, () => BALANCE), "too_large", undefined],
    ["a stranger", [{ message: "balance", arguments: {} }], "malformed_request", 0],
    [
      "a forward reference",
      [BALANCE, { message: "deposit", args: { amount: { $ref: "$1.balance" } } }],
      "malformed_request",
      1,
    ],
    ["a reserved name", [{ message: "deposit", args: { amount: 1, $x: 1 } }], "malformed_request", 0],
  ])("where its body is %s", async (_, body, code, at) => {
    const { actor, ada } = await opened();
    const outcome = await raw(ada, actor, body);
    expect(outcome).toMatchObject({ problem: { code } });
    expect("problem" in outcome && outcome.problem.call).toBe(at);
  });
});

describe("a single call", () => {
  it("has no references: what looks like one is an argument", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const outcome = await call(ada, actor, "open", { owner: { $ref: "$0" } });
    expect(outcome).toMatchObject({ problem: { code: "schema_violation", path: "/owner" } });
    expect("problem" in outcome && "call" in outcome.problem).toBe(false);
    expect(codeOf(await call(ada, actor, "open", { owner: "$0.balance" }))).toBe("200");
  });
});

describe("law: a batch is the same as its calls one by one, or nothing", () => {
  it("holds end to end", async () => {
    const anyCall = fc.oneof(
      { arbitrary: fc.integer({ min: 1, max: 9 }).map(deposit), weight: 4 },
      { arbitrary: fc.integer({ min: 1, max: 9 }).map(withdraw), weight: 4 },
      { arbitrary: fc.constant(BALANCE), weight: 2 },
      { arbitrary: fc.constantFrom(OPEN, { message: "close" }), weight: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.nat(12),
        fc.array(anyCall, { minLength: 1, maxLength: 6 }),
        async (funds, calls) => {
          const [whole, single] = [await opened(), await opened()];
          if (funds > 0) {
            await batch(whole.ada, whole.actor, [deposit(funds)]);
            await batch(single.ada, single.actor, [deposit(funds)]);
          }
          const outcome = await batch(whole.ada, whole.actor, calls);
          const results: Json[] = [];
          let failed = false;
          for (const { message, args } of calls) {
            const one = await call(single.ada, single.actor, message, args as Json);
            failed ||= "problem" in one;
            if ("problem" in one) break;
            results.push(one.result);
          }
          if (failed) {
            expect("problem" in outcome).toBe(true);
            expect(await call(whole.ada, whole.actor, "balance")).toMatchObject({
              result: { balance: funds },
            });
          } else {
            expect(outcome).toEqual({ status: 200, result: results });
            const [a, b] = [
              await call(whole.ada, whole.actor, "balance"),
              await call(single.ada, single.actor, "balance"),
            ];
            expect(codeOf(a)).toBe(codeOf(b));
            if ("result" in a) expect(a).toEqual(b);
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});
