/** What a node knows, and by when: looks counted, clock and store in the test's hands. */
import { beforeEach, describe, expect, it } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { CHANGES_KEY } from "../src/changes.ts";
import { turnsHere } from "../src/dispatch/turns.ts";
import { isRefusal } from "../src/errors.ts";
import { Follower } from "../src/follow.ts";
import { StoredHandlers } from "../src/handlers.ts";
import {
  CHANGES_KEPT_MAX,
  CHANGES_POLL_MS,
  FULL_PASS_MS,
  STALENESS_MS_MAX,
  TURN_FUEL_MAX,
} from "../src/limits.ts";
import { policyKey } from "../src/publish.ts";
import { Quarantine } from "../src/quarantine.ts";
import { revoke } from "../src/revoke.ts";
import { changeKeyring } from "../src/rotate.ts";
import type { Store, StoredObject } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { openWith, readKeyring, TenantDirectory } from "../src/tenants.ts";
import { activeKey, keyringKey, retireKey, rotateKeyring, verifyingKey } from "../src/token/keyring.ts";
import { pageKey, type Revocation } from "../src/token/revocation.ts";
import { appendRevocation } from "../src/token/revocation-feed.ts";
import { TURN } from "./dispatch/guests.ts";
import { type Hooks, intercept, SILENT } from "./store/intercept.ts";
import { MASTER, must, random } from "./support/gate.ts";
import { publishTenant } from "./support/tenant.ts";

const NOW_MS = 1_800_000_000_000;

const entry = (kid: number): Revocation => ({ kind: "kid", value: String(kid), at: "2026-01-31T12:00:00Z" });
const revokeKid = async (store: Store, tenant: string, kid: number): Promise<boolean> =>
  must(await revoke(store, tenant, entry(kid), { now_ms: NOW_MS, random }));

/** A follower whose clock stands still unless the test moves it; the store's hooks may change under way. */
class Node {
  now_ms = 0;
  hooks: Hooks = {};
  readonly problems: string[] = [];
  readonly reads: string[] = [];
  readonly follower: Follower;
  /** Resolves the sleep under way, once the clock is there. */
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(store: Store) {
    const hooked = intercept(store, {
      get: (key, next) => {
        this.reads.push(key);
        return this.hooks.get === undefined ? next() : this.hooks.get(key, next);
      },
      list: (prefix, next) => {
        this.reads.push(`${prefix}*`);
        return this.hooks.list === undefined ? next() : this.hooks.list(prefix, next);
      },
    });
    const quarantine = new Quarantine();
    this.follower = new Follower({
      store: hooked,
      directory: new TenantDirectory({
        store: hooked,
        openKeys: openWith(MASTER),
        handlers: new StoredHandlers(hooked, turnsHere),
        quarantine,
      }),
      quarantine,
      now_ms: () => this.now_ms,
      wall_ms: () => NOW_MS + this.now_ms,
      sleep: (ms) => {
        expect(ms).toBe(CHANGES_POLL_MS);
        return new Promise((resolve) => {
          this.#wake = resolve;
        });
      },
      problem: (detail) => this.problems.push(detail),
    });
  }

  async look(): Promise<void> {
    await this.follower.look();
    await this.follower.settled();
  }

  /** Lets one second pass for the loop, and everything happen that then can happen without time. */
  async second(): Promise<void> {
    this.now_ms += CHANGES_POLL_MS;
    this.#wake?.();
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  }

  run(): void {
    void this.follower.run(() => this.#ended);
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  knows(tenant: string, kid: number): boolean {
    const found = this.follower.tenant(tenant);
    return !isRefusal(found) && found.revoked.covers(entry(kid));
  }

  codeFor(tenant: string): string {
    const found = this.follower.tenant(tenant);
    return isRefusal(found) ? found.code : "served";
  }
}

let store: Store;
let node: Node;
beforeEach(async () => {
  store = memoryStore();
  await publishTenant(store, "demo");
  await publishTenant(store, "other");
  node = new Node(store);
  expect(await node.follower.start()).toEqual([]);
  node.reads.length = 0;
});

describe("one look", () => {
  it("is one read where nothing changed", async () => {
    for (let looks = 0; looks < 3; looks++) await node.look();
    expect(node.reads).toEqual([CHANGES_KEY, CHANGES_KEY, CHANGES_KEY]);
  });

  it("brings what was published, rotated, retired, revoked, and reads that tenant only", async () => {
    const actor = () => must(node.follower.tenant("demo")).actors.get("thing");
    const reply = async () =>
      actor()?.run?.({ ...TURN, message: "go" }, { fuel: TURN_FUEL_MAX, deadline_ms: Infinity });
    const keyring = () => must(node.follower.tenant("demo")).keyring;
    expect(await reply()).toMatchObject({ reply: 1 });
    const changes: [() => Promise<unknown>, () => void | Promise<void>][] = [
      [
        () => publishTenant(store, "demo", { holder: "required" }),
        () => expect(must(node.follower.tenant("demo")).holder).toBe("required"),
      ],
      [
        () => publishTenant(store, "demo", { reply: 2 }),
        async () => expect(await reply()).toMatchObject({ reply: 2 }),
      ],
      [
        () => changeKeyring(store, "demo", MASTER, (ring) => rotateKeyring(ring, random), random),
        () =>
          expect([activeKey(keyring())?.kid, verifyingKey(keyring(), 1)?.state]).toEqual([2, "verify-only"]),
      ],
      [
        () => changeKeyring(store, "demo", MASTER, (ring) => retireKey(ring, 1), random),
        () => expect(verifyingKey(keyring(), 1)).toBeUndefined(),
      ],
      [() => revokeKid(store, "demo", 2), () => expect(node.knows("demo", 2)).toBe(true)],
    ];
    for (const [change, holds] of changes) {
      await change();
      await expect((async () => holds())()).rejects.toThrow();
      node.reads.length = 0;
      await node.look();
      await holds();
      expect(node.reads.filter((key) => key.includes("other") || key.includes("*"))).toEqual([]);
    }
    expect(node.problems).toEqual([]);
  });

  it("brings a tenant that was not there before", async () => {
    expect(node.codeFor("later")).toBe("no_such_tenant");
    await publishTenant(store, "later");
    await node.look();
    expect(node.codeFor("later")).toBe("served");
  });

  it("marks everything as unread where it cannot be told what changed, and the next pass reads it", async () => {
    for (let i = 0; i <= CHANGES_KEPT_MAX; i++) await revokeKid(store, "demo", 1);
    await publishTenant(store, "later");
    node.run();
    await node.second();
    expect(node.knows("demo", 1)).toBe(true);
    expect(node.codeFor("later")).toBe("served");
    node.end();
  });
});

describe("in force within 2 s", () => {
  it("because the loop looks once a second, and what a look finds waits for nothing else", async () => {
    node.run();
    for (let kid = 1; kid <= 3; kid++) {
      await revokeKid(store, "demo", kid);
      expect(node.knows("demo", kid)).toBe(false);
      node.reads.length = 0;
      await node.second();
      expect(node.reads.filter((key) => key === CHANGES_KEY)).toHaveLength(1);
      expect(node.knows("demo", kid)).toBe(true);
    }
    node.end();
    await node.second();
    node.reads.length = 0;
    await node.second();
    expect(node.reads).toEqual([]);
  });

  it("also while the reading of all tenants hangs", async () => {
    node.hooks = { list: () => new Promise(() => {}) };
    node.now_ms += FULL_PASS_MS;
    node.run();
    await node.second();
    expect(node.reads).toContain("policy/*");
    await revokeKid(store, "demo", 1);
    await node.second();
    expect(node.knows("demo", 1)).toBe(true);
    node.end();
  });

  it("also where a look has failed as no look should", async () => {
    node.hooks = {
      get: () => {
        throw new Error("a bug");
      },
    };
    node.run();
    await node.second();
    node.hooks = {};
    await revokeKid(store, "demo", 1);
    await node.second();
    expect(node.knows("demo", 1)).toBe(true);
    expect(node.problems).toEqual(["Error: a bug"]);
    node.end();
  });
});

describe("a writer that died between its two writes", () => {
  it("is found out by the next pass over everything", async () => {
    must(await appendRevocation(store, "demo", entry(1), { now_ms: NOW_MS, nonce: () => "dead" }));
    node.run();
    let seconds = 0;
    for (; !node.knows("demo", 1) && seconds < 100; seconds++) await node.second();
    expect(seconds).toBe(FULL_PASS_MS / CHANGES_POLL_MS);
    node.end();
  });

  it("is mended by whoever revokes again", async () => {
    must(await appendRevocation(store, "demo", entry(1), { now_ms: NOW_MS, nonce: () => "dead" }));
    await node.look();
    expect(node.knows("demo", 1)).toBe(false);
    expect(await revokeKid(store, "demo", 1)).toBe(false);
    await node.look();
    expect(node.knows("demo", 1)).toBe(true);
  });
});

describe("one tenant's trouble", () => {
  it("does not keep others from changing: a read that hangs", async () => {
    node.hooks = {
      get: (key, next) => (key.includes("demo") ? new Promise(() => {}) : next()),
    };
    await revokeKid(store, "demo", 1);
    await node.follower.look();
    await revokeKid(store, "other", 1);
    await node.follower.look();
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    expect(node.knows("other", 1)).toBe(true);
  });

  it.each([
    ["a policy that is no policy", policyKey("demo"), utf8("{")],
    ["a key ring that does not open", keyringKey("demo"), utf8("x".repeat(60))],
  ])("leaves its last good version in place, and is said once: %s", async (_, key, body) => {
    const before = must(node.follower.tenant("demo"));
    const good = must(await store.get(key));
    await replace(store, key, body);
    await revokeKid(store, "demo", 1);
    await publishTenant(store, "other", { holder: "required" });
    for (let looks = 0; looks < 3; looks++) await node.look();
    expect(must(node.follower.tenant("demo")).actors).toBe(before.actors);
    expect(must(node.follower.tenant("other")).holder).toBe("required");
    // What does not hang on the damaged object is in force all the same.
    expect(node.knows("demo", 1)).toBe(true);
    node.now_ms += STALENESS_MS_MAX;
    await node.look();
    expect(node.codeFor("demo")).toBe("served");
    expect(node.problems).toHaveLength(1);
    await replace(store, key, good?.body ?? utf8(""));
    await node.look();
    node.reads.length = 0;
    await node.look();
    expect(node.reads).toEqual([CHANGES_KEY]);
  });

  it("that keeps its revocations from being read closes it after 30 s, and no other; and opens it when mended", async () => {
    await revokeKid(store, "demo", 1);
    await node.look();
    const page = must(await store.get(pageKey("demo", 0)));
    await replace(store, pageKey("demo", 0), utf8("x"));
    node.now_ms += CHANGES_POLL_MS;
    await noteOnly("demo");
    for (let s = 0; s < STALENESS_MS_MAX / 1000; s++) {
      await node.look();
      expect(node.codeFor("demo")).toBe("served");
      node.now_ms += CHANGES_POLL_MS;
    }
    await node.look();
    expect([node.codeFor("demo"), node.codeFor("other")]).toEqual(["store_unavailable", "served"]);
    expect(node.follower.stale()).toBeUndefined();
    await replace(store, pageKey("demo", 0), page?.body ?? utf8(""));
    await node.look();
    expect(node.codeFor("demo")).toBe("served");
  });

  it("closes it after 30 s where the reading of what changed is never answered", async () => {
    await node.look();
    node.hooks = { get: (key, next) => (key.startsWith("revoked/demo") ? new Promise(() => {}) : next()) };
    await revokeKid(store, "demo", 1);
    for (const [passed_ms, code] of [
      [STALENESS_MS_MAX, "served"],
      [1, "store_unavailable"],
    ] as const) {
      node.now_ms += passed_ms;
      await node.follower.look();
      expect([node.codeFor("demo"), node.codeFor("other")]).toEqual([code, "served"]);
    }
  });

  it.each([
    ["named by the list of changes", true],
    ["found only by the first pass", false],
  ])("does not let a tenant be served whose revocations were never read: %s", async (_, listed) => {
    if (!listed) await store.delete(CHANGES_KEY);
    const fresh = new Node(store);
    fresh.hooks = { get: async (key, next) => (key.startsWith("revoked/demo") ? SILENT : next()) };
    expect(await fresh.follower.start()).toEqual([SILENT.detail]);
    expect([fresh.codeFor("demo"), fresh.codeFor("other")]).toEqual(["store_unavailable", "served"]);
  });
});

describe("a node that cannot read the store", () => {
  it("serves for 30 s as of the last look, then refuses everything, until it can", async () => {
    await node.look();
    node.hooks = { get: async () => SILENT };
    node.now_ms += STALENESS_MS_MAX;
    await node.look();
    expect([node.follower.age_ms, node.codeFor("demo"), node.follower.stale()]).toEqual([
      STALENESS_MS_MAX,
      "served",
      undefined,
    ]);
    node.now_ms += 1;
    await node.look();
    expect(node.codeFor("demo")).toBe("store_unavailable");
    expect(node.follower.stale()?.detail).toContain("30 s what was revoked");
    expect(node.problems).toEqual([SILENT.detail]);
    node.hooks = {};
    await node.look();
    expect([node.codeFor("demo"), node.follower.age_ms]).toEqual(["served", 0]);
  });

  it("counts from when it asked, not from when it was answered", async () => {
    let answer: (() => void) | undefined;
    node.hooks = {
      get: async (_, next) => {
        const found = await next();
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return found;
      },
    };
    const look = node.follower.look();
    for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    node.now_ms += 5000;
    answer?.();
    await look;
    expect(node.follower.age_ms).toBe(5000);
  });

  it("does not take a damaged list of changes for one without changes", async () => {
    await replace(store, CHANGES_KEY, utf8("x"));
    node.now_ms += STALENESS_MS_MAX + 1;
    await node.look();
    expect(node.codeFor("demo")).toBe("store_unavailable");
    await revokeKid(store, "demo", 1);
    await node.look();
    await node.follower.pass();
    expect(node.knows("demo", 1)).toBe(true);
  });

  it("does not start to serve", async () => {
    const blind = new Node(store);
    blind.hooks = { get: async () => SILENT, list: async () => SILENT };
    expect(await blind.follower.start()).toEqual([SILENT.detail]);
    expect(blind.codeFor("demo")).toBe("no_such_tenant");
  });
});

describe("a reading that is under way when something changes", () => {
  it("is followed by another, and until then the tenant counts as unread", async () => {
    let answer: (() => void) | undefined;
    node.hooks = {
      get: async (key, next) => {
        const found: StoredObject | undefined = must(await next());
        if (key === pageKey("demo", 0) && answer === undefined)
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
        return found;
      },
    };
    // Read before the second revocation, answered after it was noticed.
    await revokeKid(store, "demo", 1);
    await node.follower.look();
    for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    await revokeKid(store, "demo", 2);
    node.now_ms += CHANGES_POLL_MS;
    await node.follower.look();
    expect(node.knows("demo", 2)).toBe(false);
    answer?.();
    await node.follower.settled();
    expect([node.knows("demo", 1), node.knows("demo", 2)]).toEqual([true, true]);
  });
});

async function replace(target: Store, key: string, body: Uint8Array): Promise<void> {
  await target.delete(key);
  expect(await target.put(key, body, { ifNoneMatch: "*" })).toMatchObject({ outcome: "done" });
}

/** A change is told of that somebody else wrote. */
async function noteOnly(tenant: string): Promise<void> {
  const ring = must(await readKeyring(store, tenant, MASTER));
  must(await changeKeyring(store, tenant, MASTER, () => ring, random));
}
