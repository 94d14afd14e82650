/** One node among others: who takes which shard and when, what a death and a drain cost, where calls belong. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { encodeDocument } from "../../src/checked.ts";
import { nodeKey, ownKey } from "../../src/cluster/format.ts";
import { isRefusal } from "../../src/errors.ts";
import { LOOKS_AT_ONCE, PLACE_PATIENCE_MS, SHARD_RETRY_MS } from "../../src/limits.ts";
import { SILENT, unclear } from "../store/intercept.ts";
import { quiet } from "./harness.ts";
import { Cluster, placed, SHARDS, TAKEOVER_MS, TTL_MS } from "./members.ts";

const ALL = Array.from({ length: SHARDS }, (_, shard) => shard);

/** A cluster of so many nodes that have shared the shards. */
async function shared(count: number): Promise<Cluster> {
  const cluster = new Cluster();
  for (let i = 1; i <= count; i++) await cluster.join(`n${i}`);
  await cluster.pass(2 * TTL_MS);
  for (const { shards } of cluster.members) expect(shards.length).toBeGreaterThan(0);
  expect(cluster.leaders.map(({ length }) => length)).toEqual(ALL.map(() => 1));
  return cluster;
}

describe("a node", () => {
  test("that is alone serves all shards once it has started", async () => {
    const cluster = new Cluster();
    const { shards } = await cluster.join("n1");
    expect(shards).toEqual(ALL);
    expect(await cluster.owners()).toEqual(ALL.map(() => "n1"));
    expect(Object.keys((await cluster.lease("n1"))?.shards ?? {})).toHaveLength(SHARDS);
  });

  test("that joins is given its share and no more, and all that was appended", async () => {
    const cluster = new Cluster();
    const first = await cluster.join("n1");
    for (const shard of ALL) await first.append(shard, `"a${shard}"`);
    const second = await cluster.join("n2");
    await cluster.pass(TTL_MS);
    expect(second.shards.length).toBeGreaterThan(0);
    expect(second.shards.length).toBeLessThanOrEqual(Math.ceil((1.25 * SHARDS) / 2));
    expect([...first.shards, ...second.shards].toSorted((a, b) => a - b)).toEqual(ALL);
    for (const shard of second.shards) expect(await second.entries(shard)).toEqual([`"a${shard}"`]);
    const before = cluster.leaders;
    await cluster.pass(5 * TTL_MS);
    expect(cluster.leaders).toEqual(before);
  });

  test("that is not heard of any more is buried, and its shards are taken, within the TTL and a little", async () => {
    const cluster = await shared(3);
    const [dead] = cluster.members;
    const shard = dead?.shards[0] ?? 0;
    await dead?.append(shard, '"kept"');
    dead?.cut();
    await cluster.pass(TAKEOVER_MS);
    const living = cluster.members.slice(1);
    expect(living.flatMap(({ shards }) => shards).toSorted((a, b) => a - b)).toEqual(ALL);
    expect(await living.find(({ open }) => open.has(shard))?.entries(shard)).toEqual(['"kept"']);
    expect(await cluster.sessions()).toEqual(["n2", "n3"]);
    // It was only cut off. It finds out, serves nothing, and leaves nothing behind.
    dead?.cut(false);
    expect(await dead?.append(shard, '"late"')).toMatchObject({ code: "not_leader" });
    await cluster.pass(TTL_MS);
    expect(dead?.lost).toMatchObject([{ code: "not_leader" }]);
    await dead?.member.drain();
    await dead?.member.leave();
    expect(dead?.shards).toEqual([]);
    await cluster.pass(TTL_MS);
    expect(await cluster.sessions()).toEqual(["n2", "n3"]);
    expect(cluster.leaders.map(({ length }) => length)).toEqual(ALL.map(() => 1));
  });

  test("that dies is seen to in time also where a look at its lease hangs", async () => {
    const cluster = await shared(3);
    const [dead, ...living] = cluster.members;
    dead?.cut();
    for (const member of living) {
      let hangs = 2;
      const isDead = (key: string): boolean => key === nodeKey(dead?.session ?? "");
      member.hooks = {
        get: (key, next) => (isDead(key) && hangs-- > 0 ? new Promise(() => {}) : next()),
      };
    }
    await cluster.pass(TAKEOVER_MS);
    expect(living.flatMap(({ shards }) => shards).toSorted((a, b) => a - b)).toEqual(ALL);
  });

  test("meets a silent store with a bounded number of looks", async () => {
    const cluster = await shared(2);
    const [one, other] = cluster.members;
    let looks = 0;
    const isOther = (key: string): boolean => key === nodeKey(other?.session ?? "");
    if (one !== undefined)
      one.hooks = { get: (key, next) => (isOther(key) ? new Promise(() => void looks++) : next()) };
    await cluster.pass(10 * TTL_MS);
    expect(looks).toBe(LOOKS_AT_ONCE);
  });

  test("whose process is known to have ended is not waited for", async () => {
    const cluster = new Cluster();
    const dead = await cluster.join("n1");
    dead.cut();
    const next = await cluster.join("n2", { isGone: (process) => process === "n1" });
    await cluster.pass(TTL_MS / 10);
    expect(next.shards).toEqual(ALL);
  });

  test("that cannot look around at its start leaves no lease behind", async () => {
    const cluster = new Cluster();
    const node = cluster.add("n1");
    node.hooks = { list: async () => SILENT };
    expect(await node.start()).toMatchObject({ code: "store_unavailable" });
    expect(await cluster.sessions()).toEqual([]);
    await cluster.pass(TTL_MS);
    expect(await cluster.sessions()).toEqual([]);
  });

  test("goes on after an outage of the store that nobody outlived", async () => {
    const cluster = await shared(2);
    for (const member of cluster.members) member.cut();
    await cluster.pass(5 * TTL_MS);
    for (const member of cluster.members) member.cut(false);
    await cluster.pass(2 * TTL_MS);
    expect(cluster.members.flatMap(({ lost }) => lost)).toEqual([]);
    expect(cluster.leaders.map(({ length }) => length)).toEqual(ALL.map(() => 1));
  });

  test("keeps nothing of nodes that are long gone", async () => {
    const cluster = new Cluster();
    const stays = await cluster.join("stays");
    for (let i = 0; i < 10; i++) {
      const passing = await cluster.join(`n${i}`);
      await cluster.pass(TTL_MS);
      if (i % 2 === 0) passing.cut();
      else {
        await passing.member.drain();
        await passing.member.leave();
      }
    }
    await cluster.pass(2 * TTL_MS);
    const reads: string[] = [];
    stays.hooks = {
      get: (key, next) => {
        reads.push(key);
        return next();
      },
    };
    await cluster.pass(TTL_MS);
    expect(reads).toEqual([]);
    expect(await cluster.sessions()).toEqual(["stays"]);
    expect(stays.shards).toEqual(ALL);
  });

  test("leaves a shard alone whose owner's lease it cannot read, as long as that lives", async () => {
    const cluster = new Cluster();
    const newer = await cluster.join("newer");
    let rounds = 0;
    newer.hooks = {
      // So that it does not hand shards over by itself.
      list: async (prefix, next) => (prefix === "node/" ? [nodeKey("newer")] : next()),
      // What a later version writes, in place of each renewal of this one.
      put: async (key, next) => {
        if (key !== nodeKey("newer")) return next();
        await cluster.store.delete(key);
        return cluster.store.put(key, utf8(`{"v":2,"round":${++rounds}}`), { ifNoneMatch: "*" });
      },
    };
    await cluster.pass(TTL_MS / 2);
    let reads = 0;
    const older = cluster.add("older");
    older.hooks = {
      get: (_key, next) => {
        reads++;
        return next();
      },
    };
    expect(await older.start()).toBeUndefined();
    await cluster.pass(3 * TTL_MS);
    expect(rounds).toBeGreaterThan(3);
    expect([older.shards, newer.shards]).toEqual([[], ALL]);
    expect(reads).toBeLessThan(1000);
    expect(placed(await older.member.place(0))).toBe("draining");
  });
});

describe("a drain", () => {
  test("hands everything over at once to those who live, and then nothing is left of the node", async () => {
    const cluster = await shared(3);
    const [leaving, ...others] = cluster.members;
    if (leaving === undefined) throw new Error("nobody is there");
    const given = leaving.shards;
    for (const shard of given) await leaving.append(shard, `"kept ${shard}"`);
    await leaving.member.drain();
    expect(leaving.shards).toEqual([]);
    expect((await cluster.owners()).filter((owner) => owner === "n1")).toEqual([]);
    // A look at leases later, which is what a takeover comes late by.
    await cluster.pass(TTL_MS / 20);
    expect(others.flatMap(({ shards }) => shards).toSorted((a, b) => a - b)).toEqual(ALL);
    for (const shard of given) {
      const taker = others.find(({ open }) => open.has(shard));
      expect(await taker?.entries(shard)).toEqual([`"kept ${shard}"`]);
      // Meanwhile it still knows where its callers' calls belong.
      expect(placed(await leaving.member.place(shard))).toBe(taker?.session);
    }
    await leaving?.member.leave();
    expect(await cluster.sessions()).toEqual(["n2", "n3"]);
  });

  test("takes nothing any more, also where it is asked to", async () => {
    const cluster = new Cluster();
    const { member } = await cluster.join("n1");
    await member.drain();
    expect(placed(await member.placeAsked(3))).toBe("not_leader");
    expect(placed(await member.place(3))).toBe("draining");
    await cluster.pass(3 * TTL_MS);
    expect(cluster.leaders.flat()).toEqual([]);
    expect(await cluster.lease("n1")).toMatchObject({ state: "draining", shards: {} });
  });

  test("begun while shards are being opened hands those over too", async () => {
    const cluster = new Cluster();
    const node = cluster.add("n1");
    expect(await node.start()).toBeUndefined();
    await node.member.drain();
    await node.member.leave();
    await cluster.pass(TTL_MS);
    expect(node.shards).toEqual([]);
    expect((await cluster.owners()).filter((owner) => typeof owner === "string")).toEqual([]);
  });

  test("ends where the store does not answer: others then wait for the end of the lease", async () => {
    const cluster = await shared(2);
    const [leaving, other] = cluster.members;
    leaving?.cut();
    await leaving?.member.drain();
    await leaving?.member.leave();
    expect(leaving?.shards).toEqual([]);
    await cluster.pass(TAKEOVER_MS);
    expect(other?.shards).toEqual(ALL);
  });
});

describe("a call belongs", () => {
  test("at the shard's owner, whoever is asked; and the owner says so of itself", async () => {
    const cluster = await shared(3);
    for (const shard of ALL) {
      const [leader = ""] = cluster.leaders[shard] ?? [];
      for (const { session, member } of cluster.members) {
        const expected = session === leader ? "here" : leader;
        expect(placed(await member.place(shard))).toBe(expected);
        const asked = await member.placeAsked(shard);
        expect(isRefusal(asked) ? [asked.code, asked.facts.leader?.session] : asked).toEqual(
          session === leader ? "here" : ["not_leader", leader],
        );
      }
    }
  });

  test("nowhere for now where its owner does not answer but lives", async () => {
    const cluster = await shared(2);
    const [first, second] = cluster.members;
    const shard = first?.shards[0] ?? 0;
    expect(placed((await second?.member.place(shard, new Set(["n1"]))) ?? "here")).toBe("draining");
    expect(first?.open.has(shard)).toBe(true);
  });

  test("here, where nobody owns the shard and another node has sent it here", async () => {
    const cluster = await shared(2);
    const [first, second] = cluster.members;
    const shard = first?.shards[0] ?? 0;
    await first?.member.drain();
    expect(await second?.member.placeAsked(shard)).toBe("here");
    expect(second?.open.has(shard)).toBe(true);
  });

  test("not here again where the shard has just been given to a node that joined", async () => {
    const cluster = new Cluster();
    const first = await cluster.join("n1");
    const second = await cluster.join("n2");
    const gone = async (): Promise<number | undefined> => {
      for (let i = 0; i < 400; i++) {
        const shard = ALL.find((number) => !first.open.has(number));
        if (shard !== undefined) return shard;
        await cluster.pass(TTL_MS / 400);
      }
      return undefined;
    };
    const shard = (await gone()) ?? -1;
    second.cut();
    const asked = await first.member.placeAsked(shard);
    expect(asked).toMatchObject({ code: "not_leader" });
    expect(first.open.has(shard)).toBe(false);
  });

  test("nowhere, with the reason, while its shard cannot be opened; then here", async () => {
    const cluster = new Cluster();
    const node = cluster.add("n1");
    let broken = true;
    node.hooks = { list: async (prefix, next) => (broken && prefix === "log/003/" ? SILENT : next()) };
    expect(await node.start()).toBeUndefined();
    await node.member.settled();
    expect(node.shards).toEqual(ALL.filter((shard) => shard !== 3));
    expect(await node.member.place(3)).toMatchObject({ code: "store_unavailable", detail: SILENT.detail });
    broken = false;
    // It is tried again soon, not at each call.
    expect(placed(await node.member.place(3))).toBe("store_unavailable");
    await cluster.pass(SHARD_RETRY_MS + TTL_MS / 20);
    expect(placed(await node.member.place(3))).toBe("here");
  });

  test("nowhere for now where its shard takes long to open: nobody waits longer than he wants to", async () => {
    const cluster = new Cluster();
    const node = cluster.add("n1");
    const opening = Promise.withResolvers<void>();
    node.hooks = {
      list: async (prefix, next) => {
        if (prefix === "log/003/") await opening.promise;
        return next();
      },
    };
    expect(await node.start()).toBeUndefined();
    const { clock } = cluster;
    const asked = [
      node.member.place(3, new Set(), clock.now_ms() + 100),
      node.member.placeAsked(3, clock.now_ms() + 100),
      node.member.place(3),
      node.member.placeAsked(3),
    ];
    const answers: string[] = [];
    for (const place of asked) void place.then((found) => answers.push(placed(found)));
    await cluster.pass(100);
    expect(answers).toEqual(["draining", "draining"]);
    await cluster.pass(PLACE_PATIENCE_MS);
    expect(answers).toEqual(["draining", "draining", "draining", "draining"]);
    const last = node.member.place(3);
    opening.resolve();
    expect(placed(await last)).toBe("here");
  });

  test("at the node that is known to lead, also while an attempt to take the shard gets no answer", async () => {
    const cluster = await shared(2);
    const [first, second] = cluster.members;
    const shard = first?.shards[0] ?? 0;
    if (second === undefined) throw new Error("no second node");
    second.hooks = { get: (key, next) => (key === ownKey(shard) ? new Promise(() => {}) : next()) };
    void second.member.placeAsked(shard);
    expect(placed(await second.member.place(shard))).toBe("n1");
  });

  test("where another node says, as far as that lives", async () => {
    const cluster = await shared(2);
    const [first, second] = cluster.members;
    const shard = first?.shards[0] ?? 0;
    const { epoch = 0 } = first?.open.get(shard)?.log ?? {};
    second?.member.told(shard, "nobody", epoch + 1);
    expect(placed((await second?.member.place(shard)) ?? "here")).toBe("n1");
    second?.member.told(shard, "n1", epoch);
    expect(placed((await second?.member.place(shard)) ?? "here")).toBe("n1");
  });
});

test("a store that was set back to an older state is not asked without end who owns a shard", async () => {
  const cluster = new Cluster();
  await cluster.join("n1");
  const node = await cluster.join("n2");
  await cluster.pass(TTL_MS);
  const [shard = 0] = node.shards;
  const key = ownKey(shard);
  let reads = 0;
  const older = { epoch: 1, session: "n1", nonce: "n", checkpoint: null, collected: 0 };
  node.hooks = {
    get: async (name, next) => {
      if (name !== key) return next();
      if (++reads > 1000) throw new Error("asked without end");
      return { body: encodeDocument("postern-own/1", older), etag: "old" };
    },
    put: (name, next) => (name.startsWith("log/") ? unclear() : next()),
  };
  await node.append(shard, '"a"');
  await cluster.pass(TTL_MS / 2);
  expect(node.open.has(shard)).toBe(false);
  expect(reads).toBeLessThan(100);
});

test("a lease whose renewals stay unclear makes its holder ask the store, and it serves on", async () => {
  const cluster = new Cluster();
  const node = await cluster.join("n1");
  node.hooks = { put: (key, next) => (key.startsWith("node/") ? unclear() : next()) };
  await cluster.pass(TTL_MS);
  await quiet();
  expect(await node.open.get(0)?.log.confirm()).toBeUndefined();
  expect(await node.append(0, '"a"')).toBeUndefined();
  node.hooks = {};
  await cluster.pass(TTL_MS);
  expect([node.lost, node.shards]).toEqual([[], ALL]);
});
