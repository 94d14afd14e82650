/** A caller whose clock is wrong is given the gate's time, and is then a caller like any other. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { call as callCommand } from "../../src/cli/call.ts";
import type { Problem } from "../../src/errors.ts";
import { type Caller, type Fetch, type SignedRequest, send, signDescribe } from "../../src/sdk/client.ts";
import { Challenges } from "../../src/signature/challenge.ts";
import { newHolder } from "../../src/signature/holder.ts";
import { testEnvironment } from "../support/environment.ts";
import {
  call,
  codeOf,
  freshAccount,
  inOneHour,
  MASTER,
  mintToken,
  party,
  random,
  signed,
  startGate,
  type TestGate,
} from "../support/gate.ts";
import { exchange, wire } from "../support/raw.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let gate: TestGate;
/** A second node of the same store. */
let other: TestGate;
beforeAll(async () => {
  gate = await startGate();
  other = await startGate(gate.directory);
});
afterAll(async () => {
  await other.server.stop(0);
  await gate.end();
});

function lost(actor: string, ahead_ms: number): Caller {
  return { ...party(gate, actor), now_ms: () => Date.now() + ahead_ms };
}

/** As it stands, once. */
async function once(
  request: SignedRequest,
  url = gate.server.url,
): Promise<{ code: string; challenge?: string }> {
  const { status, body } = await exchange(url, wire(request));
  const { code, challenge } = JSON.parse(body) as Partial<Problem>;
  return { code: status === 200 ? "200" : String(code), ...(challenge !== undefined && { challenge }) };
}

/** Signed again with that challenge. */
const answering = (request: SignedRequest, challenge: string): SignedRequest => ({
  ...request,
  headers: request.challenged(challenge),
});

describe("the SDK's client", () => {
  it.each([-30 * HOUR_MS, -3 * HOUR_MS, -2 * MINUTE_MS, 2 * MINUTE_MS, 3 * HOUR_MS, 30 * HOUR_MS])(
    "whose clock is %d ms ahead signs again, once",
    async (ahead_ms) => {
      const actor = freshAccount();
      const ada = lost(actor, ahead_ms);
      let sent = 0;
      const counting: Fetch = (url, init) => {
        sent++;
        return fetch(url, init);
      };
      const opened = await send(signed(ada, actor, "open", { owner: "Ada" }), counting);
      expect([codeOf(opened), sent]).toEqual(["200", 2]);
      expect(codeOf(await send(signDescribe(ada, { tenant: "demo", actor }), counting))).toBe("200");
      expect(codeOf(await call(ada, actor, "close"))).toBe("200");
    },
  );

  it("whose clock is right needs no challenge", async () => {
    const actor = freshAccount();
    expect(await once(signed(party(gate, actor), actor, "open", { owner: "Ada" }))).toEqual({ code: "200" });
  });

  it("gives up when it is challenged twice", async () => {
    const actor = freshAccount();
    let sent = 0;
    const stubborn: Fetch = async () => {
      sent++;
      const challenge = new Challenges(MASTER).issue("a", 1);
      return { status: 401, json: async () => ({ code: "signature_invalid", challenge }) };
    };
    expect(codeOf(await send(signed(party(gate, actor), actor, "open"), stubborn))).toBe("signature_invalid");
    expect(sent).toBe(2);
  });
});

it("`postern call` does, too", async () => {
  const actor = freshAccount();
  const { secret, publicKey } = newHolder("ed25519", random);
  const key = join(gate.directory, "key");
  writeFileSync(key, secret);
  const token = mintToken(gate.key, [formatCaveat("actor", actor), inOneHour(), `holder = ${publicKey}`]);
  const environment = testEnvironment({
    stdin: async () => token,
    now_ms: () => Date.now() - 5 * HOUR_MS,
  });
  const values = { key, url: gate.server.url };
  const outcome = await callCommand.run(environment, values, [actor, "open", '{"owner":"Ada"}']);
  expect(outcome).toMatchObject({ json: { status: 200, result: { balance: 0 } } });
});

describe("a challenged request", () => {
  it("is taken once, at whichever node", async () => {
    const actor = freshAccount();
    const request = signed(lost(actor, 3 * HOUR_MS), actor, "open", { owner: "Ada" });
    const { code, challenge = "" } = await once(request);
    expect(code).toBe("signature_invalid");
    const answered = answering(request, challenge);
    const urls = [gate, other, gate, other].map(({ server }) => server.url);
    const codes: string[] = [];
    for (const url of urls) codes.push((await once(answered, url)).code);
    expect(codes).toEqual(["200", "replayed", "replayed", "replayed"]);
  });

  it("is taken by another node than the one that gave the challenge", async () => {
    const actor = freshAccount();
    const request = signed(lost(actor, -3 * HOUR_MS), actor, "open", { owner: "Ada" });
    const { challenge = "" } = await once(request, other.server.url);
    expect(await once(answering(request, challenge))).toEqual({ code: "200" });
  });

  it("may share its challenge with others: their nonces differ", async () => {
    const actor = freshAccount();
    const ada = lost(actor, HOUR_MS);
    const open = signed(ada, actor, "open", { owner: "Ada" });
    const { challenge = "" } = await once(open);
    expect(await once(answering(open, challenge))).toEqual({ code: "200" });
    expect(await once(answering(signed(ada, actor, "close"), challenge))).toEqual({ code: "200" });
  });

  it("is refused with a challenge that is over, to come, another key's or forged, and its own clock does not save it", async () => {
    const actor = freshAccount();
    const ada = party(gate, actor);
    const keyid = ada.signer.publicKey;
    const challenges = new Challenges(MASTER);
    const now_s = Date.now() / 1000;
    const request = signed(ada, actor, "open", { owner: "Ada" });
    const good = challenges.issue(keyid, now_s);
    const wrong = [
      challenges.issue(keyid, now_s - 120),
      challenges.issue(keyid, now_s + 60),
      challenges.issue("b2".repeat(32), now_s),
      `${good.slice(0, 5)}${good[5] === "A" ? "B" : "A"}${good.slice(6)}`,
    ];
    for (const challenge of wrong)
      expect(await once(answering(request, challenge))).toMatchObject({
        code: "signature_invalid",
        challenge: expect.any(String),
      });
    expect(await once(answering(request, good))).toEqual({ code: "200" });
  });

  it("lives no longer than others by its own times, and no challenge helps", async () => {
    const actor = freshAccount();
    const { url, headers, ...rest } = signed(party(gate, actor), actor, "open", { owner: "Ada" });
    const input = headers["signature-input"] ?? "";
    const created = Number(/created=(\d+)/.exec(input)?.[1]);
    const long = input.replace(/expires=\d+/, `expires=${created + 61}`);
    const outcome = await once({ ...rest, url, headers: { ...headers, "signature-input": long } });
    expect(outcome).toEqual({ code: "signature_invalid" });
  });
});
