/** What a node has logged comes out again when it is replayed; what was changed since is found, and where it stands. */
import { readFileSync } from "node:fs";
import { fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ParsedEntry } from "../src/actor/entry.ts";
import { formatCaveat } from "../src/authorize/caveats.ts";
import { decodeSlot, encodeObject } from "../src/cluster/format.ts";
import { readMeta } from "../src/cluster/meta.ts";
import { readOwnership } from "../src/cluster/ownership.ts";
import { admit } from "../src/dispatch/admission.ts";
import { runTurn, type Turn } from "../src/dispatch/sandbox.ts";
import { hashOf, moduleKey } from "../src/publish.ts";
import { type ReplayReport, type ReplayScope, replayShard } from "../src/replay.ts";
import { type BatchCall, resultOf, send, signBatch } from "../src/sdk/client.ts";
import { memoryStore } from "../src/store/memory.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import {
  call,
  codeOf,
  inOneHour,
  mintToken,
  must,
  newSigner,
  party,
  random,
  startGate,
} from "./support/gate.ts";
import { postern } from "./support/postern.ts";
import { ShardsNode } from "./support/shards-node.ts";
import { objectsOf, storeOf } from "./support/whole-store.ts";

const ACCOUNT = "account/replayed";
const RELEASE = "release/replayed";

/** The store of a node that has done all kinds of calls, while it still serves. */
let served: ReadonlyMap<string, Uint8Array>;
let directory: string;
let end: () => Promise<void>;

beforeAll(async () => {
  const gate = await startGate();
  directory = gate.directory;
  end = () => gate.end();
  const ada = party(gate, ACCOUNT);
  const done = async (message: string, args = {}) =>
    expect(codeOf(await call(ada, ACCOUNT, message, args))).toBe("200");
  await done("open", { owner: "Ada" });
  await done("deposit", { amount: 5 });
  await done("balance");
  expect(codeOf(await call(ada, ACCOUNT, "withdraw", { amount: 50 }))).toBe("handler_error");
  const calls: BatchCall[] = [
    { message: "deposit", args: { amount: 7 } },
    { message: "withdraw", args: { amount: resultOf(0, "balance") } },
  ];
  const batch = await send(signBatch(ada, { tenant: "demo", actor: ACCOUNT, calls }), fetch);
  expect(codeOf(batch)).toBe("200");

  const signer = newSigner();
  const caveats = [formatCaveat("actor", RELEASE), inOneHour(), formatCaveat("holder", signer.publicKey)];
  const token = mintToken(gate.key, caveats);
  const bob = { url: gate.server.url, token, signer, now_ms: () => Date.now(), random };
  for (const [message, args] of [
    ["upload", { file: "a.tgz" }],
    ["review", { freeze: true }],
    ["approve", {}],
  ] as const)
    expect(codeOf(await call(bob, RELEASE, message, args))).toBe("200");
  const store = sqliteStore(directory);
  served = await objectsOf(store);
  await store.close();
});
afterAll(() => end());

/** Every shard of a store with these objects. */
async function replayed(
  objects: ReadonlyMap<string, Uint8Array>,
  scope: ReplayScope = {},
): Promise<ReplayReport> {
  const store = await storeOf(objects);
  const { shards } = must(await readMeta(store)) ?? { shards: 0 };
  const reports: ReplayReport[] = [];
  for (let shard = 0; shard < shards; shard++) reports.push(must(await replayShard(store, shard, scope)));
  const sum = (of: (report: ReplayReport) => number) => reports.reduce((all, report) => all + of(report), 0);
  return {
    entries: sum(({ entries }) => entries),
    turns: sum(({ turns }) => turns),
    unrecorded: sum(({ unrecorded }) => unrecorded),
    different: sum(({ different }) => different),
    differences: reports.flatMap(({ differences }) => differences),
  };
}

/** The same store with entries rewritten, under checksums that fit. */
function changed(change: (entry: ParsedEntry) => object): Map<string, Uint8Array> {
  return new Map(
    [...served].map(([key, body]) => {
      const slot = key.startsWith("log/") ? decodeSlot(body) : "no slot";
      if (typeof slot === "string") return [key, body];
      const lines = slot.lines.map((line) => JSON.stringify(change(JSON.parse(line) as ParsedEntry)));
      return [key, encodeObject(slot.header, lines)];
    }),
  );
}

/** Only entries whose first turn is of this message. */
const where = (message: string, change: (entry: ParsedEntry) => object) =>
  changed((entry) => (entry.turns[0][0] === message ? change(entry) : entry));

describe("what a node has logged", () => {
  it("comes out again: calls, a batch with references, what an actor became", async () => {
    expect(await replayed(served)).toEqual({
      entries: 6,
      turns: 7,
      unrecorded: 0,
      different: 0,
      differences: [],
    });
  });

  it("is replayed by actor, by tenant and by time", async () => {
    expect(await replayed(served, { actor: RELEASE })).toMatchObject({ entries: 3, different: 0 });
    expect(await replayed(served, { tenant: "demo" })).toMatchObject({ entries: 6 });
    expect(await replayed(served, { tenant: "other" })).toMatchObject({ entries: 0 });
    expect(await replayed(served, { to_ms: 0 })).toMatchObject({ entries: 0 });
    expect(await replayed(served, { from_ms: 0, to_ms: Date.now() })).toMatchObject({ entries: 6 });
  });

  it("is only counted where it does not say which handler ran it", async () => {
    const old = changed(({ handler: _handler, ...entry }) => ({
      ...entry,
      turns: entry.turns.map((turn) => turn.slice(0, 4)),
    }));
    expect(await replayed(old)).toMatchObject({ entries: 0, unrecorded: 6, different: 0 });
  });
});

describe("a difference is found", () => {
  const turnOf = (change: (turn: unknown[]) => unknown[]) => (entry: ParsedEntry) => ({
    ...entry,
    turns: entry.turns.map((turn) => change([...turn])),
  });
  const releaseHandler = () => {
    let found = "";
    changed((entry) => {
      if (entry.actor.endsWith(RELEASE)) found = entry.handler ?? "";
      return entry;
    });
    return found;
  };

  it.each([
    [
      "another reply",
      () =>
        where(
          "deposit",
          turnOf(([m, a, s, _reply, f]) => [m, a, s, { balance: 6 }, f]),
        ),
      'the reply was {"balance":6}, and is {"balance":5}',
    ],
    [
      "other arguments",
      () =>
        where(
          "upload",
          turnOf(([m, _args, s, r, f]) => [m, {}, s, r, f]),
        ),
      "upload",
    ],
    [
      "other fuel",
      () =>
        where(
          "open",
          turnOf(([m, a, s, r, f]) => [m, a, s, r, Number(f) + 1]),
        ),
      "open: the fuel was",
    ],
    [
      "a refused turn",
      () =>
        where(
          "open",
          turnOf(([_message, a, s, r, f]) => ["withdraw", a, s, r, f]),
        ),
      "withdraw is refused now: handler_error: ",
    ],
    [
      "another state",
      () => where("approve", ({ delta: _delta, ...entry }) => ({ ...entry, state: { files: 9 } })),
      'the new state was {"files":9}',
    ],
    [
      "another behaviour",
      () => where("review", (entry) => ({ ...entry, behaviour: entry.behaviour.slice(0, 2) })),
      "the behaviour was none, and is frozen",
    ],
    [
      "another handler",
      () => where("open", (entry) => ({ ...entry, handler: releaseHandler() })),
      "open is refused now: handler_error: the release does not know",
    ],
  ])("%s", async (_name, objects, detail) => {
    const { differences } = await replayed(objects());
    expect(differences[0]).toMatchObject({
      detail: expect.stringContaining(detail),
      slot: expect.any(Number),
      index: 0,
    });
  });

  it("in a state that the next entry does not follow on, once", async () => {
    const { differences } = await replayed(
      where("open", ({ delta: _delta, ...entry }) => ({ ...entry, state: { owner: "Eve", balance: 0 } })),
    );
    expect(differences.map(({ detail }) => detail)).toEqual([
      expect.stringContaining("the new state was"),
      expect.stringContaining("does not follow"),
    ]);
  });

  it("where a handler is missing, or is not what its name says", async () => {
    const key = moduleKey(releaseHandler());
    const without = new Map(served);
    without.delete(key);
    expect((await replayed(without)).differences).toMatchObject([
      { detail: `its handler ${key} is missing`, actor: `demo/${RELEASE}` },
      {},
      {},
    ]);
    const swapped = new Map(served).set(key, new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
    expect((await replayed(swapped)).differences).toMatchObject([
      { detail: `its handler ${key} is damaged` },
      {},
      {},
    ]);
  });
});

it("goes on from the states that a checkpoint holds", async () => {
  const bytes = readFileSync(new URL("../wasm/account/account.wasm", import.meta.url));
  const admission = admit(bytes);
  if (!admission.ok) throw new Error("not admitted");
  const handler = hashOf(admission.instrumented);
  const module = new WebAssembly.Module(admission.instrumented);
  const given = { handler, behaviour: "(open | deposit)*", run: (turn: Turn) => runTurn(module, turn) };
  const store = memoryStore();
  await store.put(moduleKey(handler), admission.instrumented, { ifNoneMatch: "*" });
  const first = await new ShardsNode(store, { checkpointLogBytesMin: 1 }).start();
  expect(await first.call("open", { ...given, args: { owner: "Ada" } })).toBe("done");
  expect(await first.call("deposit", { ...given, args: { amount: 5 } })).toBe("done");
  await first.leave();
  const second = await new ShardsNode(store, { checkpointLogBytesMin: 1e9 }).start();
  expect(await second.call("deposit", { ...given, args: { amount: 2 } })).toBe("done");

  expect(must(await readOwnership(store, 0))?.ownership.checkpoint?.seq).toBeGreaterThan(0);
  // The test's node writes the same fuel for every turn; all else is as it was.
  const report = must(await replayShard(store, 0, {}));
  expect(report).toMatchObject({ entries: 2, turns: 2, different: 2 });
  for (const { detail } of report.differences)
    expect(detail).toMatch(/^deposit: the fuel was 1, and is \d+$/);
});

it("a damaged shard is not replayed: the refusal says what is wrong with it", async () => {
  const key = [...served.keys()].find((name) => name.startsWith("log/")) ?? "";
  const store = await storeOf(new Map(served).set(key, new Uint8Array([1])));
  const shard = Number(key.split("/")[1]);
  expect(await replayShard(store, shard, {})).toMatchObject({
    code: "store_unavailable",
    detail: expect.stringContaining(key),
  });
});

describe("postern replay", () => {
  it("runs beside the node that serves", async () => {
    const url = `file:${directory}`;
    expect(await postern(["replay", "--store", url])).toMatchObject({
      code: 0,
      stdout: "6 entries, 7 turns: all as recorded\n",
    });
    const { stdout } = await postern([
      "replay",
      "--store",
      url,
      "--actor",
      ACCOUNT,
      "--tenant",
      "demo",
      "--json",
    ]);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, entries: 3, turns: 4, differences: [] });
    expect(await postern(["replay", "--store", url, "--from", "tomorrow"])).toMatchObject({ code: 2 });
  });
});
