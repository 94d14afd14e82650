/**
 * A small store with an object of every kind in every condition that a cluster at work leaves behind: shards of several
 * epochs with and without a checkpoint, pages of several checkpoints, what attempts have left, a void slot, a feed of
 * two pages, two tenants, a ring of several keys, a killed node's lease, and what a probe has forgotten.
 */
import { crc32 } from "node:zlib";
import { utf8 } from "../../src/bytes.ts";
import { checkpointId, decodeSlot, encodeObject, logKey, partKey } from "../../src/cluster/format.ts";
import { ensureMeta } from "../../src/cluster/meta.ts";
import { shardOf } from "../../src/cluster/pages.ts";
import { PAGE_BYTES, REVOCATIONS_PER_PAGE } from "../../src/limits.ts";
import { revoke } from "../../src/revoke.ts";
import { changeKeyring } from "../../src/rotate.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { rotateKeyring } from "../../src/token/keyring.ts";
import { encodePage, pageKey, type Revocation } from "../../src/token/revocation.ts";
import { EMPTY } from "../actor/counter.ts";
import { MASTER, must, random } from "./gate.ts";
import { ShardsNode } from "./shards-node.ts";
import { publishTenant } from "./tenant.ts";

export const SHARDS = 3;
/** The shard that has outgrown one page; the others have no checkpoint. */
export const PAGED = 2;
/** The shard with a slot that a deposed writer has filled too late. */
export const VOIDED = 0;

export async function wholeStore(): Promise<ReadonlyMap<string, Uint8Array>> {
  const store = memoryStore();
  must(await ensureMeta(store, SHARDS, "n"));
  await publishTenants(store);
  await serve(store);
  await leaveRemains(store);
  return objectsOf(store);
}

export async function objectsOf(store: Store): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>();
  for (const key of must(await store.list(""))) {
    const found = must(await store.get(key));
    if (found !== undefined) objects.set(key, found.body);
  }
  return objects;
}

/** Bodies by length and checksum: to compare whole stores by. */
export function digests(objects: ReadonlyMap<string, Uint8Array>): Map<string, string> {
  return new Map([...objects].map(([key, body]) => [key, `${body.length} bytes, ${crc32(body)}`]));
}

export async function storeOf(objects: ReadonlyMap<string, Uint8Array>): Promise<Store> {
  const store = memoryStore();
  for (const [key, body] of objects) await store.put(key, body, { ifNoneMatch: "*" });
  return store;
}

async function publishTenants(store: Store): Promise<void> {
  await publishTenant(store, "demo");
  await publishTenant(store, "other", { reply: 2 });
  must(await changeKeyring(store, "demo", MASTER, (ring) => rotateKeyring(ring, random), random));
  const kid = (value: number): Revocation => ({ kind: "kid", value: String(value), at: "" });
  const entries = Array.from({ length: REVOCATIONS_PER_PAGE }, (_, i) => kid(i + 1));
  const page = encodePage({ tenant: "demo", page: 0, entries }, "n");
  await store.put(pageKey("demo", 0), page, { ifNoneMatch: "*" });
  must(await revoke(store, "demo", kid(REVOCATIONS_PER_PAGE + 1), { now_ms: 0, random }));
}

/** Two nodes, one after the other. The second one is killed. */
async function serve(store: Store): Promise<void> {
  const actors = Array.from({ length: 200 }, (_, i) => `account/${i}`);
  const paged = actors.filter((actor) => shardOf(`t/${actor}`, SHARDS) === PAGED);
  const large = JSON.stringify({ ...EMPTY, filler: "x".repeat(PAGE_BYTES / 2) });
  const run = () => ({ reply: null, state: large });
  const options = { shardCount: SHARDS, checkpointLogBytesMin: PAGE_BYTES };

  const first = await new ShardsNode(store, options).start();
  for (const actor of paged.slice(0, 9)) await quietly(first.call("open", { actor, run }));
  for (const actor of actors.slice(0, 12)) await quietly(first.call("open", { actor }));
  await first.leave();

  const second = await new ShardsNode(store, options).start();
  // Until a checkpoint has written the page of one actor anew, and no other.
  for (let i = 0; i < 40; i++) await quietly(second.call("deposit", { actor: paged[0] ?? "" }));
  for (const actor of actors.slice(0, 12)) await quietly(second.call("deposit", { actor }));
}

/** What goes on behind the call has come to its end, too. */
async function quietly(call: Promise<unknown>): Promise<void> {
  await call;
  await new Promise(setImmediate);
}

async function leaveRemains(store: Store): Promise<void> {
  const put = (key: string, body: Uint8Array) => store.put(key, body, { ifNoneMatch: "*" });
  const part = encodeObject({ kind: "part", epoch: 1, session: "s", nonce: "n" }, ['t/account/1 {"v":2}']);
  await put(partKey(PAGED, checkpointId(1, "attempt"), 0, 0), part);
  const late = { kind: "entries", epoch: 1, session: "s", nonce: "n", durable: 4 } as const;
  await put(logKey(VOIDED, (await lastSeal(store, VOIDED)) + 1), encodeObject(late, ["{}"]));
  await put("probe/1/2", utf8("left"));
}

async function lastSeal(store: Store, shard: number): Promise<number> {
  let last = 0;
  for (let seq = 1; seq < 100; seq++) {
    const found = must(await store.get(logKey(shard, seq)));
    const decoded = found && decodeSlot(found.body);
    if (typeof decoded === "object" && decoded.header.kind === "seal") last = seq;
  }
  return last;
}
