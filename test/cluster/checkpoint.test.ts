import { describe, expect, test } from "vitest";
import { claim } from "../../src/cluster/ownership.ts";
import { isRefusal } from "../../src/errors.ts";
import { CHECKPOINT_LOG_BYTES_MIN, CHECKPOINT_PART_BYTES, COMMIT_ENTRIES_MAX } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Barrier, type Hooks, intercept, unclear } from "../store/intercept.ts";
import { Incarnation, numbered, opened, ownership, quiet, recovered, SHARD, slots } from "./harness.ts";

const SMALL = { checkpointLogBytesMin: 300 };

async function kinds(store: Store): Promise<string[]> {
  return [...(await slots(store)).values()].map(({ header }) => header.kind);
}

async function appendQuietly(node: Incarnation, entries: readonly string[]): Promise<void> {
  for (const entry of entries) {
    await node.appendEach(entry);
    await node.log.idle();
  }
}

describe("a checkpoint", () => {
  test("is made once the log is longer than its bound, and the history goes on behind it", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await appendQuietly(node, numbered("a", 40));
    const { checkpoint } = await ownership(store);
    expect(checkpoint?.seq).toBeGreaterThan(1);
    const next = await opened(store);
    expect(next.history.restored).toBeGreaterThan(0);
    expect(next.history.entries).toEqual(numbered("a", 40));
  });

  test("is not made before: the bound is the one of limits.ts", async () => {
    const store = memoryStore();
    const node = await opened(store);
    const quarter = JSON.stringify("q".repeat(CHECKPOINT_LOG_BYTES_MIN / 4));
    await appendQuietly(node, [quarter, quarter, quarter]);
    expect((await ownership(store)).checkpoint).toBeNull();
    await appendQuietly(node, [quarter, quarter]);
    expect((await ownership(store)).checkpoint).not.toBeNull();
  });

  test("waits until the log has grown past the last one: they cost as much as they are large", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    let checkpoints = 0;
    let last = 0;
    for (const entry of numbered("a", 300)) {
      await appendQuietly(node, [entry]);
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
      await appendQuietly(node, numbered(`n${i}-`, 20));
    }
    await expectSwept(store);
    expect((await kinds(store)).filter((kind) => kind === "seal")).toHaveLength(4);
  });

  test("deletes the parts of the one before", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await appendQuietly(node, numbered("a", 200));
    const { checkpoint } = await ownership(store);
    expect(await store.list("ckpt/")).toHaveLength(checkpoint?.parts ?? 0);
  });

  test("larger than a part is written in several", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    const large = JSON.stringify("l".repeat(CHECKPOINT_PART_BYTES / 2 + 1));
    await appendQuietly(node, [large, large, '"small"']);
    expect((await ownership(store)).checkpoint?.parts).toBe(2);
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
    await appendQuietly(next, numbered("a", 20));
    expect((await ownership(store)).checkpoint?.seq).toBeGreaterThan(3);
    barrier.open();
    expect(await late).toMatchObject({ code: "not_leader" });
    expect(await recovered(store)).toEqual(['"1"', ...numbered("a", 20)]);
  });

  test("and is still recovering, does not lead: its first free slot is not the end of the log", async () => {
    const store = memoryStore();
    await appendQuietly(await opened(store), numbered("old", 3));
    let pass: (() => void) | undefined;
    // Pauses in its first read of a data slot.
    const paused = intercept(store, {
      get: async (key, next) => {
        if (key.endsWith("02") && pass === undefined) await new Promise<void>((go) => (pass = go));
        return next();
      },
    });
    const slow = new Incarnation().open(paused, "slow");
    await quiet();
    const node = await opened(store, SMALL);
    await appendQuietly(node, numbered("a", 20));
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
    while (held.length === 0) await node.appendEach(`"${appended++}"`);
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
          if (key.startsWith("ckpt/")) {
            // The next commit does not get past its breath; meanwhile somebody takes the shard.
            breath.held = true;
            void node.append('"waits"').then((answer) => answers.push(answer?.code));
            await claim(store, SHARD, "thief", () => "thief");
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
    for (let i = 0; !breath.held && i < 50; i++) await node.appendEach(`"${i}"`);
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
function stoppedAt(nth: number, when: "before" | "after"): { hooks: Hooks; reached: () => boolean } {
  let count = 0;
  const at = async <T>(next: () => Promise<T>): Promise<T> => {
    const mine = count++;
    if (mine < nth) return next();
    if (mine === nth && when === "after") await next();
    return new Promise<T>(() => {});
  };
  return {
    hooks: {
      get: (_key, next) => at(next),
      put: (_key, next) => at(next),
      delete: (_key, next) => at(next),
      list: (_prefix, next) => at(next),
    },
    reached: () => count > nth,
  };
}

describe("a crash", () => {
  // Operation by operation, from the opening over two checkpoints and their sweeps.
  test.each(["before", "after"] as const)(
    "%s any operation loses nothing and stays recoverable",
    async (when) => {
      let crashes = 0;
      for (let nth = 0; ; nth++) {
        const store = memoryStore();
        const first = await opened(store, SMALL);
        await appendQuietly(first, numbered("old", 3));
        const { hooks, reached } = stoppedAt(nth, when);
        const acknowledged = numbered("old", 3);
        const life = (async () => {
          const node = await opened(intercept(store, hooks), SMALL);
          for (const entry of numbered("a", 14)) {
            await appendQuietly(node, [entry]);
            acknowledged.push(entry);
          }
        })();
        await Promise.race([life, quietFor(3)]);
        if (!reached()) break;
        crashes++;

        const next = await opened(store, SMALL);
        const { entries } = next.history;
        expect(entries.slice(0, acknowledged.length), `operation ${nth}`).toEqual(acknowledged);
        // What was in flight may be there, too: at most that one.
        expect(entries.length - acknowledged.length, `operation ${nth}`).toBeLessThanOrEqual(1);
        const all = [...entries];
        await appendQuietly(next, numbered("b", 14));
        expect(await recovered(store), `operation ${nth}`).toEqual([...all, ...numbered("b", 14)]);
        await expectSwept(store);
      }
      expect(crashes).toBeGreaterThan(50);
    },
  );

  test("in the middle of a sweep is made good by the next owner", async () => {
    const store = memoryStore();
    let deletes = 0;
    const node = await opened(
      intercept(store, {
        delete: async (_key, next) => (deletes++ < 2 ? next() : new Promise(() => {})),
      }),
      SMALL,
    );
    await node.appendEach(...numbered("a", 10));
    await quiet();
    expect(deletes).toBe(3);
    const next = await opened(store, SMALL);
    await next.log.idle();
    await expectSwept(store);
    expect(await recovered(store)).toEqual(numbered("a", 10));
  });
});

async function quietFor(rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) await quiet();
}

/** No data slot and no part is left behind the checkpoint; every epoch's seal is. */
async function expectSwept(store: Store): Promise<void> {
  const { checkpoint } = await ownership(store);
  if (checkpoint === null) throw new Error("there is no checkpoint");
  const data = [...(await slots(store))].filter(([, { header }]) => header.kind !== "seal");
  expect(data.filter(([seq]) => seq <= checkpoint.seq)).toEqual([]);
  const parts = await store.list("ckpt/");
  if (isRefusal(parts)) throw new Error(parts.detail);
  expect(parts.filter((key) => key < `ckpt/007/${String(checkpoint.seq).padStart(20, "0")}/`)).toEqual([]);
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
    await appendQuietly(node, numbered("a", 40));
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
    await appendQuietly(node, numbered("a", 20));
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect((await slots(store)).get(1)?.header.kind).toBe("seal");
  });

  test("does not keep the next owner from serving", async () => {
    const store = memoryStore();
    await appendQuietly(await opened(store, SMALL), numbered("a", 10));
    const slow = intercept(store, { delete: () => new Promise(() => {}) });
    await appendQuietly(await opened(store, SMALL), numbered("b", 3));
    const node = await opened(slow, SMALL);
    await node.appendEach('"c"');
    expect(await recovered(store)).toEqual([...numbered("a", 10), ...numbered("b", 3), '"c"']);
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
    await appendQuietly(node, numbered("a", 15));
    expect((await ownership(store)).checkpoint).toBeNull();
    expect(node.stepDowns).toEqual([]);
    failing = false;
    await appendQuietly(node, numbered("b", 15));
    expect((await ownership(store)).checkpoint).not.toBeNull();
    expect(await recovered(store)).toEqual([...numbered("a", 15), ...numbered("b", 15)]);
  });
});
