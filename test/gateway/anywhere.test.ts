/**
 * Messages that need no owner: any node answers them, and no log grows. Two nodes and one shard, so one of the nodes
 * owns nothing; its lines tell what it passed on.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { logPrefix } from "../../src/cluster/format.ts";
import { assign } from "../../src/cluster/placement.ts";
import { survey } from "../../src/cluster/survey.ts";
import {
  type Caller,
  type CallInput,
  type SignedRequest,
  send,
  signBatch,
  signCall,
} from "../../src/sdk/client.ts";
import { type Server, startServer } from "../../src/server.ts";
import type { Store } from "../../src/store/contract.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { readKeyring } from "../../src/tenants.ts";
import { activeKey, type RootKey } from "../../src/token/keyring.ts";
import { codeOf, inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";
import { publishTenant, type Shape } from "../support/tenant.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-anywhere-"));
let store: Store;
let owner: Node;
let other: Node;

interface Node {
  readonly server: Server;
  readonly lines: string[];
}

async function startNode(): Promise<Node> {
  const lines: string[] = [];
  const options = {
    master: MASTER,
    host: "127.0.0.1",
    port: 0,
    authorities: [],
    shards: 1,
    leaseTtl_ms: 1000,
  };
  const write = (line: string) => lines.push(line);
  return { server: must(await startServer({ ...options, store: sqliteStore(directory), write })), lines };
}

const message = { args: {}, result: {}, reads: true };
const policy = {
  state: "none",
  messages: { ping: message, begin: message, finish: message },
  protocol: "ping* & (begin ; finish)*",
  behaviour: "ping* & (begin ; finish)*",
} as const;
const STATELESS: Shape = { output: '{"reply":1}', policy };
const STATEFUL: Shape = {
  output: '{"reply":1}',
  policy: {
    messages: { ...policy.messages, begin: { ...message, reads: false } },
    protocol: policy.protocol,
    behaviour: policy.behaviour,
  },
};

const batchAt = (caller: Caller, node: Node, tenant: string, names: readonly string[]) =>
  send(
    signBatch(
      { ...caller, url: node.server.url },
      { tenant, actor: "thing/1", calls: names.map((name) => ({ message: name })) },
    ),
    fetch,
  );

/** Handlers that do more than their policy says. */
const LIARS = {
  keeper: '{"reply":1,"state":null}',
  changeling: '{"reply":1,"become":"quiet"}',
  talker: '{"reply":1,"sends":[{"to":{"$cap":0},"message":"go"}]}',
};
/** What only reads may send nothing anyway. */
const effective = { ping: { ...message, reads: false }, begin: message, finish: message };

beforeAll(async () => {
  store = sqliteStore(directory);
  await publishTenant(store, "stateless", STATELESS);
  await publishTenant(store, "stateful", STATEFUL);
  for (const [tenant, output] of Object.entries(LIARS))
    await publishTenant(store, tenant, { output, policy: { ...policy, messages: effective } });
  const both = [await startNode(), await startNode()];
  const url = await settledOwner();
  owner = both.find(({ server }) => server.url === url) as Node;
  other = both.find(({ server }) => server.url !== url) as Node;
  // A node that has just come is met a moment later.
  const caller = await callerOf("stateful");
  while ((await post(sign(caller, other, "stateful", "ping"))) !== "200") await setTimeout(20);
});
afterAll(async () => {
  await other.server.stop(0);
  await owner.server.stop(0);
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Where the shard is led, once it will not move any more. */
async function settledOwner(): Promise<string> {
  for (;;) {
    const { nodes, shards } = must(await survey(store, Date.now()));
    const sessions = nodes.map(({ session }) => session);
    const [target] = assign(1, sessions);
    const led = shards[0]?.owner === target && shards[0]?.seq !== null;
    if (nodes.length === 2 && led) return nodes.find(({ session }) => session === target)?.url ?? "";
    await setTimeout(20);
  }
}

async function callerOf(tenant: string, ...caveats: readonly string[]): Promise<Caller> {
  const key = activeKey(must(await readKeyring(store, tenant, MASTER))) as RootKey;
  const token = mintToken(key, ["actor = thing/*", inOneHour(), ...caveats], tenant);
  return { url: owner.server.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
}

const sign = (caller: Caller, node: Node, tenant: string, name: string, more: Partial<CallInput> = {}) =>
  signCall({ ...caller, url: node.server.url }, { tenant, actor: "thing/1", message: name, ...more });
const post = async (request: SignedRequest): Promise<string> => codeOf(await send(request, fetch));

/** Slots of the one log, seals among them. */
const slots = async (): Promise<number> => must(await store.list(logPrefix(0))).length;
/** The requests that the node has passed on or taken over. */
const hops = ({ lines }: Node): number => lines.filter((line) => line.includes('"hop":')).length;

describe("a message that is always admitted and moves nothing, of an actor without state", () => {
  it("is answered by whoever is asked, and nothing is written", async () => {
    const caller = await callerOf("stateless", "protocol = (ping | finish)*");
    const before = await slots();
    const hopsBefore = [hops(owner), hops(other)];
    for (const node of [owner, other]) {
      for (let i = 0; i < 3; i++) {
        const outcome = await send(sign(caller, node, "stateless", "ping"), fetch);
        expect(outcome).toEqual({ status: 200, result: 1 });
      }
    }
    expect([await slots(), hops(owner), hops(other)]).toEqual([before, ...hopsBefore]);
  });

  it("goes to the owner where its calls are counted: two nodes together give out what the caveat says", async () => {
    const caller = await callerOf("stateless", "uses <= 3");
    const before = await slots();
    const codes: string[] = [];
    for (const node of [owner, other, owner, other, owner])
      codes.push(await post(sign(caller, node, "stateless", "ping")));
    expect(codes).toEqual(["200", "200", "200", "caveat_denied", "caveat_denied"]);
    expect(await slots()).toBe(before + 3);
  });

  it("is also answered where it comes in a batch of such messages", async () => {
    const caller = await callerOf("stateless");
    const [before, passed] = [await slots(), hops(other)];
    expect(await batchAt(caller, other, "stateless", ["ping", "ping"])).toEqual({
      status: 200,
      result: [1, 1],
    });
    expect([await slots(), hops(other)]).toEqual([before, passed]);
    for (const tenant of Object.keys(LIARS))
      expect(await batchAt(await callerOf(tenant), other, tenant, ["ping"])).toMatchObject({
        problem: { code: "handler_invalid", call: 0 },
      });
  });

  it("does not run when its caller's time is over, as where the body came late", async () => {
    const request = sign(await callerOf("stateless"), other, "stateless", "ping", { timeout_ms: 1 });
    const late = async function* (): AsyncGenerator<Uint8Array> {
      await setTimeout(50);
      yield request.body;
    };
    const { url, method, headers } = request;
    const response = await fetch(url, { method, headers, body: late(), duplex: "half" });
    expect([response.status, await response.json()]).toMatchObject([504, { code: "deadline" }]);
  });

  it("is taken once by each node, and that is no harm", async () => {
    const caller = await callerOf("stateless");
    const request = sign(caller, other, "stateless", "ping");
    expect([await post(request), await post(request)]).toEqual(["200", "replayed"]);
  });

  it.each(Object.keys(LIARS))(
    "is not believed where the handler returns more than a reply: %s",
    async (tenant) => {
      const caller = await callerOf(tenant);
      const before = await slots();
      for (const name of ["ping", "begin"])
        expect(await post(sign(caller, other, tenant, name))).toBe("handler_invalid");
      expect(await slots()).toBe(before);
    },
  );
});

describe("what is not so goes to the owner", () => {
  it("a message that moves the behaviour, and is logged", async () => {
    const caller = await callerOf("stateless");
    const [before, passed] = [await slots(), hops(other)];
    expect(await post(sign(caller, other, "stateless", "begin"))).toBe("200");
    expect(await post(sign(caller, other, "stateless", "begin"))).toBe("out_of_order");
    expect(await post(sign(caller, other, "stateless", "finish"))).toBe("200");
    expect([await slots(), hops(other)]).toEqual([before + 2, passed + 3]);
  });

  it("a batch of which one message does", async () => {
    const caller = await callerOf("stateless");
    const [before, passed] = [await slots(), hops(other)];
    const answer = await batchAt(caller, other, "stateless", ["ping", "begin", "ping"]);
    expect(answer).toEqual({ status: 200, result: [1, 1, 1] });
    expect(await batchAt(caller, other, "stateless", ["finish"])).toMatchObject({ status: 200 });
    expect([await slots(), hops(other)]).toEqual([before + 2, passed + 2]);
  });

  it("a message that moves a caveat of its token", async () => {
    const caller = await callerOf("stateless", "protocol = ping{0,2}");
    const before = await slots();
    const answers = [];
    for (const node of [other, owner, other])
      answers.push(await post(sign(caller, node, "stateless", "ping")));
    expect([answers, await slots()]).toEqual([["200", "200", "out_of_order"], before + 2]);
  });

  it("a message that is admitted now and then, though it moves nothing: it is not logged", async () => {
    const caller = await callerOf("stateless", "protocol = begin ; ping*");
    const passed = hops(other);
    expect(await post(sign(caller, other, "stateless", "ping"))).toBe("out_of_order");
    expect(await post(sign(caller, other, "stateless", "begin"))).toBe("200");
    const before = await slots();
    expect(await post(sign(caller, other, "stateless", "ping"))).toBe("200");
    expect([await slots(), hops(other)]).toEqual([before, passed + 3]);
    expect(await post(sign(await callerOf("stateless"), other, "stateless", "finish"))).toBe("200");
  });

  it("a read of an actor that has a state: the owner answers and logs nothing where it moves nothing", async () => {
    const caller = await callerOf("stateful");
    const [before, passed] = [await slots(), hops(other)];
    for (const idempotencyKey of [undefined, "again", "again"]) {
      const more = idempotencyKey === undefined ? {} : { idempotencyKey };
      expect(await post(sign(caller, other, "stateful", "ping", more))).toBe("200");
    }
    expect([await slots(), hops(other)]).toEqual([before, passed + 3]);
    expect(await post(sign(caller, other, "stateful", "begin"))).toBe("200");
    expect(await post(sign(caller, other, "stateful", "ping"))).toBe("200");
    expect(await post(sign(caller, other, "stateful", "finish"))).toBe("200");
    expect(await slots()).toBe(before + 2);
  });
});
