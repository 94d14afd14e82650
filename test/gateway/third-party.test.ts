/** Third parties from outside: a gate, a discharge service and clients, each on its own sockets. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Json } from "../../src/json.ts";
import { type Caller, type CallOutcome, signCall } from "../../src/sdk/client.ts";
import { delegateToken } from "../../src/sdk/delegate.ts";
import type { Decision } from "../../src/sdk/discharge.ts";
import type { Discharges } from "../../src/sdk/discharges.ts";
import { many, msg, or, protocol, seq } from "../../src/sdk/protocol.ts";
import { addThirdParty, prepareThirdParty } from "../../src/sdk/third-party.ts";
import { startService, type TestService } from "../support/discharge-service.ts";
import {
  call,
  codeOf,
  freshAccount,
  must,
  narrow,
  newSigner,
  party,
  random,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { refused } from "../token/outcome.ts";

type Balance = { balance: number };
const account = protocol(
  {
    open: msg<{ owner: string }, Balance>(),
    deposit: msg<{ amount: number }, Balance>(),
    withdraw: msg<{ amount: number }, Balance>(),
    balance: msg<void, Balance>(),
    close: msg<void, Balance>(),
  },
  seq("open", many(or("deposit", "withdraw", "balance")), "close"),
);

let gate: TestGate;
let service: TestService;
/** What a person has said of the request that waits under this id. */
const answers = new Map<string, Decision>();
/** How far the service's clock is ahead of the gate's. */
let ahead_ms = 0;

beforeAll(async () => {
  gate = await startGate();
  service = await startService(
    {
      check(condition): Decision {
        if (condition === "never") return { decision: "deny", reason: "not with us" };
        if (condition.startsWith("ask ")) return { decision: "wait", id: condition };
        if (condition.startsWith("{")) return JSON.parse(condition) as Decision;
        if (condition === "nested")
          return {
            decision: "grant",
            caveats: [must(prepareThirdParty(service.party("inner"), random))],
          };
        return { decision: "grant" };
      },
      poll: (id): Decision => answers.get(id) ?? { decision: "wait", id },
    },
    () => Date.now() + ahead_ms,
  );
});

afterAll(async () => {
  await service.end();
  await gate.end();
});

/** A caller whose token asks the service for this. */
function asking(actor: string, condition: string, ...more: readonly string[]): Caller {
  const caller = party(gate, actor);
  const token = must(addThirdParty(caller.token, service.party(condition), random));
  return { ...caller, token: more.length === 0 ? token : narrow(token, ...more) };
}

async function send(
  discharges: Discharges,
  caller: Caller,
  actor: string,
  message: string,
  args: Json = {},
): Promise<CallOutcome> {
  return must(
    await discharges.send(caller, (own) => signCall(own, { tenant: "demo", actor, message, args })),
  );
}

/** A discharge that the service grants with exactly this. */
const granting = (decision: Omit<Extract<Decision, { decision: "grant" }>, "decision">): string =>
  JSON.stringify({ decision: "grant", ...decision });

test("without its discharge a call is refused with where to ask; with it, it takes effect", async () => {
  const actor = freshAccount();
  const caller = asking(actor, "please");
  const bare = await call(caller, actor, "open", { owner: "Ada" });
  expect(bare).toMatchObject({
    status: 401,
    problem: {
      code: "discharge_missing",
      token: 0,
      caveat: { index: 4, text: `third party ${service.location}` },
      discharges: [{ location: service.location, ticket: expect.stringMatching(/^[\w-]+$/) }],
    },
  });
  const discharges = service.client();
  expect(await send(discharges, caller, actor, "open", { owner: "Ada" })).toMatchObject({ status: 200 });
  expect(await send(discharges, caller, actor, "deposit", { amount: 5 })).toMatchObject({
    result: { balance: 5 },
  });
});

test("a denial reaches the caller with its reason, and the gate is not bothered", async () => {
  const actor = freshAccount();
  const before = gate.lines.length;
  const caller = asking(actor, "never");
  const answer = await service.client().send(caller, () => {
    throw new Error("nothing may be signed");
  });
  expect(refused(answer)).toMatchObject({ code: "discharge_denied", detail: "not with us" });
  expect(gate.lines).toHaveLength(before);
});

test("a decision that takes its time is waited for", async () => {
  const actor = freshAccount();
  const caller = asking(actor, "ask Rosa");
  let pauses = 0;
  const discharges = service.client({
    pause: async () => {
      if (++pauses === 3) answers.set("ask Rosa", { decision: "grant" });
    },
  });
  expect(codeOf(await send(discharges, caller, actor, "open", { owner: "Ada" }))).toBe("200");
  expect(pauses).toBe(3);
});

test("what the discharge says is asked, and a refusal names it", async () => {
  const actor = freshAccount();
  const discharges = service.client();
  const caller = asking(actor, granting({ caveats: ["when = message != 'withdraw' || args.amount <= 10"] }));
  await send(discharges, caller, actor, "open", { owner: "Ada" });
  await send(discharges, caller, actor, "deposit", { amount: 50 });
  expect(codeOf(await send(discharges, caller, actor, "withdraw", { amount: 10 }))).toBe("200");
  expect(await send(discharges, caller, actor, "withdraw", { amount: 11 })).toMatchObject({
    status: 403,
    problem: { code: "caveat_denied", token: 1, caveat: { index: 1 } },
  });
});

test("a discharge's uses are counted where its calls take effect", async () => {
  const actor = freshAccount();
  const discharges = service.client();
  const caller = asking(actor, granting({ caveats: ["uses <= 2"] }));
  await send(discharges, caller, actor, "open", { owner: "Ada" });
  expect(codeOf(await send(discharges, caller, actor, "deposit", { amount: 1 }))).toBe("200");
  expect(await send(discharges, caller, actor, "deposit", { amount: 1 })).toMatchObject({
    problem: { code: "caveat_denied", token: 1, caveat: { index: 1, text: "uses <= 2" } },
  });
  // Narrowing the token or asking with it again wins nothing: the discharge is the same.
  const narrower = { ...caller, token: narrow(caller.token, "message in deposit") };
  expect(codeOf(await send(discharges, narrower, actor, "deposit", { amount: 1 }))).toBe("caveat_denied");
});

test("a discharge that imposes an order is refused, and so is one with an unknown caveat", async () => {
  const actor = freshAccount();
  for (const caveat of ["protocol = open", "colour = red"]) {
    const caller = asking(actor, granting({ caveats: [caveat] }));
    expect(await send(service.client(), caller, actor, "open", { owner: "Ada" })).toMatchObject({
      status: 403,
      problem: { code: "unknown_caveat", token: 1, caveat: { index: 1, text: caveat } },
    });
  }
});

test("a discharge is kept while it lasts, and fetched anew where the gate holds it for expired and the client did not", async () => {
  const actor = freshAccount();
  const caller = asking(actor, granting({ lifetime_ms: 60_000 }));
  let slow_ms = 0;
  const discharges = service.client({ now_ms: () => Date.now() - slow_ms });
  await send(discharges, caller, actor, "open", { owner: "Ada" });
  const asked = service.requests();
  expect(codeOf(await send(discharges, caller, actor, "deposit", { amount: 1 }))).toBe("200");
  expect(service.requests()).toBe(asked);

  // One that the client holds for good, and the gate for expired.
  const other = freshAccount();
  const behind = asking(other, granting({ lifetime_ms: 60_000 }));
  ahead_ms = -90_000;
  slow_ms = 90_000;
  await discharges.complete(behind.token);
  ahead_ms = 0;
  const before = service.requests();
  expect(codeOf(await send(discharges, behind, other, "open", { owner: "Ada" }))).toBe("200");
  expect(service.requests()).toBe(before + 1);
});

test("an expired discharge is refused before a signature is checked, by its index", async () => {
  const actor = freshAccount();
  const caller = asking(actor, granting({ lifetime_ms: -1000 }));
  const token = must(await service.client().complete(caller.token));
  // Signed by nobody: it does not come that far.
  const forged = { ...caller, token, signer: { ...newSigner(), sign: () => new Uint8Array(64) } };
  expect(await call(forged, actor, "open", { owner: "Ada" })).toMatchObject({
    status: 401,
    problem: { code: "token_expired", token: 1, caveat: { index: 0 } },
  });
});

test("a thief of a discharge gets nothing: it is bound to the token that it was sent with", async () => {
  const actor = freshAccount();
  const discharges = service.client();
  const ada = asking(actor, "please");
  const token = must(await discharges.complete(ada.token));
  const stolen = token.split(",")[1] ?? "";
  // Her own token, with a caveat for the same ticket taken from a copy, or a narrower one: other roots.
  const thief = asking(actor, "please");
  const narrower = { ...ada, token: narrow(ada.token, "message in open") };
  for (const other of [thief, narrower]) {
    const with_stolen = { ...other, token: `${other.token},${stolen}` };
    expect(codeOf(await call(with_stolen, actor, "open", { owner: "Mallory" }))).toMatch(
      /^(token_invalid|discharge_missing)$/,
    );
  }
  // The whole of it, signed by another key.
  const whole = { ...ada, token, signer: newSigner() };
  expect(codeOf(await call(whole, actor, "open", { owner: "Mallory" }))).toBe("caveat_denied");
  expect(codeOf(await call({ ...ada, token }, actor, "open", { owner: "Ada" }))).toBe("200");
});

test("superfluous and repeated discharges are refused by their index", async () => {
  const actor = freshAccount();
  const ada = asking(actor, "please");
  const token = must(await service.client().complete(ada.token));
  const twice = `${token},${token.split(",")[1]}`;
  expect(await call({ ...ada, token: twice }, actor, "open", { owner: "Ada" })).toMatchObject({
    status: 401,
    problem: { code: "token_invalid", token: 2 },
  });
});

test("nested discharges, a delegation after the caveat, and references of typed protocols just work", async () => {
  const actor = freshAccount();
  const ada = party(gate, actor);
  const bob = newSigner();
  const caveats = [must(prepareThirdParty(service.party("nested"), random))];
  const token = must(delegateToken(ada.token, bob.publicKey, ada.signer, { caveats }));
  const caller = { ...ada, token, signer: bob };
  const discharges = service.client();
  const opened = await account
    .connect({ ...caller, tenant: "demo", actor, fetch, discharges })
    .open({ owner: "Bob" });
  const { results } = await account.batch(opened.next, (start) =>
    start.deposit({ amount: 2 }).next.deposit({ amount: 3 }),
  );
  expect(results).toEqual([{ balance: 2 }, { balance: 5 }]);

  const denied = { ...asking(actor, "never"), tenant: "demo", actor, fetch, discharges };
  await expect(account.connect(denied, "open").deposit({ amount: 1 })).rejects.toMatchObject({
    name: "CallRefusedError",
    problem: { code: "discharge_denied", detail: "not with us" },
  });
});
