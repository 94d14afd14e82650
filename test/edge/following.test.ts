/** What an edge node knows, and when a request waits for it: clock and store in the test's hands. */
import { describe, expect, it } from "vitest";
import { turnsHere } from "../../src/dispatch/turns.ts";
import { Following } from "../../src/edge/following.ts";
import { isRefusal } from "../../src/errors.ts";
import { Follower } from "../../src/follow.ts";
import { StoredHandlers } from "../../src/handlers.ts";
import {
  CHANGES_POLL_MS,
  EDGE_KNOWLEDGE_MS_MAX,
  EDGE_LOOK_MS_MAX,
  EDGE_PATIENCE_MS,
  FULL_PASS_MS,
  STALENESS_MS_MAX,
} from "../../src/limits.ts";
import { Quarantine } from "../../src/quarantine.ts";
import { revoke } from "../../src/revoke.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { openWith, TenantDirectory } from "../../src/tenants.ts";
import { type Hooks, intercept, SILENT, UNCLEAR } from "../store/intercept.ts";
import { MASTER, must, random } from "../support/gate.ts";
import { publishTenant } from "../support/tenant.ts";

const NOW_MS = 1_800_000_000_000;

/** An isolate that serves `demo`, of a store that another tenant uses, too. */
class Isolate {
  now_ms = 0;
  hooks: Hooks = {};
  readonly reads: string[] = [];
  readonly following: Following;
  /** Ends the sleeps under way. */
  readonly #sleepers: (() => void)[] = [];
  readonly kept: Promise<void>[] = [];

  constructor(store: Store) {
    const hooked = intercept(store, {
      get: (key, next) => {
        this.reads.push(key);
        return this.hooks.get === undefined ? next() : this.hooks.get(key, next);
      },
      list: (prefix, next) => {
        this.reads.push(`${prefix}*`);
        return next();
      },
    });
    const now_ms = (): number => this.now_ms;
    const sleep = (): Promise<void> => new Promise((resolve) => this.#sleepers.push(resolve));
    this.following = new Following({
      now_ms,
      sleep,
      follower: () => {
        const quarantine = new Quarantine();
        return new Follower({
          store: hooked,
          quarantine,
          directory: new TenantDirectory({
            store: hooked,
            openKeys: openWith(MASTER),
            handlers: new StoredHandlers(hooked, turnsHere),
            quarantine,
            only: ["demo"],
          }),
          now_ms,
          wall_ms: () => NOW_MS + this.now_ms,
          sleep,
          problem: () => {},
        });
      },
    });
  }

  /** A request comes. @returns when it goes on */
  request(): Promise<void> {
    return this.following.refresh("demo", (work) => this.kept.push(work));
  }

  /** Lets so much time pass for those who wait. */
  async pass(ms: number): Promise<void> {
    this.now_ms += ms;
    for (const wake of this.#sleepers.splice(0)) wake();
    await new Promise(setImmediate);
  }

  get knows(): string {
    const tenant = this.following.tenant("demo");
    return isRefusal(tenant) ? tenant.code : `${tenant.revoked.size} revoked`;
  }
}

async function isolate(): Promise<{ store: Store; node: Isolate }> {
  const store = memoryStore();
  for (const tenant of ["demo", "other"]) await publishTenant(store, tenant);
  const node = new Isolate(store);
  await node.request();
  node.reads.length = 0;
  return { store, node };
}

let kids = 0;
const revokeOne = async (store: Store, tenant = "demo"): Promise<void> => {
  const entry = { kind: "kid", value: String(++kids), at: "2026-01-31T12:00:00Z" } as const;
  must(await revoke(store, tenant, entry, { now_ms: NOW_MS, random }));
};

describe("requests", () => {
  it("the first waits until all is known; nothing is listed, and no other tenant is read", async () => {
    const store = memoryStore();
    for (const tenant of ["demo", "other"]) await publishTenant(store, tenant);
    const node = new Isolate(store);
    expect(node.knows).not.toBe("0 revoked");
    await node.request();
    expect(node.knows).toBe("0 revoked");
    expect(node.reads.filter((key) => /other|\*/.test(key))).toEqual([]);
  });

  it("of one second cost the store nothing", async () => {
    const { node } = await isolate();
    node.now_ms += CHANGES_POLL_MS - 1;
    await Promise.all(Array.from({ length: 50 }, () => node.request()));
    expect(node.reads).toEqual([]);
  });

  it("a second later begin one look, and do not wait for it", async () => {
    const { store, node } = await isolate();
    await revokeOne(store);
    node.now_ms += CHANGES_POLL_MS;
    const answered = Array.from({ length: 50 }, () => node.request());
    await Promise.all(answered);
    expect(node.kept).toHaveLength(2);
    await node.kept[1];
    expect(node.reads.filter((key) => key === "changes")).toHaveLength(1);
    expect(node.knows).toBe("1 revoked");
  });

  it("later still wait for it, all for the same", async () => {
    const { store, node } = await isolate();
    await revokeOne(store);
    node.now_ms += EDGE_KNOWLEDGE_MS_MAX;
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        await node.request();
        expect(node.knows).toBe("1 revoked");
      }),
    );
    expect(node.reads.filter((key) => key === "changes")).toHaveLength(1);
  });

  it("do not take a look for news that was sent too long before them", async () => {
    const { store, node } = await isolate();
    const held = Promise.withResolvers<void>();
    node.hooks = {
      get: async (_key, next) => {
        const found = await next();
        await held.promise;
        return found;
      },
    };
    node.now_ms += CHANGES_POLL_MS;
    await node.request();
    // What is asked now has the old answer on its way.
    await new Promise(setImmediate);
    await revokeOne(store);
    node.now_ms += EDGE_KNOWLEDGE_MS_MAX;
    const request = node.request();
    node.hooks = {};
    held.resolve();
    await request;
    expect(node.knows).toBe("1 revoked");
  });

  it("find what a writer has not told anybody, because everything is read anew in time", async () => {
    const { store, node } = await isolate();
    const silent = intercept(store, {
      put: (key, next) => (key === "changes" ? Promise.resolve(UNCLEAR) : next()),
    });
    const entry = { kind: "kid", value: "99", at: "2026-01-31T12:00:00Z" } as const;
    await revoke(silent, "demo", entry, { now_ms: NOW_MS, random });
    node.now_ms += FULL_PASS_MS;
    await node.request();
    expect(node.knows).toBe("1 revoked");
  });
});

describe("a store that does not answer", () => {
  it("holds a request up for so long and no longer, and what is known counts for 30 s", async () => {
    const { node } = await isolate();
    node.hooks = { get: () => new Promise(() => {}) };
    node.now_ms += EDGE_KNOWLEDGE_MS_MAX;
    const request = node.request();
    await node.pass(EDGE_PATIENCE_MS);
    await request;
    expect(node.knows).toBe("0 revoked");
    node.now_ms = STALENESS_MS_MAX + 1;
    expect(node.knows).toBe("store_unavailable");
  });

  it("is asked once a second where it refuses, not by every request", async () => {
    const { node } = await isolate();
    node.hooks = { get: async () => SILENT };
    for (let second = 2; second < 40; second++) {
      node.now_ms = second * 1000;
      for (let i = 0; i < 10; i++) await node.request();
      await new Promise(setImmediate);
    }
    expect(node.reads.filter((key) => key === "changes").length).toBeLessThan(40);
    expect(node.knows).toBe("store_unavailable");
    node.hooks = {};
    node.now_ms += 1000;
    await node.request();
    expect(node.knows).toBe("0 revoked");
  });

  it("and a look that was cut off with its request is given up: all is read anew", async () => {
    const { store, node } = await isolate();
    node.hooks = { get: () => new Promise(() => {}) };
    node.now_ms += EDGE_KNOWLEDGE_MS_MAX;
    void node.request();
    await revokeOne(store);
    node.hooks = {};
    // What it has read so far never comes to an end, and who comes meanwhile waits in vain.
    const waiting = node.request();
    await node.pass(EDGE_PATIENCE_MS);
    await waiting;
    node.now_ms += EDGE_LOOK_MS_MAX;
    await node.request();
    expect(node.knows).toBe("1 revoked");
  });
});
