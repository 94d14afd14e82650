/**
 * Several nodes on one store, as users run them: real processes and sockets, the embedded store in one directory.
 *
 * Clients behave like those behind a load balancer: they leave a node whose /readyz says so, and nothing else. The same on
 * a bucket, with faults of every kind, is `chaos.test.ts`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCaveat } from "../../src/authorize/caveats.ts";
import { HOPS_HEADER, REMAINING_HEADER } from "../../src/cluster/forward.ts";
import { type Survey, survey } from "../../src/cluster/survey.ts";
import { CODES, type Problem } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import {
  type Caller,
  type CallOutcome,
  send,
  signBatch,
  signCall,
  signDescribe,
} from "../../src/sdk/client.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey } from "../../src/token/keyring.ts";
import { codeOf, inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";
import { headHeaders } from "../support/head.ts";
import { type NodeProcess, startNodeProcess } from "../support/node-process.ts";
import { exchange, wire } from "../support/raw.ts";

const SHARDS = 16;
const ACCOUNTS = Array.from({ length: 24 }, (_, i) => `account/n${i}`);
const directory = mkdtempSync(join(tmpdir(), "postern-nodes-"));
const nodes = new Set<NodeProcess>();
let caller: Caller;

const start = async (): Promise<NodeProcess> => {
  const node = await startNodeProcess(directory, ["--lease", "1s", "--shards", String(SHARDS)]);
  nodes.add(node);
  return node;
};
const end = async (node: NodeProcess): Promise<number | null> => {
  nodes.delete(node);
  return node.end("SIGTERM");
};
const kill = async (node: NodeProcess): Promise<void> => {
  nodes.delete(node);
  await node.kill();
};

beforeAll(async () => {
  await start();
  const store = sqliteStore(directory);
  const key = activeKey(must(await readKeyring(store, "demo", MASTER)));
  await store.close();
  if (key === undefined) throw new Error("no key");
  const signer = newSigner();
  const holder = formatCaveat("holder", signer.publicKey);
  const token = mintToken(key, [formatCaveat("actor", "account/*"), inOneHour(), holder]);
  caller = { url: "", token, signer, now_ms: () => Date.now(), random };
  for (const actor of ACCOUNTS)
    expect(codeOf(await call(one(), actor, "open", { owner: "Ada" }))).toBe("200");
});
afterAll(async () => {
  await Promise.all([...nodes].map((node) => node.kill()));
  rmSync(directory, { recursive: true, force: true });
});

const one = (): NodeProcess => [...nodes][Math.floor(Math.random() * nodes.size)] as NodeProcess;

function call(node: NodeProcess, actor: string, message: string, args: Json = {}): Promise<CallOutcome> {
  return send(signCall({ ...caller, url: node.url }, { tenant: "demo", actor, message, args }), fetch);
}

async function look(): Promise<Survey> {
  const store = sqliteStore(directory);
  const found = must(await survey(store, Date.now()));
  await store.close();
  return found;
}

/** Waits until the store shows that every one of so many nodes has taken shards, and that all are led. */
async function shared(count: number): Promise<void> {
  for (;;) {
    const { nodes: found, shards } = await look();
    const busy = found.filter(({ shards: owned }) => owned > 0).length;
    if (busy === count && shards.every(({ seq }) => seq !== null)) return;
    await setTimeout(50);
  }
}

const isReady = async (node: NodeProcess): Promise<boolean> => {
  const response = await fetch(`${node.url}/readyz`).catch(() => undefined);
  await response?.arrayBuffer();
  return response?.status === 200;
};

/** Deposits of 1, all the time, through every node that says it is ready. */
function startLoad(): { readonly stop: () => Promise<{ deposits: number; failures: string[] }> } {
  const failures: string[] = [];
  let deposits = 0;
  const stopping = new AbortController();
  const { signal } = stopping;
  const ready = new Set(nodes);
  const balancer = (async () => {
    while (!signal.aborted) {
      for (const node of [...ready, ...nodes]) {
        if (await isReady(node)) ready.add(node);
        else ready.delete(node);
      }
      await setTimeout(100);
    }
  })();
  const client = async (first: number): Promise<void> => {
    for (let i = first; !signal.aborted; i++) {
      const some = [...ready];
      const node = some[i % some.length] ?? one();
      const actor = ACCOUNTS[i % ACCOUNTS.length] ?? "";
      const outcome = await call(node, actor, "deposit", { amount: 1 }).catch(String);
      if (typeof outcome === "string" || "problem" in outcome) failures.push(JSON.stringify(outcome));
      else deposits++;
    }
  };
  const clients = Array.from({ length: 6 }, (_, i) => client(i * 7));
  return {
    stop: async () => {
      stopping.abort();
      await Promise.all([...clients, balancer]);
      return { deposits, failures };
    },
  };
}

/** The node that does a call of this actor by itself: as another node would ask it. */
async function leaderOf(actor: string): Promise<NodeProcess> {
  for (const node of nodes) {
    const request = signCall({ ...caller, url: node.url }, { tenant: "demo", actor, message: "balance" });
    const headers = { ...request.headers, [HOPS_HEADER]: "1", [REMAINING_HEADER]: "5000" };
    const response = await fetch(request.url, { ...request, headers });
    await response.arrayBuffer();
    if (response.status === 200) return node;
  }
  throw new Error(`nobody leads the shard of ${actor}`);
}

async function total(): Promise<number> {
  let sum = 0;
  for (const actor of ACCOUNTS) {
    const outcome = await call(one(), actor, "balance");
    if ("problem" in outcome) throw new Error(outcome.problem.detail);
    sum += (outcome.result as { balance: number }).balance;
  }
  return sum;
}

describe("nodes on one store", () => {
  it("share the shards while calls go on, and none fails", async () => {
    const before = await total();
    const load = startLoad();
    await start();
    await start();
    await shared(3);
    const { deposits, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(deposits).toBeGreaterThan(0);
    expect(await total()).toBe(before + deposits);
  });

  it("answer for one another, the leader's problem as it is", async () => {
    for (const node of nodes) {
      for (const actor of ACCOUNTS.slice(0, 8)) {
        const outcome = await call(node, actor, "withdraw", { amount: 1e9 });
        if (!("problem" in outcome)) throw new Error("was paid out");
        const { code, status, title, handler_code, request_id } = outcome.problem;
        expect({ code, status, title, handler_code }).toEqual({
          code: "handler_error",
          status: 422,
          title: CODES.handler_error.title,
          handler_code: "insufficient_funds",
        });
        expect(request_id).toMatch(/^[0-9a-f]{16}$/);
      }
    }
  });

  it("take batches for one another, and say for one another what may be sent", async () => {
    for (const [index, node] of [...nodes].entries()) {
      const at = { ...caller, url: node.url };
      for (const actor of ACCOUNTS.slice(0, 8)) {
        const where = { tenant: "demo", actor };
        const before = await call(node, actor, "balance");
        const balance = "result" in before ? (before.result as { balance: number }).balance : Number.NaN;
        const calls = [
          { message: "deposit", args: { amount: index + 1 } },
          { message: "withdraw", args: { amount: index + 1 } },
        ];
        expect(await send(signBatch(at, { ...where, calls }), fetch)).toEqual({
          status: 200,
          result: [{ balance: balance + index + 1 }, { balance }],
        });
        const open = { message: "open", args: { owner: "Ada" } };
        expect(await send(signBatch(at, { ...where, calls: [...calls, open] }), fetch)).toMatchObject({
          status: 409,
          problem: { code: "out_of_order", call: 2 },
        });
        expect(await send(signDescribe(at, where), fetch)).toMatchObject({
          status: 200,
          result: { actor, exists: true, enabled: ["balance", "close", "deposit", "withdraw"] },
        });
        const head = { method: "HEAD", headers: headHeaders(at, actor) };
        const response = await fetch(`${node.url}/v1/demo/${actor}`, head);
        expect([response.status, await response.text()]).toEqual([200, ""]);
      }
    }
  });

  it("take a signed request once, whichever nodes its copies reach", async () => {
    const { url: signedFor } = one();
    const request = signCall(
      { ...caller, url: signedFor },
      { tenant: "demo", actor: ACCOUNTS[0] ?? "", message: "balance" },
    );
    const codes: string[] = [];
    for (const { url } of [...nodes, ...nodes]) {
      const { status, body } = await exchange(url, wire(request));
      codes.push(status === 200 ? "200" : (JSON.parse(body) as Problem).code);
    }
    expect(codes.toSorted()).toEqual(["200", ...Array.from({ length: codes.length - 1 }, () => "replayed")]);
  });

  it("pass a call on once: the wrong node names the leader, and only to nodes", async () => {
    const actor = ACCOUNTS[0] ?? "";
    const answers = await Promise.all(
      [...nodes].map(async ({ url }) => {
        const request = signCall({ ...caller, url }, { tenant: "demo", actor, message: "balance" });
        const headers = { ...request.headers, [HOPS_HEADER]: "1", "postern-remaining-ms": "5000" };
        const response = await fetch(request.url, { ...request, headers });
        return { url, status: response.status, body: (await response.json()) as Problem };
      }),
    );
    const leader = answers.find(({ status }) => status === 200)?.url;
    expect(leader).toBeDefined();
    const others = answers.filter(({ url }) => url !== leader);
    expect(others.map(({ status, body }) => [status, body.code, body.leader?.url])).toEqual(
      others.map(() => [421, "not_leader", leader]),
    );
    const request = signCall({ ...caller, url: one().url }, { tenant: "demo", actor, message: "balance" });
    const headers = { ...request.headers, [HOPS_HEADER]: "2", "postern-remaining-ms": "5000" };
    expect((await fetch(request.url, { ...request, headers })).status).toBe(400);
  });

  it("are replaced one by one while calls go on, a rolling restart, and none fails", async () => {
    const before = await total();
    const load = startLoad();
    for (const node of Array.from(nodes)) {
      expect(await end(node)).toBe(0);
      await start();
      await shared(3);
    }
    const { deposits, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(deposits).toBeGreaterThan(0);
    expect(await total()).toBe(before + deposits);
  });

  it("go one by one while calls go on, and none fails", async () => {
    const before = await total();
    const load = startLoad();
    for (const node of [...nodes].slice(0, 2)) expect(await end(node)).toBe(0);
    await shared(1);
    const { deposits, failures } = await load.stop();
    expect(failures).toEqual([]);
    expect(await total()).toBe(before + deposits);
  });

  it("take over from one that was killed", async () => {
    const [victim] = nodes;
    await start();
    await shared(2);
    const before = await total();
    if (victim !== undefined) await kill(victim);
    await shared(1);
    expect(await total()).toBe(before);
    const { nodes: left } = await look();
    expect(left.map(({ url }) => url)).toEqual([...nodes].map(({ url }) => url));
  });

  it("answer what they have passed on to a node that falls silent, once its lease is over", async () => {
    await start();
    await shared(2);
    const [actor = ""] = ACCOUNTS;
    const leader = await leaderOf(actor);
    const other = [...nodes].find((node) => node !== leader);
    if (other === undefined) throw new Error("there is one node only");
    leader.signal("SIGSTOP");
    // Its caller would wait for minutes.
    expect(codeOf(await call(other, actor, "balance"))).toBe("outcome_unknown");
    expect(codeOf(await call(other, actor, "balance"))).toBe("200");
    await kill(leader);
  });
});
