/**
 * A damaged or missing object stops its own shard, and no more: the others serve, the log names the object, callers
 * are told nothing that is not theirs, and when it is back the shard opens by itself. A real node on a real directory.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { toHex } from "../../src/bytes.ts";
import { checkpointsPrefix, logKey, logPrefix, ownKey } from "../../src/cluster/format.ts";
import { shardOf } from "../../src/cluster/pages.ts";
import { SHARD_RETRY_MS, SHARDS_DEFAULT } from "../../src/limits.ts";
import type { Caller } from "../../src/sdk/client.ts";
import type { Store } from "../../src/store/contract.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import { call, codeOf, MASTER, must, party, startGate, type TestGate } from "../support/gate.ts";
import { takenShard } from "../support/taken-shard.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-damage-"));
/** Enough commits that the shard writes a checkpoint. */
const COMMITS = 530;

interface Account {
  readonly actor: string;
  readonly shard: number;
  readonly balance: number;
  caller: Caller;
}

const accounts: Account[] = [];
let gate: TestGate;

/** Accounts, each in a shard of its own. The last one's shard has a checkpoint. */
beforeAll(async () => {
  gate = await startGate(directory);
  const shards = new Set<number>();
  for (let i = 0; accounts.length < 5; i++) {
    const actor = `account/damage-${i}`;
    const shard = shardOf(`demo/${actor}`, SHARDS_DEFAULT);
    if (shards.has(shard)) continue;
    shards.add(shard);
    const balance = accounts.length === 4 ? COMMITS : 1;
    accounts.push({ actor, shard, balance, caller: party(gate, actor) });
  }
  for (const { actor, caller, balance } of accounts) {
    expect(codeOf(await call(caller, actor, "open", { owner: "Ada" }))).toBe("200");
    for (let i = 0; i < balance; i++)
      expect(codeOf(await call(caller, actor, "deposit", { amount: 1 }))).toBe("200");
  }
  await gate.server.stop(0);
});
afterAll(() => gate.end());

const accountIn = (index: number): Account => accounts[index] as Account;

/** Something is done to the store while no node runs; then a node is started. @returns what brings the objects back */
async function restartAfter(damage: (store: Store) => Promise<string[]>) {
  await gate.server.stop(0);
  const store = sqliteStore(directory);
  const before = new Map<string, Uint8Array>();
  for (const key of must(await store.list(""))) {
    const found = must(await store.get(key));
    if (found !== undefined) before.set(key, found.body);
  }
  const damaged = await damage(store);
  await store.close();
  gate = await startGate(directory);
  for (const account of accounts) account.caller = { ...account.caller, url: gate.server.url };
  return {
    key: damaged[0] ?? "",
    restore: async () => {
      const again = sqliteStore(directory);
      for (const key of damaged) await replace(again, key, before.get(key));
      await again.close();
    },
  };
}

async function replace(store: Store, key: string, body: Uint8Array | undefined): Promise<void> {
  await store.delete(key);
  if (body !== undefined) await store.put(key, body, { ifNoneMatch: "*" });
}

async function flip(store: Store, key: string): Promise<string[]> {
  const body = new Uint8Array(must(await store.get(key))?.body ?? []);
  body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1;
  await replace(store, key, body);
  return [key];
}

async function remove(store: Store, key: string): Promise<string[]> {
  await store.delete(key);
  return [key];
}

const slotsOf = async (store: Store, { shard }: Account): Promise<string[]> =>
  [...must(await store.list(logPrefix(shard)))].toSorted();
const partsOf = async (store: Store, { shard }: Account, name: RegExp): Promise<string[]> =>
  must(await store.list(checkpointsPrefix(shard))).filter((key) => name.test(key));

async function balanceOf({ actor, caller }: Account): Promise<string> {
  const outcome = await call(caller, actor, "balance");
  return "problem" in outcome ? outcome.problem.code : JSON.stringify(outcome.result);
}

/** What the node has said of itself that names this object. */
const toldOf = (key: string): { event: string; shard: number }[] =>
  gate.lines
    .filter((line) => line.includes(key))
    .map((line) => JSON.parse(line) as { event: string; shard: number });

/** Asks again until the shard has been tried again. */
async function recovered(account: Account): Promise<string> {
  for (let waited_ms = 0; waited_ms < 20 * SHARD_RETRY_MS; waited_ms += 100) {
    const balance = await balanceOf(account);
    if (balance !== "store_unavailable") return balance;
    await setTimeout(100);
  }
  return "never";
}

describe.each<[string, number, string, (store: Store, account: Account) => Promise<string[]>]>([
  [
    "a slot of its log is damaged",
    0,
    "shard_stopped",
    async (store, account) => flip(store, (await slotsOf(store, account)).at(-1) ?? ""),
  ],
  [
    "a slot of its log is missing",
    1,
    "shard_stopped",
    async (store, account) => remove(store, (await slotsOf(store, account)).at(-2) ?? ""),
  ],
  ["its ownership record is damaged", 2, "shard_stopped", (store, { shard }) => flip(store, ownKey(shard))],
  ["its ownership record is missing", 3, "shard_stopped", (store, { shard }) => remove(store, ownKey(shard))],
  [
    "its checkpoint's manifest is missing",
    4,
    "shard_stopped",
    async (store, account) => remove(store, (await partsOf(store, account, /manifest$/))[0] ?? ""),
  ],
  [
    "a page of its checkpoint is damaged",
    4,
    "actor_unreadable",
    async (store, account) => flip(store, (await partsOf(store, account, /\/\d+\/\d+$/))[0] ?? ""),
  ],
])("a shard of which %s", (_, index, event, damage) => {
  it("answers nothing, the others do, and it opens by itself when that is mended", async () => {
    const broken = accountIn(index);
    const { key, restore } = await restartAfter((store) => damage(store, broken));
    expect(key).not.toBe("");

    const { actor, caller } = broken;
    for (let i = 0; i < 3; i++) {
      const outcome = await call(caller, actor, "deposit", { amount: 1 });
      expect(outcome).toMatchObject({ status: 503, problem: { code: "store_unavailable" } });
      const told = JSON.stringify(outcome);
      for (const secret of [caller.token, toHex(MASTER.expose()), directory, "Ada"])
        expect(told).not.toContain(secret);
    }
    for (const other of accounts)
      if (other !== broken) expect(await balanceOf(other)).toBe(`{"balance":${other.balance}}`);
    // Tried again every second, it is told once.
    await setTimeout(2 * SHARD_RETRY_MS);
    expect(toldOf(key)).toEqual([expect.objectContaining({ event, shard: broken.shard })]);

    await restore();
    expect(await recovered(broken)).toBe(`{"balance":${broken.balance}}`);
  });
});

it("an entry of another version stops its shard, by the name of its object, and no other", async () => {
  const own = mkdtempSync(join(tmpdir(), "postern-damage-"));
  const before = await startGate(own);
  await before.server.stop(0);
  const store = sqliteStore(own);
  const log = await takenShard(store, "account/damaged");
  expect(await log.append('{"v":9}')).toBeUndefined();
  const damaged = logKey(shardOf("demo/account/damaged", SHARDS_DEFAULT), log.seq);
  await store.close();

  const reader = await startGate(own);
  onTestFinished(() => reader.end());
  const refused = await call(party(reader, "account/damaged"), "account/damaged", "open", { owner: "Ada" });
  const detail = `the object ${damaged} cannot be used: a log entry has version 9; this version reads 3`;
  expect(refused).toMatchObject({ problem: { code: "store_unavailable", detail, damaged } });
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, i) => `account/sound-${i}`).map(async (actor) =>
      codeOf(await call(party(reader, actor), actor, "open", { owner: "Ada" })),
    ),
  );
  expect(new Set(others)).toEqual(new Set(["200"]));
  expect(reader.lines.filter((line) => line.includes("shard_stopped")).join()).toContain(detail);
});
