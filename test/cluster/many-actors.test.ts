/**
 * A million actors in the store do not slow a start: opening a shard reads the same few objects however many actors it
 * has, and the first call of one of them reads one page. Shown with 200 and with 20,000, by counting.
 */
import { describe, expect, test } from "vitest";
import { Actors } from "../../src/actor/actors.ts";
import { type Entry, encodeEntry } from "../../src/actor/entry.ts";
import { Checkpoints } from "../../src/cluster/checkpoint.ts";
import type { PartHeader } from "../../src/cluster/format.ts";
import { type Checkpoint, claim, update } from "../../src/cluster/ownership.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { BEHAVIOUR, EMPTY, NOW_MS } from "../actor/counter.ts";
import { intercept } from "../store/intercept.ts";
import { must } from "../support/gate.ts";
import { ShardsNode } from "../support/shards-node.ts";
import { quiet } from "./harness.ts";

const FEW = 200;
const MANY = 20_000;

/** A shard with so many actors, all of them in its checkpoint, and an empty log. */
async function populated(count: number): Promise<Store> {
  const store = memoryStore();
  const actors = new Actors();
  const checkpoints = new Checkpoints(store, SHARD);
  let nonces = 0;
  const header = (): PartHeader => ({ kind: "part", epoch: 1, session: "s", nonce: `n${++nonces}` });
  let checkpoint: Checkpoint | null = null;
  let pages = 0;
  for (let seq = 1, born = 0; born < count || pages < (await pagesOf(store)); seq++) {
    pages = await pagesOf(store);
    // A second for each, so that the nonces of the first ones expire.
    for (const end = Math.min(born + 2000, count); born < end; born++) actors.apply(birthOf(born));
    const capture = actors.capture();
    const written = must(await checkpoints.write(capture, seq, header));
    checkpoints.adopt(written);
    capture.settle(true);
    await checkpoints.sweep();
    checkpoint = written.checkpoint;
  }
  const owned = must(await claim(store, SHARD, undefined, "s", "n"));
  must(await update(store, SHARD, owned, { session: null, checkpoint, nonce: "m" }));
  return store;
}

const SHARD = 0;

function birthOf(i: number): string {
  const entry: Entry = {
    v: 3,
    actor: `t/account/${i}`,
    turns: [["open", {}, "s", null]],
    at: NOW_MS + 1000 * i,
    signer: "ab".repeat(32),
    token: ["r", "t"],
    behaviour: [BEHAVIOUR, 1],
    monitors: [],
    nonce: [`n${i}`, NOW_MS / 1000 + i + 60],
  };
  return encodeEntry(entry, undefined, JSON.stringify(EMPTY));
}

/** The store, and what of it is read: by kind, `page` for the pages of a checkpoint. */
function counted(store: Store): { store: Store; taken: () => Record<string, number> } {
  let reads: Record<string, number> = {};
  const count = (kind: string): void => {
    reads[kind] = (reads[kind] ?? 0) + 1;
  };
  return {
    store: intercept(store, {
      get: (key, next) => {
        count(
          /\/\d+\/\d+$/.test(key) && key.startsWith("ckpt/") ? "page" : (/^[a-z]+/.exec(key)?.[0] ?? key),
        );
        return next();
      },
      list: (_prefix, next) => {
        count("list");
        return next();
      },
    }),
    taken: () => {
      const taken = reads;
      reads = {};
      return taken;
    },
  };
}

async function pagesOf(store: Store): Promise<number> {
  return must(await store.list("ckpt/")).filter((key) => /\/\d+\/\d+$/.test(key)).length;
}

describe("however many actors a shard has", () => {
  test("its start reads the same few objects, none of them a page, and a call reads one page once", async () => {
    const [few, many] = [await populated(FEW), await populated(MANY)];
    const pages = [await pagesOf(few), await pagesOf(many)];
    expect(pages[0]).toBe(1);
    expect(pages[1]).toBeGreaterThanOrEqual(16);

    const starts: Record<string, number>[] = [];
    for (const [store, count] of [
      [few, FEW],
      [many, MANY],
    ] as const) {
      const reading = counted(store);
      const node = await new ShardsNode(reading.store, { checkpointLogBytesMin: 1e12 }).start();
      await quiet();
      const start = reading.taken();
      expect(start["page"]).toBeUndefined();
      expect(node.shards.counts).toEqual({ shards: 1, actors: 0 });
      starts.push(start);

      for (const actor of ["account/0", `account/${count >> 1}`, `account/${count - 1}`]) {
        expect(await node.call("deposit", { actor, now_ms: NOW_MS + 1e9 })).toBe("done");
        expect(reading.taken(), actor).toEqual({ page: 1 });
        expect(await node.call("deposit", { actor, now_ms: NOW_MS + 1e9 })).toBe("done");
        expect(reading.taken(), actor).toEqual({});
      }
      expect(node.shards.counts.actors).toBe(3);
      expect(await node.call("open", { actor: `account/${count}`, now_ms: NOW_MS + 1e9 })).toBe("done");
      expect(reading.taken()).toEqual({ page: 1 });
    }
    expect(starts[1]).toEqual(starts[0]);
    expect(Object.values(starts[0] ?? {}).reduce((sum, reads) => sum + reads)).toBeLessThan(30);
  });

  test("a checkpoint after few calls writes few pages", async () => {
    const store = await populated(MANY);
    const written: string[] = [];
    const noting = intercept(store, {
      put: (key, next) => {
        if (key.startsWith("ckpt/")) written.push(key);
        return next();
      },
    });
    const node = await new ShardsNode(noting, { checkpointLogBytesMin: 1 }).start();
    expect(await node.call("deposit", { actor: "account/7", now_ms: NOW_MS + 1e9 })).toBe("done");
    await quiet();
    const pages = written.filter((key) => /\/\d+\/\d+$/.test(key));
    expect(pages.length).toBeGreaterThan(0);
    // What was called since the last checkpoint, on a page each at most, and not the others.
    expect(pages.length).toBeLessThanOrEqual(2);
  });
});
