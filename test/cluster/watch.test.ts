/** Looking at the others' leases: how often, how many reads it costs, and that the dead are buried and leave nothing. */
import { describe, expect, test } from "vitest";
import { encodeDocument } from "../../src/checked.ts";
import { NODE_PREFIX, nodeKey } from "../../src/cluster/format.ts";
import { encodeLease, type LeaseRecord, parseLease } from "../../src/cluster/lease.ts";
import { Peers } from "../../src/cluster/peers.ts";
import { Watch } from "../../src/cluster/watch.ts";
import type { Store, StoredObject } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { type Hooks, intercept, SILENT, unclear } from "../store/intercept.ts";
import { TestClock } from "./clock.ts";
import { keysOf, quiet } from "./harness.ts";

const TTL_MS = 1000;
const LOOK_MS = 100;
const LIST_MS = 400;

/** One node that watches the leases in a store, and the reads that it makes. */
class Watcher {
  readonly store: Store = memoryStore();
  readonly clock = new TestClock();
  readonly peers = new Peers({ ttl_ms: TTL_MS, interval_ms: LOOK_MS, isGone: () => false });
  readonly watch: Watch;
  hooks: Hooks = {};
  lists = 0;
  gets: string[] = [];

  constructor(session = "me") {
    let nonces = 0;
    const store = intercept(this.store, {
      list: (prefix, next) => {
        this.lists++;
        return this.hooks.list?.(prefix, next) ?? next();
      },
      get: (key, next) => {
        this.gets.push(key.slice(NODE_PREFIX.length));
        return this.hooks.get?.(key, next) ?? next();
      },
      put: (key, next, ...more) => this.hooks.put?.(key, next, ...more) ?? next(),
      delete: (key, next) => this.hooks.delete?.(key, next) ?? next(),
    });
    const { clock } = this;
    const nonce = () => `n${++nonces}`;
    this.watch = new Watch({ store, clock, session, nonce, look_ms: LOOK_MS, list_ms: LIST_MS }, this.peers);
  }

  /** A node's lease as it is renewed, with a new version. */
  async renew(session: string, more: Partial<LeaseRecord> = {}): Promise<void> {
    const record: LeaseRecord = {
      session,
      state: "serving",
      url: "",
      authorities: [],
      process: "",
      ttl_ms: TTL_MS,
      renewed_at: "",
      shards: {},
      nonce: String(this.clock.now_ms()),
      ...more,
    };
    await this.write(session, encodeLease(record));
  }

  async write(session: string, body: Uint8Array): Promise<void> {
    await this.store.delete(nodeKey(session));
    await this.store.put(nodeKey(session), body, { ifNoneMatch: "*" });
  }

  /** Looks at the usual times, for so long. */
  async look(for_ms: number): Promise<void> {
    for (let past_ms = 0; past_ms < for_ms; past_ms += LOOK_MS) {
      this.clock.jump(LOOK_MS);
      await this.watch.look();
      await quiet();
    }
  }

  get living(): string[] {
    return this.peers.living.map(({ session }) => session).toSorted();
  }

  /** What was read since the last time. */
  taken(): { lists: number; gets: string[] } {
    const taken = { lists: this.lists, gets: this.gets.toSorted() };
    this.lists = 0;
    this.gets = [];
    return taken;
  }
}

describe("a look", () => {
  test("finds the others, and reads each once; they are listed again when it is time", async () => {
    const watcher = new Watcher();
    await watcher.renew("me");
    await watcher.renew("a");
    await watcher.renew("b");
    await watcher.look(LOOK_MS);
    expect(watcher.living).toEqual(["a", "b"]);
    expect(watcher.taken()).toEqual({ lists: 1, gets: ["a", "b"] });
    await watcher.renew("c");
    await watcher.look(LIST_MS - LOOK_MS);
    expect(watcher.living).toEqual(["a", "b"]);
    expect(watcher.taken().lists).toBe(0);
    await watcher.look(LOOK_MS);
    expect(watcher.living).toEqual(["a", "b", "c"]);
  });

  test("that fails says so where it was to list, and changes nothing", async () => {
    const watcher = new Watcher();
    await watcher.renew("a");
    await watcher.look(LOOK_MS);
    watcher.hooks = { list: async () => SILENT, get: async () => SILENT };
    watcher.clock.jump(LIST_MS);
    expect(await watcher.watch.look()).toMatchObject({ code: "store_unavailable" });
    await watcher.look(5 * TTL_MS);
    expect(watcher.living).toEqual(["a"]);
    expect(watcher.taken().lists).toBeGreaterThan(5);
  });

  test("costs reads for those who are there, not for all who ever were", async () => {
    const watcher = new Watcher();
    for (let i = 0; i < 50; i++) {
      await watcher.renew(`short-${i}`);
      await watcher.look(LIST_MS);
      if (i % 2 === 0) await watcher.store.delete(nodeKey(`short-${i}`));
    }
    await watcher.look(TTL_MS + 2 * LIST_MS);
    await watcher.renew("long");
    await watcher.look(LIST_MS);
    watcher.taken();
    await watcher.look(LOOK_MS);
    expect(watcher.taken().gets).toEqual(["long"]);
    expect(await keysOf(watcher.store, NODE_PREFIX)).toEqual([nodeKey("long")]);
    expect(watcher.peers.sessions).toEqual(["long"]);
  });
});

describe("the dead", () => {
  test("are declared so, which their holder can no longer undo, and then their leases go", async () => {
    const watcher = new Watcher();
    await watcher.renew("a");
    const states: string[] = [];
    watcher.hooks = {
      put: (_key, next, body) => {
        states.push(parseLease(body)?.state ?? "unreadable");
        return next();
      },
    };
    await watcher.look(TTL_MS);
    expect(states).toEqual([]);
    await watcher.look(2 * LOOK_MS);
    expect(states).toEqual(["dead"]);
    expect(await keysOf(watcher.store, NODE_PREFIX)).toEqual([]);
    await watcher.look(LOOK_MS);
    expect(watcher.peers.sessions).toEqual([]);
  });

  test("whose burial came to nothing, or only half way, are buried by the next look, be it another node's", async () => {
    const watcher = new Watcher();
    await watcher.renew("a");
    watcher.hooks = { put: unclear };
    await watcher.look(2 * TTL_MS);
    expect(await keysOf(watcher.store, NODE_PREFIX)).toEqual([nodeKey("a")]);
    watcher.hooks = { delete: async () => "unknown" };
    await watcher.look(3 * LOOK_MS);
    const tombstone = (await watcher.store.get(nodeKey("a"))) as StoredObject;
    expect(parseLease(tombstone.body)?.state).toBe("dead");
    // Who has declared it dead may die before the lease has gone.
    const second = new Watcher("other");
    await second.write("a", tombstone.body);
    await second.look(LOOK_MS);
    expect(await keysOf(second.store, NODE_PREFIX)).toEqual([]);
  });

  test("that renew in the last moment live on", async () => {
    const watcher = new Watcher();
    await watcher.renew("a");
    let renewed = false;
    watcher.hooks = {
      put: async (_key, next) => {
        if (!renewed) await watcher.renew("a");
        renewed = true;
        return next();
      },
    };
    await watcher.look(TTL_MS + 2 * LOOK_MS);
    expect(renewed).toBe(true);
    expect(watcher.living).toEqual(["a"]);
    expect(await keysOf(watcher.store, NODE_PREFIX)).toEqual([nodeKey("a")]);
  });

  test("are not those whose lease is of another version: they live as long as it changes", async () => {
    const watcher = new Watcher();
    for (let i = 0; i < 20; i++) {
      await watcher.write("newer", encodeDocument("postern-node/2", { round: i }));
      await watcher.look(TTL_MS / 2);
    }
    expect(watcher.peers.lives("newer")).toBe(true);
    expect(await keysOf(watcher.store, NODE_PREFIX)).toEqual([nodeKey("newer")]);
  });
});

describe("meeting", () => {
  test("shows a node that came after the last list, and reads no other", async () => {
    const watcher = new Watcher();
    await watcher.renew("a");
    await watcher.look(LOOK_MS);
    watcher.taken();
    await watcher.renew("new");
    const met = watcher.watch.meet();
    await watcher.clock.pass(LOOK_MS);
    await met;
    expect(watcher.living).toEqual(["a", "new"]);
    expect(watcher.taken()).toEqual({ lists: 1, gets: ["new"] });
  });

  test("shows a node that came while another meeting was on its way", async () => {
    const watcher = new Watcher();
    let answer = (): void => {};
    watcher.hooks = {
      list: async (_prefix, next) => {
        const listed = await next();
        await new Promise<void>((go) => {
          answer = go;
        });
        return listed;
      },
    };
    const first = watcher.watch.meet();
    await quiet();
    await watcher.renew("new");
    const second = watcher.watch.meet();
    answer();
    await first;
    expect(watcher.living).toEqual([]);
    await watcher.clock.pass(LOOK_MS);
    answer();
    await second;
    expect(watcher.living).toEqual(["new"]);
  });

  test("costs a list for each look at most, however many ask for it", async () => {
    const watcher = new Watcher();
    for (let i = 0; i < 10; i++) await watcher.renew(`n${i}`);
    await watcher.look(LOOK_MS);
    watcher.taken();
    let met = 0;
    const asking = Array.from({ length: 100 }, async () => {
      for (let i = 0; i < 30; i++) await watcher.watch.meet();
      met++;
    });
    await watcher.clock.pass(3 * LOOK_MS);
    expect([met, watcher.taken()]).toEqual([0, { lists: 3, gets: [] }]);
    await watcher.clock.pass(30 * LOOK_MS);
    await Promise.all(asking);
    expect(met).toBe(100);
  });

  test("costs no more where the store does not answer", async () => {
    const watcher = new Watcher();
    watcher.hooks = { list: async () => SILENT };
    const asking = (async () => {
      for (let i = 0; i < 20; i++) await watcher.watch.meet();
    })();
    await watcher.clock.pass(5 * LOOK_MS);
    expect(watcher.taken().lists).toBeLessThanOrEqual(6);
    await watcher.clock.pass(20 * LOOK_MS);
    await asking;
  });
});
