import { describe, expect, test } from "vitest";
import { decodeSlot } from "../../src/cluster/format.ts";
import { claim, readOwnership } from "../../src/cluster/ownership.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import {
  CHECKPOINT_LOG_BYTES_MIN,
  CHECKPOINT_PART_BYTES,
  CHECKPOINT_SLOT_BYTES,
  COMMIT_ENTRIES_MAX,
  COMMIT_WINDOW_MAX,
} from "../../src/limits.ts";
import type { Store, StoredObject } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Barrier, type Hooks, intercept, SILENT, unclear } from "../store/intercept.ts";
import {
  checkpointObjects,
  Incarnation,
  keysOf,
  numbered,
  opened,
  ownership,
  quiet,
  recovered,
  SHARD,
  SMALL,
  slots,
} from "./harness.ts";

async function kinds(store: Store): Promise<string[]> {
  return [...(await slots(store)).values()].map(({ header }) => header.kind);
}

describe("a checkpoint", () => {
  test("is made once the log is longer than its bound, and the history goes on behind it", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 40));
    const { checkpoint } = await ownership(store);
    expect(checkpoint?.seq).toBeGreaterThan(1);
    const next = await opened(store);
    expect(next.history.restored).toBeGreaterThan(0);
    expect(await next.entries()).toEqual(numbered("a", 40));
  });

  test("is not made before: the bound is the one of limits.ts", async () => {
    const store = memoryStore();
    const node = await opened(store);
    const quarter = JSON.stringify("q".repeat(CHECKPOINT_LOG_BYTES_MIN / 4));
    await node.appendQuietly(quarter, quarter, quarter);
    expect((await ownership(store)).checkpoint).toBeNull();
    await node.appendQuietly(quarter, quarter);
    expect((await ownership(store)).checkpoint).not.toBeNull();
  });

  test("waits until the log has grown past the last one: they cost as much as they are large", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    let checkpoints = 0;
    let last = 0;
    for (let i = 0; i < 300; i++) {
      await node.appendQuietly(JSON.stringify(`${i} ${"x".repeat(2000)}`));
      const seq = (await ownership(store)).checkpoint?.seq ?? 0;
      if (seq !== last) checkpoints++;
      last = seq;
    }
    expect(checkpoints).toBeGreaterThan(2);
    expect(checkpoints).toBeLessThan(50);
  });

  test("deletes the data it holds; the seals stay", async () => {
    const store = memoryStore();
    for (let i = 0; i < 4; i++) {
      const node = await opened(store, SMALL);
      await node.appendQuietly(...numbered(`n${i}-`, 20));
    }
    await expectSwept(store);
    expect((await kinds(store)).filter((kind) => kind === "seal")).toHaveLength(4);
  });

  test("deletes the parts of the one before", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 200));
    await expectSwept(store);
    expect(await recovered(store)).toEqual(numbered("a", 200));
  });

  test("larger than a part is written in several", async () => {
    const store = memoryStore();
    const node = await opened(store, { checkpointLogBytesMin: CHECKPOINT_PART_BYTES });
    const large = JSON.stringify("l".repeat(CHECKPOINT_PART_BYTES / 2 + 1));
    await node.appendQuietly(large, large, '"small"');
    const { keys } = await checkpointObjects(store);
    expect(keys.filter((key) => /\/0\/00000[01]$/.test(key))).toHaveLength(2);
    expect(await recovered(store)).toEqual([large, large, '"small"']);
  });

  test("taken while calls wait holds those calls, and they are not applied twice", async () => {
    const store = memoryStore();
    const node = await opened(store, { ...SMALL, breathe: quiet });
    // Entries come with every breath: a cut never empties the queue.
    const entries = numbered("e", COMMIT_ENTRIES_MAX * 3);
    const appends: Promise<unknown>[] = [];
    for (let i = 0; i < entries.length; i += 512) {
      appends.push(...entries.slice(i, i + 512).map((entry) => node.append(entry)));
      if (i % 2048 === 0) await quiet();
    }
    await Promise.all(appends);
    await node.log.idle();
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect(await recovered(store)).toEqual(entries);
  });

  test("is made also where the queue is never empty", async () => {
    const store = memoryStore();
    let checkpointed = false;
    const noticing = intercept(store, {
      put: (key, next) => {
        checkpointed ||= key.startsWith("ckpt/");
        return next();
      },
    });
    const node = await opened(noticing, SMALL);
    await node.log.idle();
    const entries: string[] = [];
    const appends: Promise<unknown>[] = [];
    for (let round = 0; round < 6; round++) {
      const more = numbered(`r${round}-`, COMMIT_ENTRIES_MAX + 1);
      entries.push(...more);
      const answers = more.map((entry) => node.append(entry));
      appends.push(...answers);
      // As soon as a commit is durable, more waits than the next one can take.
      await answers[0];
    }
    expect(checkpointed).toBe(true);
    await Promise.all(appends);
    await node.log.idle();
    expect(await recovered(store)).toEqual(entries);
  });

  test("does not hold up appends while it is written", async () => {
    const store = memoryStore();
    const held: (() => void)[] = [];
    let hold = true;
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          if (hold && key.startsWith("ckpt/")) await new Promise<void>((go) => held.push(go));
          return next();
        },
      }),
      SMALL,
    );
    await node.appendEach(...numbered("a", 30));
    expect(held).toHaveLength(1);
    hold = false;
    held[0]?.();
    await node.log.idle();
    const { checkpoint } = await ownership(store);
    expect(checkpoint?.seq).toBeLessThan(node.log.seq);
    expect(await recovered(store)).toEqual(numbered("a", 30));
  });
});

describe("whoever comes late, when the history is collected long ago,", () => {
  test("and still has a put on its way, finds the seal: it stays for ever", async () => {
    const store = memoryStore();
    let armed = false;
    const barrier = new Barrier(store, (key) => armed && key.startsWith("log/"));
    const zombie = await opened(barrier.store);
    await zombie.appendEach('"1"');
    armed = true;
    const late = zombie.append('"late"');
    await quiet();
    const next = await opened(store, SMALL);
    await next.appendQuietly(...numbered("a", 20));
    expect((await ownership(store)).checkpoint?.seq).toBeGreaterThan(3);
    barrier.open();
    expect(await late).toMatchObject({ code: "not_leader" });
    expect(await recovered(store)).toEqual(['"1"', ...numbered("a", 20)]);
  });

  test("and is still recovering, does not lead: its first free slot is not the end of the log", async () => {
    const store = memoryStore();
    await (await opened(store)).appendQuietly(...numbered("old", 3));
    let pass: (() => void) | undefined;
    // Pauses in its first read of a data slot.
    const paused = intercept(store, {
      get: async (key, next) => {
        if (key.endsWith("06") && pass === undefined) await new Promise<void>((go) => (pass = go));
        return next();
      },
    });
    const slow = new Incarnation().open(paused, "slow");
    await quiet();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 20));
    pass?.();
    expect(await slow).toMatchObject({ code: "not_leader" });
    await node.appendEach('"b"');
    expect(await recovered(store)).toEqual([...numbered("old", 3), ...numbered("a", 20), '"b"']);
  });
});

describe("a node that is deposed during a checkpoint", () => {
  test("steps down once, writes nothing more, and its checkpoint does not count", async () => {
    const store = memoryStore();
    let thief: Incarnation | undefined;
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          if (key.startsWith("ckpt/")) thief ??= await opened(store);
          return next();
        },
      }),
      { ...SMALL, breathe: quiet },
    );
    let refused = 0;
    for (const entry of numbered("a", 40)) if ((await node.append(entry)) !== undefined) refused++;
    await node.log.idle();
    expect(refused).toBeGreaterThan(0);
    expect(node.stepDowns).toMatchObject([{ code: "not_leader" }]);
    expect(await recovered(store)).toEqual(numbered("a", 40 - refused));
  });

  test("steps down once also when a commit is refused at the same time", async () => {
    const store = memoryStore();
    const held: (() => void)[] = [];
    let holding = false;
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          if (holding || key.startsWith("ckpt/")) {
            holding = true;
            await new Promise<void>((go) => held.push(go));
          }
          return next();
        },
      }),
      SMALL,
    );
    let appended = 0;
    while (held.length === 0) {
      await node.appendEach(`"${appended++}"`);
      await quiet();
    }
    const inFlight = node.append('"in flight"');
    await quiet();
    await opened(store);
    while (held.length > 0) {
      for (const go of held.splice(0)) go();
      await quiet();
    }
    expect(await inFlight).toMatchObject({ code: "not_leader" });
    await node.log.idle();
    expect(node.stepDowns).toHaveLength(1);
  });

  test("answers what waits in the moment it learns of it, and writes no empty commit", async () => {
    const store = memoryStore();
    const breath = { held: false, waiting: [] as (() => void)[] };
    const node = await opened(
      intercept(store, {
        put: async (key, next) => {
          if (!breath.held && key.startsWith("ckpt/")) {
            // The next commit does not get past its breath; meanwhile somebody takes the shard.
            breath.held = true;
            void node.append('"waits"').then((answer) => answers.push(answer?.code));
            const found = await readOwnership(store, SHARD);
            if (!isRefusal(found)) await claim(store, SHARD, found, "thief", "thief");
          }
          return next();
        },
      }),
      {
        ...SMALL,
        breathe: async () => {
          if (breath.held) await new Promise<void>((go) => breath.waiting.push(go));
        },
      },
    );
    const answers: (string | undefined)[] = [];
    for (let i = 0; !breath.held && i < 50; i++) {
      await node.appendEach(`"${i}"`);
      await quiet();
    }
    for (let i = 0; i < 3; i++) await quiet();
    expect(answers).toEqual(["not_leader"]);
    const before = (await slots(store)).size;
    for (const go of breath.waiting) go();
    await node.log.idle();
    expect((await slots(store)).size).toBe(before);
    expect(node.stepDowns).toHaveLength(1);
  });
});

/** Stops a node for ever at its nth store operation: before it, or after it but before the answer. */
function stoppedAt(nth: number, when: "before" | "after") {
  let count = 0;
  const at = async <T>(next: () => Promise<T>): Promise<T> => {
    const mine = count++;
    if (mine < nth) return next();
    if (mine === nth && when === "after") await next();
    return new Promise<T>(() => {});
  };
  const hooks: Hooks = {
    get: (_key, next) => at(next),
    put: (_key, next) => at(next),
    delete: (_key, next) => at(next),
    list: (_prefix, next) => at(next),
  };
  return { hooks, reached: () => count > nth, operations: () => count };
}

/** A store that knows which seals were ever written. */
function remembering(): { store: Store; seals: Set<string> } {
  const inner = memoryStore();
  const seals = new Set<string>();
  const store = intercept(inner, {
    put: async (key, next, body) => {
      const put = await next();
      const object = key.startsWith("log/") ? decodeSlot(body) : "no slot";
      if (put.outcome === "done" && typeof object !== "string" && object.header.kind === "seal")
        seals.add(key);
      return put;
    },
  });
  return { store, seals };
}

/** A life over some checkpoints and their sweeps, as far as the faults let it come. */
async function live(store: Store, window: number, acknowledged: string[]): Promise<void> {
  const slow = intercept(store, {
    put: async (_key, next) => {
      await quiet();
      return next();
    },
  });
  const node = await new Incarnation().open(slow, "mortal", { ...SMALL, window });
  if (isRefusal(node)) return;
  for (let i = 0; i < 12 && node.log.ended === undefined; i++) {
    const first = node.append(`"first ${i}"`);
    // The commit of the first is sent and not yet in the store: with a window of one this waits for it.
    for (let tick = 0; tick < 20; tick++) await Promise.resolve();
    const answers = [first, node.append(`"second ${i}"`)];
    for (const [j, name] of ["first", "second"].entries())
      if ((await answers[j]) === undefined) acknowledged.push(`"${name} ${i}"`);
    await node.log.idle();
  }
}

/** Resolves when the store has not been asked for anything for a while. */
async function still(operations: () => number): Promise<void> {
  for (let rounds = 0, seen = -1; rounds < 5; rounds++) {
    if (seen !== operations()) rounds = 0;
    seen = operations();
    await quiet();
  }
}

/** What a fault at the nth operation may leave: all that was acknowledged, and at most what was in flight. */
async function expectWhole(
  { store, seals }: ReturnType<typeof remembering>,
  acknowledged: readonly string[],
  fault: string,
): Promise<void> {
  const next = await opened(store, SMALL);
  const entries = await next.entries();
  expect(entries.slice(0, acknowledged.length), fault).toEqual(acknowledged);
  expect(entries.length - acknowledged.length, fault).toBeLessThanOrEqual(2);
  await next.appendQuietly(...numbered("b", 10));
  expect(await recovered(store), fault).toEqual([...entries, ...numbered("b", 10)]);
  await expectSwept(store);
  const keys = await keysOf(store, "log/");
  expect(
    [...seals].filter((key) => !keys.includes(key)),
    fault,
  ).toEqual([]);
}

/** Some operations from the nth on are not answered. */
function failingAt(nth: number, length: number, isDone: boolean) {
  let count = 0;
  const at = async <T>(next: () => Promise<T>, silence: () => Promise<T>): Promise<T> => {
    const mine = count++;
    if (mine < nth || mine >= nth + length) return next();
    if (isDone) await next();
    return silence();
  };
  const hooks: Hooks = {
    get: (_key, next) => at<StoredObject | undefined | Refusal>(next, async () => SILENT),
    put: (_key, next) => at(next, unclear),
    delete: (_key, next) => at<"done" | "unknown">(next, async () => "unknown"),
    list: (_prefix, next) => at<readonly string[] | Refusal>(next, async () => SILENT),
  };
  return { hooks, reached: () => count > nth };
}

describe.each([1, COMMIT_WINDOW_MAX])("with a window of %i, a crash", (window) => {
  // Operation by operation, from the opening over two checkpoints and their sweeps.
  test.each(["before", "after"] as const)(
    "%s any operation loses nothing and stays recoverable",
    async (when) => {
      let crashes = 0;
      for (let nth = 0; ; nth++) {
        const all = remembering();
        await (await opened(all.store, SMALL)).appendQuietly(...numbered("old", 3));
        const { hooks, reached, operations } = stoppedAt(nth, when);
        const acknowledged = numbered("old", 3);
        await Promise.race([live(intercept(all.store, hooks), window, acknowledged), still(operations)]);
        if (!reached()) break;
        crashes++;
        await expectWhole(all, acknowledged, `operation ${nth}`);
      }
      expect(crashes).toBeGreaterThan(50);
    },
  );
});

describe("a fault of the store", () => {
  test.each([
    ["one operation that is not done", 1, false],
    ["one operation whose answer is lost", 1, true],
    ["an outage, nothing of it is done", 15, false],
    ["an outage, all of it is done", 15, true],
  ] as const)("at any operation, %s: nothing is lost", async (_name, length, isDone) => {
    let faults = 0;
    for (let nth = 0; ; nth++) {
      const all = remembering();
      await (await opened(all.store, SMALL)).appendQuietly(...numbered("old", 3));
      const { hooks, reached } = failingAt(nth, length, isDone);
      const acknowledged = numbered("old", 3);
      await live(intercept(all.store, hooks), COMMIT_WINDOW_MAX, acknowledged);
      if (!reached()) break;
      faults++;
      await expectWhole(all, acknowledged, `operation ${nth}`);
    }
    expect(faults).toBeGreaterThan(50);
  });
});

describe("a crash", () => {
  test("in the middle of a sweep is made good by the next owner", async () => {
    const store = memoryStore();
    let deletes = 0;
    const node = await opened(
      intercept(store, {
        delete: async (_key, next) => (deletes++ < 2 ? next() : new Promise(() => {})),
      }),
      SMALL,
    );
    await node.appendEach(...numbered("a", 20));
    await quiet();
    expect(deletes).toBe(3);
    const next = await opened(store, SMALL);
    await next.log.idle();
    await expectSwept(store);
    expect(await recovered(store)).toEqual(numbered("a", 20));
  });
});

/** No data slot is left behind the checkpoint, and no part but those that its manifest names. */
async function expectSwept(store: Store): Promise<void> {
  const { checkpoint } = await ownership(store);
  const data = [...(await slots(store))].filter(([, { header }]) => header.kind !== "seal");
  expect(data.filter(([seq]) => seq <= (checkpoint?.seq ?? 0))).toEqual([]);
  const { keys } = await checkpointObjects(store);
  const prefix = `ckpt/007/${String((checkpoint?.seq ?? 0) + 1).padStart(20, "0")}`;
  expect((await keysOf(store, "ckpt/")).filter((key) => key < prefix).toSorted()).toEqual(keys);
}

describe("a sweep", () => {
  test("that could not delete a slot tries it again after the next checkpoint", async () => {
    const store = memoryStore();
    let stubborn: string | undefined;
    const node = await opened(
      intercept(store, {
        delete: async (key, next) => {
          if (stubborn !== undefined) return next();
          stubborn = key;
          return "unknown";
        },
      }),
      SMALL,
    );
    await node.appendQuietly(...numbered("a", 40));
    expect(stubborn).toMatch(/^log\//);
    await expectSwept(store);
  });

  test("leaves a slot that it cannot read: it may be a seal", async () => {
    const store = memoryStore();
    await opened(store);
    let damaged = false;
    const node = await opened(
      intercept(store, {
        get: async (key, next) => {
          const found = await next();
          if (!damaged || !key.endsWith("01") || found === undefined || isRefusal(found)) return found;
          return { ...found, body: found.body.slice(1) };
        },
      }),
      SMALL,
    );
    damaged = true;
    await node.appendQuietly(...numbered("a", 20));
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect((await slots(store)).get(1)?.header.kind).toBe("seal");
  });

  test("does not keep the next owner from serving", async () => {
    const store = memoryStore();
    await (await opened(store, SMALL)).appendQuietly(...numbered("a", 10));
    const slow = intercept(store, { delete: () => new Promise(() => {}) });
    await (await opened(store, SMALL)).appendQuietly(...numbered("b", 3));
    const node = await opened(slow, SMALL);
    await node.appendEach('"c"');
    expect(await recovered(store)).toEqual([...numbered("a", 10), ...numbered("b", 3), '"c"']);
  });
});

async function appendUntilRefused(node: Incarnation, entries: readonly string[]): Promise<void> {
  for (const entry of entries) {
    if ((await node.append(entry)) !== undefined) return;
    await node.log.idle();
  }
  throw new Error("nothing was refused");
}

describe("a checkpoint that cannot be made because of damage", () => {
  test("of a record: the shard stops once, and the report names it", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    node.history.misfit = "key/3";
    await appendUntilRefused(node, numbered("a", 20));
    expect(node.stepDowns).toEqual([node.log.ended]);
    expect(node.log.ended).toMatchObject({
      code: "store_unavailable",
      detail: "the record key/3 cannot be used: it does not fit",
      facts: { damaged: "key/3" },
    });
  });

  test("of a page: the shard stops once, and the report names it", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 10));
    const { keys } = await checkpointObjects(store);
    const page = keys.find((key) => key.endsWith("/0/000000")) ?? "";
    await store.delete(page);
    await appendUntilRefused(node, numbered("b", 20));
    expect(node.stepDowns).toEqual([node.log.ended]);
    expect(node.log.ended).toMatchObject({
      code: "store_unavailable",
      detail: `the object ${page} is missing`,
      facts: { damaged: page },
    });
  });

  test("of a page that a newer owner has replaced: the shard is lost, not damaged", async () => {
    const store = memoryStore();
    let taken = false;
    const overtaken = intercept(store, {
      get: async (key, next) => {
        if (taken && key.endsWith("/000000")) {
          taken = false;
          await (await opened(store, SMALL)).appendQuietly(...numbered("young", 20));
        }
        return next();
      },
    });
    const old = await opened(overtaken, SMALL);
    await old.appendQuietly(...numbered("a", 10));
    taken = true;
    await appendUntilRefused(old, numbered("b", 20));
    expect(taken).toBe(false);
    expect(old.stepDowns).toMatchObject([{ code: "not_leader" }]);
  });
});

describe("a checkpoint that the store refuses", () => {
  test("leaves the log longer, and the next one is made", async () => {
    const store = memoryStore();
    let failing = true;
    const node = await opened(
      intercept(store, {
        put: async (key, next) => (failing && key.startsWith("ckpt/") ? unclear() : next()),
      }),
      SMALL,
    );
    await node.appendQuietly(...numbered("a", 15));
    expect((await ownership(store)).checkpoint).toBeNull();
    expect(node.stepDowns).toEqual([]);
    failing = false;
    await node.appendQuietly(...numbered("b", 15));
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect(await recovered(store)).toEqual([...numbered("a", 15), ...numbered("b", 15)]);
  });
});

describe("a checkpoint of which the store does not say whether it counts, though it does,", () => {
  /** A log whose last checkpoint is one; from then on the store answers again. */
  async function inDoubt() {
    const store = memoryStore();
    let cut = false;
    const cutting = intercept(store, {
      get: async (key, next) => (cut && key.startsWith("own/") ? SILENT : next()),
      put: async (key, next) => {
        const put = await next();
        return cut && key.startsWith("own/") ? unclear() : put;
      },
    });
    const node = await opened(cutting, SMALL);
    await node.appendQuietly(...numbered("a", 15));
    const { checkpoint } = await ownership(store);
    cut = true;
    while ((await ownership(store)).checkpoint?.id === checkpoint?.id) await node.appendQuietly('"b"');
    await node.log.idle();
    cut = false;
    return { store, node, checkpoint: (await ownership(store)).checkpoint };
  }

  test("deposes nobody: the next one goes on from it", async () => {
    const { store, node, checkpoint } = await inDoubt();
    await node.appendQuietly(...numbered("c", 15));
    expect(node.stepDowns).toEqual([]);
    expect((await ownership(store)).checkpoint?.seq).toBeGreaterThan(checkpoint?.seq ?? 0);
    const entries = await node.entries();
    expect(entries.slice(-15)).toEqual(numbered("c", 15));
    expect(await recovered(store)).toEqual(entries);
  });

  test("does not keep the shard from being handed over", async () => {
    const { store, node } = await inDoubt();
    expect(await node.log.handOver()).toBeUndefined();
    expect((await ownership(store)).session).toBeNull();
  });

  test("makes no owner of who is deposed meanwhile", async () => {
    const { store, node } = await inDoubt();
    const entries = await recovered(store);
    expect(await node.log.handOver()).toMatchObject({ code: "not_leader" });
    expect((await ownership(store)).session).not.toBeNull();
    expect(await recovered(store)).toEqual(entries);
  });
});

test("what is refused while the shard is handed over is in no checkpoint that comes due meanwhile", async () => {
  const store = memoryStore();
  const barrier = new Barrier(store, (key) => key.startsWith("log/"));
  // Due with the second commit: the seal counts as a slot, too.
  const opening = opened(barrier.store, { checkpointLogBytesMin: 2.5 * CHECKPOINT_SLOT_BYTES });
  await quiet();
  barrier.letOne();
  const node = await opening;
  const settled = [node.append('"in flight"')];
  await quiet();
  settled.push(node.append('"queued"'), node.log.handOver());
  expect(await node.append('"refused"')).toMatchObject({ code: "not_leader" });
  barrier.open();
  expect(await Promise.all(settled)).toEqual([undefined, undefined, undefined]);
  expect(await recovered(store)).toEqual(['"in flight"', '"queued"']);
});
