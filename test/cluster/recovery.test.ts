import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { checkpointKey, encodeObject, type Header, logKey, ownKey } from "../../src/cluster/format.ts";
import { claim } from "../../src/cluster/ownership.ts";
import { recover } from "../../src/cluster/recovery.ts";
import { isRefusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { intercept, SILENT, unclear } from "../store/intercept.ts";
import { History, numbered, opened, ownership, recovered, refusedOpening, SHARD, slots } from "./harness.ts";

const header = (epoch: number, kind: Header["kind"] = "entries"): Header => ({
  epoch,
  kind,
  session: "somebody",
  nonce: `${kind}-${epoch}`,
});

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
  await node.appendEach(...numbered("a", 3));
  await node.log.idle();
  return store;
}

describe("recovery", () => {
  test("of a new shard finds nothing and writes a seal", async () => {
    const store = memoryStore();
    const node = await opened(store);
    expect(node.history.entries).toEqual([]);
    expect(node.log.seq).toBe(1);
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
    // The seals of epochs 1 and 2 are at 1 and 5: such a slot can only be written by a broken node.
    await store.put(logKey(SHARD, 6), encodeObject(header(1), ['"void"']), { ifNoneMatch: "*" });
    expect(await recovered(store)).toEqual(numbered("a", 3));
  });

  test("stops where a newer owner has written", async () => {
    const store = await withHistory({ checkpointed: false });
    await store.put(logKey(SHARD, 5), encodeObject(header(9, "seal"), []), { ifNoneMatch: "*" });
    expect(await refusedOpening(store)).toMatchObject({ code: "not_leader" });
  });

  test("is given up where somebody takes the shard before the seal is confirmed", async () => {
    const store = await withHistory({ checkpointed: false });
    const disturbed = intercept(store, {
      put: async (key, next) => {
        const put = await next();
        // My seal stands: now another node claims, and no seal of its own tells me so.
        if (key.startsWith("log/")) await claim(store, SHARD, "thief", () => "thief-1");
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
    expect(young.history.entries).toEqual(['"1"', '"2"', '"3"']);
    expect(await old.append('"4"')).toMatchObject({ code: "not_leader" });
  });

  test("of two who take the shard at once at most one leads, and nothing is lost", async () => {
    const store = await withHistory({ checkpointed: false });
    const one = await claim(store, SHARD, "one", () => "one");
    const two = await claim(store, SHARD, "two", () => "two");
    if (isRefusal(one) || isRefusal(two)) throw new Error("not claimed");
    const outcomes = [
      await recover(store, SHARD, two, () => "two-seal", new History()),
      await recover(store, SHARD, one, () => "one-seal", new History()),
    ];
    expect(outcomes[0]).toMatchObject({ sealed: 5 });
    expect(outcomes[1]).toMatchObject({ code: "not_leader" });
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

describe("lost or damaged objects are named, never passed over", () => {
  test.each([1, 2, 4])("a damaged slot %i", async (seq) => {
    const store = await withHistory({ checkpointed: false });
    await overwrite(store, logKey(SHARD, seq), flip(40));
    const refusal = await refusedOpening(store);
    expect(refusal.code).toBe("store_unavailable");
    expect(refusal.detail).toContain(logKey(SHARD, seq));
  });

  test.each([1, 2, 3])("a missing slot %i, which is not sealed over", async (seq) => {
    const store = await withHistory({ checkpointed: false });
    await store.delete(logKey(SHARD, seq));
    for (let i = 0; i < 2; i++) {
      const refusal = await refusedOpening(store);
      expect(refusal.code).toBe("store_unavailable");
      expect(refusal.detail).toContain(logKey(SHARD, seq));
    }
    expect([...(await slots(store)).keys()]).toEqual([1, 2, 3, 4].filter((other) => other !== seq));
  });

  test.each(["damaged", "missing"])("a %s part of a checkpoint", async (how) => {
    const store = await withHistory({ checkpointed: true });
    const { checkpoint } = await ownership(store);
    const key = checkpointKey(SHARD, checkpoint?.seq ?? 0, 0);
    if (how === "missing") await store.delete(key);
    else await overwrite(store, key, flip(60));
    const refusal = await refusedOpening(store);
    expect(refusal.code).toBe("store_unavailable");
    expect(refusal.detail).toContain(key);
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
  test("many at once get different epochs", async () => {
    const store = memoryStore();
    const claims = await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        let nonces = 0;
        return claim(store, SHARD, `s${i}`, () => `s${i}-${++nonces}`);
      }),
    );
    const epochs = claims.map((owned) => (isRefusal(owned) ? -1 : owned.ownership.epoch));
    expect(epochs.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("with an unclear answer that was applied is one epoch, not two", async () => {
    const store = memoryStore();
    const cut = intercept(store, {
      put: async (_key, next) => {
        await next();
        return unclear();
      },
    });
    const owned = await claim(cut, SHARD, "s", () => "n");
    expect(isRefusal(owned) ? owned.detail : owned.ownership.epoch).toBe(1);
    expect((await ownership(store)).epoch).toBe(1);
  });
});
