import { describe, expect, test } from "vitest";
import { logKey } from "../../src/cluster/format.ts";
import {
  CHECKPOINT_HANDOVER_SLOTS,
  COMMIT_BYTES_MAX,
  COMMIT_ENTRIES_MAX,
  COMMIT_WINDOW_MAX,
} from "../../src/limits.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Barrier, intercept, SILENT, unclear } from "../store/intercept.ts";
import {
  groupSizes,
  Incarnation,
  numbered,
  opened,
  ownership,
  quiet,
  recovered,
  SHARD,
  SMALL,
  slots,
} from "./harness.ts";

/** The slot of the first owner's first entries: its seal is in slot 1. */
const FIRST = 1 + COMMIT_WINDOW_MAX;

const isLogKey = (key: string): boolean => key.startsWith("log/");

/** A store whose log puts can be held once the shard is open. */
async function openedBehindBarrier() {
  const store = memoryStore();
  let armed = false;
  const barrier = new Barrier(store, (key) => armed && isLogKey(key));
  const node = await opened(barrier.store);
  armed = true;
  return { store, barrier, node };
}

describe("appending", () => {
  test("keeps the order, one call after the other or all at once", async () => {
    const store = memoryStore();
    const node = await opened(store);
    await node.appendEach(...numbered("a", 5));
    const all = numbered("b", 50);
    expect(new Set(await Promise.all(all.map((entry) => node.append(entry))))).toEqual(new Set([undefined]));
    expect(await recovered(store)).toEqual([...numbered("a", 5), ...all]);
  });

  test("in the very step in which the entry before became durable is not forgotten", async () => {
    const node = await opened(memoryStore());
    const first = node.log.append('"1"');
    // The shortest possible continuation of the first append.
    const second = first.then(() => node.log.append('"2"'));
    expect(await second).toBeUndefined();
    expect(node.log.seq).toBe(FIRST + 1);
  });

  test("answers nothing before the put is done, and in order after it", async () => {
    const { barrier, node } = await openedBehindBarrier();
    const answered: number[] = [];
    const appends = numbered("a", 3).map(async (entry, i) => {
      await node.append(entry);
      answered.push(i);
    });
    await quiet();
    expect(barrier.held).toBe(1);
    expect(answered).toEqual([]);
    barrier.open();
    await Promise.all(appends);
    expect(answered).toEqual([0, 1, 2]);
  });

  test("gathers what comes while one put is in flight into the next one", async () => {
    const { store, barrier, node } = await openedBehindBarrier();
    const appends = [node.append('"first"')];
    await quiet();
    appends.push(...numbered("later", 100).map((entry) => node.append(entry)));
    barrier.open();
    await Promise.all(appends);
    expect(await groupSizes(store)).toEqual([1, 100]);
  });

  test("gathers what comes while it breathes", async () => {
    const store = memoryStore();
    const node = await opened(store, { breathe: quiet });
    const first = node.append('"1"');
    const second = Promise.resolve().then(() => node.append('"2"'));
    await Promise.all([first, second]);
    expect((await slots(store)).get(FIRST)?.lines).toEqual(['"1"', '"2"']);
  });

  test("cuts a commit at its bound of entries", async () => {
    const store = memoryStore();
    const node = await opened(store);
    const entries = numbered("e", COMMIT_ENTRIES_MAX * 2 + 1);
    await Promise.all(entries.map((entry) => node.append(entry)));
    expect(await groupSizes(store)).toEqual([COMMIT_ENTRIES_MAX, COMMIT_ENTRIES_MAX, 1]);
    expect(await recovered(store)).toEqual(entries);
  });

  test("cuts a commit at its bound of bytes; one entry alone may be larger", async () => {
    const store = memoryStore();
    const node = await opened(store);
    const half = JSON.stringify("h".repeat(COMMIT_BYTES_MAX / 2));
    const large = JSON.stringify("l".repeat(COMMIT_BYTES_MAX));
    await Promise.all([half, '"small"', half, large].map((entry) => node.append(entry)));
    expect(await groupSizes(store)).toEqual([2, 1, 1]);
  });

  test("settled waits for all that was appended before, and for nothing else", async () => {
    const { barrier, node } = await openedBehindBarrier();
    expect(await node.log.settled()).toBeUndefined();
    let settled = false;
    const append = node.append('"1"');
    const waiting = node.log.settled().then(() => (settled = true));
    await quiet();
    expect(settled).toBe(false);
    barrier.letOne();
    await waiting;
    expect(await append).toBeUndefined();
    void node.append('"2"');
  });

  test("each object is written once, under a nonce of its own", async () => {
    const store = memoryStore();
    const node = await opened(store);
    await node.appendEach(...numbered("a", 20));
    const nonces = [...(await slots(store)).values()].map(({ header }) => header.nonce);
    expect(new Set(nonces).size).toBe(nonces.length);
  });
});

describe("fencing", () => {
  test("whoever opens the log after me ends mine: my next entry is refused and is nowhere", async () => {
    const store = memoryStore();
    const old = await opened(store);
    await old.appendEach('"before"');
    const young = await opened(store);
    const answers = await Promise.all(['"lost 1"', '"lost 2"'].map((entry) => old.append(entry)));
    expect(answers).toMatchObject([{ code: "not_leader" }, { code: "not_leader" }]);
    expect(await old.append('"lost 3"')).toMatchObject({ code: "not_leader" });
    expect(await old.log.settled()).toMatchObject({ code: "not_leader" });
    expect(old.stepDowns).toMatchObject([{ code: "not_leader" }]);
    expect(old.log.ended).toBe(old.stepDowns[0]);
    await young.appendEach('"after"');
    expect(young.stepDowns).toEqual([]);
    expect(await recovered(store)).toEqual(['"before"', '"after"']);
  });

  test("an entry that was in flight when the next owner came is in its history, or refused", async () => {
    for (const delivered of ["before the seal", "after the seal"] as const) {
      const { store, barrier, node } = await openedBehindBarrier();
      const append = node.append('"in flight"');
      await quiet();
      if (delivered === "before the seal") barrier.open();
      const refusal = delivered === "before the seal" ? await append : undefined;
      const next = await opened(store);
      barrier.open();
      const acknowledged = (refusal ?? (await append)) === undefined;
      expect(acknowledged).toBe(delivered === "before the seal");
      expect(await next.entries()).toEqual(acknowledged ? ['"in flight"'] : []);
    }
  });

  test("every owner in turn fences the one before", async () => {
    const store = memoryStore();
    const owners: Incarnation[] = [];
    for (let i = 0; i < 10; i++) {
      owners.push(await opened(store));
      await owners.at(-1)?.appendEach(`"${i}"`);
    }
    const answers = await Promise.all(owners.map((owner) => owner.append('"late"')));
    expect(answers.map((answer) => answer?.code)).toEqual([
      ...Array<string>(9).fill("not_leader"),
      undefined,
    ]);
    expect(await recovered(store)).toEqual([...Array.from({ length: 10 }, (_, i) => `"${i}"`), '"late"']);
  });

  test("seals tell the epochs apart, and leave room for what their predecessors had in flight", async () => {
    const store = memoryStore();
    for (let i = 0; i < 3; i++) await opened(store);
    const seals = [...(await slots(store))].map(([seq, { header }]) => ({ seq, header }));
    expect(seals).toMatchObject([
      { seq: 1, header: { kind: "seal", epoch: 1, resume: 1 + COMMIT_WINDOW_MAX } },
      { seq: 1 + COMMIT_WINDOW_MAX, header: { kind: "seal", epoch: 2, resume: 1 + 2 * COMMIT_WINDOW_MAX } },
      {
        seq: 1 + 2 * COMMIT_WINDOW_MAX,
        header: { kind: "seal", epoch: 3, resume: 1 + 3 * COMMIT_WINDOW_MAX },
      },
    ]);
  });
});

describe("a store that does not answer", () => {
  test("leaves what was in flight unknown, refuses what waited, and ends the log once", async () => {
    const store = memoryStore();
    let cut = false;
    const node = await opened(
      intercept(store, {
        put: async (_key, next) => (cut ? unclear() : next()),
        get: async (_key, next) => (cut ? SILENT : next()),
      }),
    );
    await node.appendEach('"before"');
    cut = true;
    const inFlight = node.append('"in flight"');
    await quiet();
    const waiting = node.append('"waiting"');
    const [first, second] = await Promise.all([inFlight, waiting]);
    expect(first).toMatchObject({ code: "outcome_unknown" });
    expect(second?.code).toBe("store_unavailable");
    expect(await node.append('"later"')).toMatchObject({ code: "store_unavailable" });
    expect(node.stepDowns).toMatchObject([{ code: "store_unavailable" }]);
    expect(await recovered(store)).toEqual(['"before"']);
  });

  test("while a checkpoint was asked for: what it refuses is in no checkpoint", async () => {
    const store = memoryStore();
    let cut = false;
    const held: (() => void)[] = [];
    const node = await opened(
      intercept(store, {
        put: async (key, next) => (cut && isLogKey(key) ? unclear() : next()),
        get: async (key, next) => (cut && isLogKey(key) ? SILENT : next()),
        delete: async (_key, next) => {
          await new Promise<void>((go) => held.push(go));
          return next();
        },
      }),
      SMALL,
    );
    await node.appendEach(...numbered("a", 3 + CHECKPOINT_HANDOVER_SLOTS));
    await quiet();
    expect(held).toHaveLength(1);
    // Waits for the sweep of the last checkpoint.
    const asked = node.log.checkpoint();
    cut = true;
    const unknown = node.append('"unknown"');
    await quiet();
    expect(await node.append('"refused"')).toMatchObject({ code: "store_unavailable" });
    expect(await unknown).toMatchObject({ code: "outcome_unknown" });
    cut = false;
    while (held.length > 0) {
      for (const go of held.splice(0)) go();
      await quiet();
    }
    await asked;
    expect(await recovered(store)).toEqual(numbered("a", 3 + CHECKPOINT_HANDOVER_SLOTS));
  });

  test("an unclear put that was applied counts once, also when it is sent twice", async () => {
    const store = memoryStore();
    let puts = 0;
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          const put = await next();
          return isLogKey(key) && puts++ % 2 === 0 ? unclear() : put;
        },
      }),
    );
    await node.appendEach(...numbered("a", 10));
    expect(await recovered(store)).toEqual(numbered("a", 10));
  });

  test("a put that arrives after the next owner's seal changes nothing", async () => {
    const store = memoryStore();
    const late: (() => Promise<unknown>)[] = [];
    let cut = false;
    const node = await opened(
      intercept(store, {
        put: async (_key, next) => {
          if (!cut) return next();
          late.push(next);
          return unclear();
        },
      }),
    );
    cut = true;
    expect(await node.append('"late"')).toMatchObject({ code: "outcome_unknown" });
    const next = await opened(store);
    for (const deliver of late) expect(await deliver()).toEqual({ outcome: "conflict" });
    await next.appendEach('"after"');
    expect(await recovered(store)).toEqual(['"after"']);
    expect((await slots(store)).get(FIRST)?.header.kind).toBe("seal");
    expect(logKey(SHARD, FIRST)).toBe("log/007/00000000000000000005");
  });
});

describe("confirming that no other node leads", () => {
  /** A log whose lease says what the test wants, and how often its ownership was read. */
  async function leased() {
    const store = memoryStore();
    const lease = { isValid: true, reads: 0 };
    const counting = intercept(store, {
      get: (key, next) => {
        if (key.startsWith("own/")) lease.reads++;
        return next();
      },
    });
    const node = await opened(counting, { leaseIsValid: () => lease.isValid });
    lease.reads = 0;
    return { store, lease, node };
  }

  test("costs no read while the lease is valid", async () => {
    const { lease, node } = await leased();
    expect(await node.log.confirm()).toBeUndefined();
    expect(lease.reads).toBe(0);
  });

  test("reads the ownership once it is not, and that is enough as long as nobody took the shard", async () => {
    const { lease, node } = await leased();
    lease.isValid = false;
    expect(await node.log.confirm()).toBeUndefined();
    expect(lease.reads).toBe(1);
    await node.appendEach('"still mine"');
  });

  test("finds out who was deposed, and ends the log", async () => {
    const { store, lease, node } = await leased();
    await opened(store);
    lease.isValid = false;
    expect(await node.log.confirm()).toMatchObject({ code: "not_leader" });
    expect(node.stepDowns).toMatchObject([{ code: "not_leader" }]);
    expect(await node.append('"late"')).toMatchObject({ code: "not_leader" });
    lease.isValid = true;
    expect(await node.log.confirm()).toMatchObject({ code: "not_leader" });
    expect(node.stepDowns).toHaveLength(1);
  });

  test("is refused where the store does not say, and the log goes on", async () => {
    const store = memoryStore();
    let silent = false;
    const node = await opened(intercept(store, { get: async (_key, next) => (silent ? SILENT : next()) }), {
      leaseIsValid: () => false,
    });
    silent = true;
    expect(await node.log.confirm()).toBe(SILENT);
    expect(node.log.ended).toBeUndefined();
    silent = false;
    expect(await node.log.confirm()).toBeUndefined();
  });

  test("a checkpoint of its own is no other owner", async () => {
    const store = memoryStore();
    const node = await opened(store, { checkpointLogBytesMin: 1, leaseIsValid: () => false });
    await node.appendQuietly(...numbered("a", 3));
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect(await node.log.confirm()).toBeUndefined();
  });
});

describe("a hand-over", () => {
  test("names nobody only when all that was appended is durable; what comes meanwhile is refused and nowhere", async () => {
    const { store, barrier, node } = await openedBehindBarrier();
    const first = node.append('"in flight"');
    await quiet();
    const second = node.append('"waits"');
    const given = node.log.handOver();
    expect(await node.append('"too late"')).toMatchObject({ code: "not_leader" });
    await quiet();
    expect((await ownership(store)).session).not.toBeNull();
    barrier.letOne();
    expect(await first).toBeUndefined();
    await quiet();
    expect((await ownership(store)).session).not.toBeNull();
    barrier.open();
    expect(await second).toBeUndefined();
    expect(await given).toBeUndefined();
    expect(await ownership(store)).toMatchObject({ epoch: 1, session: null });
    expect(node.stepDowns).toEqual([]);
    expect(await recovered(store)).toEqual(['"in flight"', '"waits"']);
  });

  test("keeps what it refuses out of a checkpoint that becomes due meanwhile", async () => {
    const store = memoryStore();
    let armed = false;
    const barrier = new Barrier(store, (key) => armed && isLogKey(key));
    const node = await opened(barrier.store, SMALL);
    armed = true;
    const first = node.append('"in flight"');
    await quiet();
    const waits = node.append('"makes it due"');
    const given = node.log.handOver();
    expect(await node.append('"refused"')).toMatchObject({ code: "not_leader" });
    barrier.open();
    expect(await Promise.all([first, waits, given])).toEqual([undefined, undefined, undefined]);
    expect(await recovered(store)).toEqual(['"in flight"', '"makes it due"']);
  });

  test("during a checkpoint that was asked for waits for it, and none is begun afterwards", async () => {
    const store = memoryStore();
    let hold = false;
    const held: (() => void)[] = [];
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          if (hold && key.startsWith("ckpt/")) await new Promise<void>((go) => held.push(go));
          return next();
        },
      }),
      SMALL,
    );
    hold = true;
    await node.appendEach(...numbered("a", 2 + CHECKPOINT_HANDOVER_SLOTS));
    await quiet();
    expect(held.length).toBeGreaterThan(0);
    const asked = node.log.checkpoint();
    const given = node.log.handOver();
    expect(await node.append('"refused"')).toMatchObject({ code: "not_leader" });
    await quiet();
    expect((await ownership(store)).session).not.toBeNull();
    hold = false;
    for (const go of held) go();
    expect(await given).toBeUndefined();
    await asked;
    expect(await recovered(store)).toEqual(numbered("a", 2 + CHECKPOINT_HANDOVER_SLOTS));
  });

  test("ends the log also where the store does not say whether it was given up: another node may take it", async () => {
    const store = memoryStore();
    let cut = false;
    const node = await opened(intercept(store, { put: async (_key, next) => (cut ? unclear() : next()) }));
    await node.appendEach('"1"');
    cut = true;
    expect(await node.log.handOver()).toMatchObject({ code: "store_unavailable" });
    expect(await node.append('"2"')).toMatchObject({ code: "not_leader" });
    expect(await recovered(store)).toEqual(['"1"']);
  });

  test("of a log that is taken already changes nothing for its new owner", async () => {
    const store = memoryStore();
    const old = await opened(store);
    await old.appendEach('"1"');
    const young = await opened(store);
    expect(await old.log.handOver()).toMatchObject({ code: "not_leader" });
    expect((await ownership(store)).session).not.toBeNull();
    await young.appendEach('"2"');
    expect(await recovered(store)).toEqual(['"1"', '"2"']);
  });

  test("twice is one", async () => {
    const store = memoryStore();
    const node = await opened(store);
    const [first, second] = await Promise.all([node.log.handOver(), node.log.handOver()]);
    expect([first, second?.code]).toEqual([undefined, "not_leader"]);
    expect(await ownership(store)).toMatchObject({ epoch: 1, session: null });
  });
});
