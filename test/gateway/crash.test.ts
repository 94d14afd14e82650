/**
 * Law 5 against SIGKILL: real processes, real sockets, a real store, concurrent clients that retry.
 *
 * Every deposit has its own amount, so the balances that were answered tell the whole history: sorted, each must
 * exceed the one before by exactly its own amount. A lost call leaves a gap, a repeated one an overlap.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { CODES } from "../../src/errors.ts";
import { type Caller, type CallInput, type CallOutcome, send, signCall } from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import {
  ACCOUNT_PROTOCOL,
  inOneHour,
  MASTER,
  mintToken,
  must,
  narrow,
  newSigner,
  random,
} from "../support/gate.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";

const KILLS = 12;
const ACCOUNTS = ["account/a", "account/b", "account/c"];
const CLIENTS_PER_ACCOUNT = 3;

const directory = mkdtempSync(join(tmpdir(), "postern-crash-"));
let node: NodeProcess;
let unexpected: string | undefined;

beforeAll(async () => {
  node = await startNodeProcess(directory);
});
afterAll(async () => {
  await node.kill();
  rmSync(directory, { recursive: true, force: true });
});

async function callerOf(actor: string): Promise<Caller> {
  const store = sqliteStore(directory);
  const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
  await store.close();
  if (key === undefined) throw new Error("no key");
  const signer = newSigner();
  const holder = formatCaveat("holder", signer.publicKey);
  const protocol = formatCaveat("protocol", ACCOUNT_PROTOCOL);
  const token = mintToken(key, [formatCaveat("actor", actor), inOneHour(), holder, protocol]);
  return { url: "", token, signer, now_ms: () => Date.now(), random };
}

/** Asks again, with the same idempotency key, until there is an answer that no retry can change. */
async function insist(caller: Caller, call: CallInput): Promise<CallOutcome> {
  for (;;) {
    const outcome = await send(signCall({ ...caller, url: node.url }, call), fetch).catch(() => undefined);
    if (outcome !== undefined && !("problem" in outcome && CODES[outcome.problem.code].retry)) return outcome;
    await setTimeout(5);
  }
}

interface Deposit {
  readonly amount: number;
  readonly balance: number;
}

/** Deposits that were answered, of all clients. */
let answered = 0;

async function depositUntil(
  stopped: () => boolean,
  caller: Caller,
  actor: string,
  first: number,
): Promise<Deposit[]> {
  const done: Deposit[] = [];
  for (let count = 0; !stopped(); count++) {
    const amount = first + count * 1000;
    const call = {
      tenant: "demo",
      actor,
      message: "deposit",
      args: { amount },
      idempotencyKey: `${first}-${count}`,
    };
    const outcome = await insist(caller, call);
    if (!("result" in outcome)) {
      unexpected ??= `${outcome.problem.code}: ${outcome.problem.detail}`;
      return done;
    }
    answered++;
    done.push({ amount, balance: (outcome.result as { balance: number }).balance });
  }
  return done;
}

it(`${KILLS} × kill -9: no acknowledged call is lost, none happens twice, no order is violated`, async () => {
  let stopped = false;
  const deposits = new Map<string, Promise<Deposit[]>[]>();
  const owners = new Map<string, Caller>();
  for (const actor of ACCOUNTS) {
    const owner = await callerOf(actor);
    owners.set(actor, owner);
    const open = { tenant: "demo", actor, message: "open", args: { owner: actor }, idempotencyKey: "open" };
    expect(await insist(owner, open)).toMatchObject({ status: 200 });
    const clients = Array.from({ length: CLIENTS_PER_ACCOUNT }, (_, client) =>
      depositUntil(() => stopped, owner, actor, client + 1),
    );
    deposits.set(actor, clients);
  }

  for (let kill = 0; kill < KILLS; kill++) {
    for (const before = answered; answered <= before + ACCOUNTS.length; ) await setTimeout(5);
    await setTimeout(20 + Math.random() * 300);
    await node.kill();
    node = await startNodeProcess(directory);
  }
  await setTimeout(200);
  stopped = true;

  for (const [actor, clients] of deposits) {
    const done = (await Promise.all(clients)).flat().toSorted((a, b) => a.balance - b.balance);
    expect(unexpected).toBeUndefined();
    expect(done.length).toBeGreaterThan(KILLS);
    let balance = 0;
    for (const deposit of done) {
      balance += deposit.amount;
      expect(deposit.balance).toBe(balance);
    }
    const owner = owners.get(actor) as Caller;
    const now = await insist(owner, { tenant: "demo", actor, message: "balance" });
    expect(now).toMatchObject({ result: { balance } });
    const again = await insist(owner, { tenant: "demo", actor, message: "open", args: { owner: "again" } });
    expect(again).toMatchObject({ problem: { code: "out_of_order" } });
  }
}, 120_000);

it("a signed request that took effect before the crash is not taken again after it", async () => {
  const actor = "account/replayed";
  const caller = { ...(await callerOf(actor)), url: node.url };
  const request = signCall(caller, { tenant: "demo", actor, message: "open", args: { owner: "Ada" } });
  expect(await send(request, fetch)).toMatchObject({ status: 200 });
  const { host: signedFor, port } = new URL(node.url);
  await node.kill();
  node = await startNodeProcess(directory, ["--port", port]);
  expect(new URL(node.url).host).toBe(signedFor);
  expect(await send(request, fetch)).toMatchObject({ problem: { code: "replayed" } });
});

it("monitors of attenuated tokens survive a crash", async () => {
  const actor = "account/monitored";
  const caller = await callerOf(actor);
  await insist(caller, { tenant: "demo", actor, message: "open", args: { owner: "Ada" } });
  const once = { ...caller, token: narrow(caller.token, "protocol = deposit") };
  const deposit = { tenant: "demo", actor, message: "deposit", args: { amount: 1 } };
  expect(await insist(once, deposit)).toMatchObject({ status: 200 });
  await node.kill();
  node = await startNodeProcess(directory);
  expect(await insist(once, deposit)).toMatchObject({ problem: { code: "out_of_order", enabled: [] } });
  expect(await insist(caller, deposit)).toMatchObject({ status: 200 });
});
