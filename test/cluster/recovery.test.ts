import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { Checkpoints } from "../../src/cluster/checkpoint.ts";
import { encodeObject, logKey, ownKey, partKey, type SlotHeader } from "../../src/cluster/format.ts";
import { claim, type Owned, readOwnership } from "../../src/cluster/ownership.ts";
import { recover } from "../../src/cluster/recovery.ts";
import { isRefusal } from "../../src/errors.ts";
import { COMMIT_WINDOW_MAX } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { intercept, SILENT, unclear } from "../store/intercept.ts";
import {
  currentManifest,
  History,
  Incarnation,
  keysOf,
  MISFIT,
  numbered,
  opened,
  ownership,
  quiet,
  recovered,
  refusedOpening,
  SHARD,
  SMALL,
  slots,
} from "./harness.ts";

/** The slot of the first owner's first entries: its seal is in slot 1. */
const FIRST = 1 + COMMIT_WINDOW_MAX;

const written = (epoch: number) => ({ epoch, session: "somebody", nonce: `somebody-${epoch}` });
const entriesOf = (epoch: number, durable: number): SlotHeader => ({
  kind: "entries",
  ...written(epoch),
  durable,
});
const sealOf = (epoch: number, resume: number): SlotHeader => ({ kind: "seal", ...written(epoch), resume });

async function occupy(
  store: Store,
  seq: number,
  header: SlotHeader,
  lines: readonly string[] = [],
): Promise<void> {
  await store.put(logKey(SHARD, seq), encodeObject(header, lines), { ifNoneMatch: "*" });
}

async function owned(store: Store): Promise<Owned | undefined> {
  const found = await readOwnership(store, SHARD);
  if (isRefusal(found)) throw new Error(found.detail);
  return found;
}

async function overwrite(store: Store, key: string, change: (body: Uint8Array) => void): Promise<void> {
  const found = await store.get(key);
  if (found === undefined || isRefusal(found)) throw new Error(`${key} cannot be read`);
  const body = found.body.slice();
  change(body);
  await store.put(key, body, { ifMatch: found.etag });
}

const flip = (at: number) => (body: Uint8Array) => {
  body[at] = (body[at] ?? 0) ^ 1;
};

/** Three data slots between two seals; small checkpoints where asked for. */
async function withHistory(options: { checkpointed: boolean }): Promise<Store> {
  const store = memoryStore();
  const node = await opened(store, { checkpointLogBytesMin: options.checkpointed ? 1 : 1e9 });
  await node.appendQuietly(...numbered("a", 3));
  return store;
}

describe("recovery", () => {
  test("of a new shard finds nothing and writes a seal", async () => {
    const store = memoryStore();
    const node = await opened(store);
    expect(await node.entries()).toEqual([]);
    expect(node.log.seq).toBe(FIRST - 1);
    expect(await ownership(store)).toMatchObject({ epoch: 1, checkpoint: null });
  });

  test("repeated many times without entries changes nothing but the epoch", async () => {
    const store = await withHistory({ checkpointed: false });
    for (let i = 0; i < 5; i++) expect(await recovered(store)).toEqual(numbered("a", 3));
    expect((await ownership(store)).epoch).toBe(6);
  });

  test("skips what a deposed owner wrote behind its successor's seal", async () => {
    const store = await withHistory({ checkpointed: false });
    await opened(store);
    // The second seal is in the slot behind the three entries: only a broken node writes where it lets entries begin.
    await occupy(store, FIRST + 3 + COMMIT_WINDOW_MAX, entriesOf(1, FIRST + 2), ['"void"']);
    expect(await recovered(store)).toEqual(numbered("a", 3));
  });

  test("stops where a newer owner has written", async () => {
    const store = await withHistory({ checkpointed: false });
    await occupy(store, FIRST + 3, sealOf(9, FIRST + 7));
    expect(await refusedOpening(store)).toMatchObject({ code: "not_leader" });
  });

  test("is given up where somebody takes the shard before the seal is confirmed", async () => {
    const store = await withHistory({ checkpointed: false });
    const disturbed = intercept(store, {
      put: async (key, next) => {
        const put = await next();
        // My seal stands: now another node claims, and no seal of its own tells me so.
        if (key.startsWith("log/")) await claim(store, SHARD, await owned(store), "thief", "thief-1");
        return put;
      },
    });
    expect(await refusedOpening(disturbed)).toMatchObject({ code: "not_leader" });
    expect((await ownership(store)).session).toBe("thief");
  });

  test("reads on where the old owner fills the slot that was to be sealed", async () => {
    const store = memoryStore();
    const old = await opened(store);
    await old.appendEach('"1"');
    let raced = false;
    const racing = intercept(store, {
      put: async (key, next) => {
        if (key.startsWith("log/") && !raced) {
          raced = true;
          await old.appendEach('"2"', '"3"');
        }
        return next();
      },
    });
    const young = await opened(racing);
    expect(await young.entries()).toEqual(['"1"', '"2"', '"3"']);
    expect(await old.append('"4"')).toMatchObject({ code: "not_leader" });
  });

  test("of two who take the shard at once at most one leads, and nothing is lost", async () => {
    const store = await withHistory({ checkpointed: false });
    const one = await claim(store, SHARD, await owned(store), "one", "one");
    const two = await claim(store, SHARD, await owned(store), "two", "two");
    if (isRefusal(one) || isRefusal(two)) throw new Error("not claimed");
    const run = (claimed: Owned, nonce: string) =>
      recover(store, SHARD, claimed, () => nonce, new Checkpoints(store, SHARD), new History());
    expect(await run(two, "two-seal")).toMatchObject({ resume: FIRST + 3 + COMMIT_WINDOW_MAX });
    expect(await run(one, "one-seal")).toMatchObject({ code: "not_leader" });
    expect(await recovered(store)).toEqual(numbered("a", 3));
  });

  test("is refused where the store does not answer or leaves a write unclear", async () => {
    const store = await withHistory({ checkpointed: true });
    const prefixes = ["own/", "log/", "ckpt/"];
    for (const prefix of prefixes) {
      const silent = intercept(store, {
        get: async (key, next) => (key.startsWith(prefix) ? SILENT : next()),
      });
      expect(await refusedOpening(silent)).toMatchObject({ code: "store_unavailable" });
    }
    for (const prefix of ["own/", "log/"]) {
      const cut = intercept(store, {
        put: async (key, next) => (key.startsWith(prefix) ? unclear() : next()),
      });
      expect(await refusedOpening(cut)).toMatchObject({ code: "store_unavailable" });
    }
    expect(await recovered(store)).toEqual(numbered("a", 3));
  });
});

describe("reading ahead", () => {
  test("a long log is read many slots at a time, in order, each once", async () => {
    const store = memoryStore();
    const entries = numbered("a", 100);
    await (await opened(store)).appendEach(...entries);
    const reads: string[] = [];
    let at = 0;
    let most = 0;
    const counting = intercept(store, {
      get: async (key, next) => {
        if (!key.startsWith("log/")) return next();
        reads.push(key);
        most = Math.max(most, ++at);
        await quiet();
        at--;
        return next();
      },
    });
    const node = await opened(counting);
    expect(await node.entries()).toEqual(entries);
    expect(most).toBeGreaterThan(8);
    // The free slot at the end is read once more than it is there.
    expect(new Set(reads).size).toBe(reads.length);
    expect(reads.length).toBe(1 + entries.length + 1);
  });

  test("and a writer that goes on meanwhile: nothing is read twice or left out", async () => {
    const store = memoryStore();
    const old = await opened(store);
    await old.appendEach(...numbered("a", 30));
    let raced = 0;
    const racing = intercept(store, {
      get: async (key, next) => {
        if (key.startsWith("log/") && raced < 40) await old.append(JSON.stringify(`b${raced++}`));
        return next();
      },
    });
    const young = await opened(racing);
    expect(raced).toBe(40);
    expect(await young.entries()).toEqual([...numbered("a", 30), ...numbered("b", 40)]);
  });

  test("a new owner reads no page: records are read when they are asked for", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 30));
    const pages: string[] = [];
    const counting = intercept(store, {
      get: (key, next) => {
        if (/^ckpt\/007\/[^/]+\/[0-9]/.test(key)) pages.push(key);
        return next();
      },
    });
    const next = await opened(counting);
    expect(pages).toEqual([]);
    expect(await next.entries()).toEqual(numbered("a", 30));
    expect(pages.length).toBeGreaterThan(0);
  });
});

describe("lost or damaged objects are named, never passed over", () => {
  test.each([1, FIRST, FIRST + 2])("a damaged slot %i", async (seq) => {
    const store = await withHistory({ checkpointed: false });
    await overwrite(store, logKey(SHARD, seq), flip(60));
    const refusal = await refusedOpening(store);
    expect(refusal.code).toBe("store_unavailable");
    expect(refusal.detail).toContain(logKey(SHARD, seq));
  });

  test.each([1, FIRST, FIRST + 1])("a missing slot %i, which is not sealed over", async (seq) => {
    const store = await withHistory({ checkpointed: false });
    await store.delete(logKey(SHARD, seq));
    for (let i = 0; i < 2; i++) {
      const refusal = await refusedOpening(store);
      expect(refusal.code).toBe("store_unavailable");
      expect(refusal.detail).toContain(logKey(SHARD, seq));
    }
    const left = [1, FIRST, FIRST + 1, FIRST + 2].filter((other) => other !== seq);
    expect([...(await slots(store)).keys()]).toEqual(left);
  });

  test("a missing seal in the middle, whether or not entries of its epoch are there", async () => {
    for (const entries of [0, 2]) {
      const store = await withHistory({ checkpointed: false });
      await (await opened(store)).appendEach(...numbered("b", entries));
      await (await opened(store)).appendEach('"c"');
      const seal = logKey(SHARD, FIRST + 3);
      await store.delete(seal);
      const refusal = await refusedOpening(store);
      expect(refusal.code).toBe("store_unavailable");
      expect(refusal.detail).toContain(seal);
    }
  });

  test("a seal whose epoch the entries behind it have not got", async () => {
    const store = await withHistory({ checkpointed: false });
    for (let i = 0; i < 3; i++) await opened(store);
    await occupy(store, FIRST + 3 + 3 * COMMIT_WINDOW_MAX, entriesOf(5, FIRST + 3), ['"unsealed"']);
    const refusal = await refusedOpening(store);
    expect(refusal).toMatchObject({
      code: "store_unavailable",
      detail: expect.stringContaining("the seal before"),
    });
    expect(refusal.detail).toContain(logKey(SHARD, FIRST + 3 + 3 * COMMIT_WINDOW_MAX));
  });

  test.each(["damaged", "missing"])("a %s manifest or common part of a checkpoint", async (how) => {
    for (const name of ["manifest", "common"]) {
      const store = await withHistory({ checkpointed: true });
      const manifest = await currentManifest(store);
      const key = name === "manifest" ? manifest : manifest.replace("manifest", "common/000000");
      if (how === "missing") await store.delete(key);
      else await overwrite(store, key, flip(60));
      const refusal = await refusedOpening(store);
      expect(refusal.code).toBe("store_unavailable");
      expect(refusal.detail).toContain(key);
    }
  });

  test.each(["damaged", "missing"])("a %s page, when one of its records is asked for", async (how) => {
    const store = await withHistory({ checkpointed: true });
    const { checkpoint } = await ownership(store);
    const key = partKey(SHARD, checkpoint?.id ?? "", 0, 0);
    if (how === "missing") await store.delete(key);
    else await overwrite(store, key, flip(60));
    const node = await opened(store);
    const refusal = await node.log.record("key/0");
    expect(refusal).toMatchObject({ code: "store_unavailable", detail: expect.stringContaining(key) });
    // Whoever has no such record can still be served.
    expect(await node.append('"b"')).toBeUndefined();
  });

  test("an entry that the records cannot use, though its checksum is right", async () => {
    const store = await withHistory({ checkpointed: false });
    await occupy(store, FIRST + 3, entriesOf(1, FIRST + 2), [MISFIT]);
    expect(await refusedOpening(store)).toMatchObject({
      code: "store_unavailable",
      detail: `the object ${logKey(SHARD, FIRST + 3)} cannot be used: it is of another version`,
    });
  });

  test("a damaged record of the ownership", async () => {
    const store = await withHistory({ checkpointed: false });
    await overwrite(store, ownKey(SHARD), (body) => body.set(utf8("}{")));
    const refusal = await refusedOpening(store);
    expect(refusal.code).toBe("store_unavailable");
    expect(refusal.detail).toContain(ownKey(SHARD));
  });

  test("a missing record of the ownership: the log is not begun again", async () => {
    const store = await withHistory({ checkpointed: true });
    await store.delete(ownKey(SHARD));
    const refusal = await refusedOpening(store);
    expect(refusal.code).toBe("store_unavailable");
    expect(refusal.detail).toContain(ownKey(SHARD));
    expect(await store.get(ownKey(SHARD))).toBeUndefined();
  });
});

describe("claiming", () => {
  test("of many who found the same, one wins; of those who look again each gets an epoch of its own", async () => {
    const store = memoryStore();
    const race = async (before: Owned | undefined, round: number) =>
      (
        await Promise.all(
          Array.from({ length: 8 }, (_, i) => claim(store, SHARD, before, `s${i}`, `s${i}-${round}`)),
        )
      ).map((claimed) => (isRefusal(claimed) ? claimed.code : claimed.ownership.epoch));
    for (let round = 1; round <= 3; round++) {
      const outcomes = await race(await owned(store), round);
      expect(outcomes.filter((outcome) => outcome !== "not_leader")).toEqual([round]);
    }
    expect((await ownership(store)).epoch).toBe(3);
  });

  test("with an unclear answer that was applied is one epoch, not two", async () => {
    const store = memoryStore();
    const cut = intercept(store, {
      put: async (_key, next) => {
        await next();
        return unclear();
      },
    });
    const claimed = await claim(cut, SHARD, undefined, "s", "n");
    expect(isRefusal(claimed) ? claimed.detail : claimed.ownership.epoch).toBe(1);
    expect((await ownership(store)).epoch).toBe(1);
  });

  test("a shard that was handed over raises the epoch, and keeps the checkpoint", async () => {
    const store = memoryStore();
    const node = await opened(store, SMALL);
    await node.appendQuietly(...numbered("a", 10));
    const { checkpoint } = await ownership(store);
    expect(await node.log.handOver()).toBeUndefined();
    expect(await ownership(store)).toMatchObject({ epoch: 1, session: null, checkpoint });
    const next = await opened(store);
    expect(next.log.epoch).toBe(2);
    expect(await next.entries()).toEqual(numbered("a", 10));
  });

  test("a new shard that another node begins at the same time is its, and not lost", async () => {
    const store = memoryStore();
    let first: Incarnation | undefined;
    const racing = intercept(store, {
      list: async (prefix, next) => {
        // The other one is faster in every step: its log is there when mine is looked for.
        if (prefix.startsWith("log/")) first ??= await opened(store);
        return next();
      },
    });
    expect(await refusedOpening(racing)).toMatchObject({ code: "not_leader" });
    expect(await first?.append('"1"')).toBeUndefined();
    expect(await keysOf(store, "own/")).toEqual([ownKey(SHARD)]);
  });
});
