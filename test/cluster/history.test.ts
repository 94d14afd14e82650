/** A shard's history, read without taking the shard, is what recovery would read. */
import { beforeAll, describe, expect, it } from "vitest";
import { encodeDocument } from "../../src/checked.ts";
import { Checkpoints } from "../../src/cluster/checkpoint.ts";
import { History, type Place } from "../../src/cluster/history.ts";
import { claim, readOwnership } from "../../src/cluster/ownership.ts";
import type { Records } from "../../src/cluster/records.ts";
import { recover } from "../../src/cluster/recovery.ts";
import type { Store } from "../../src/store/contract.ts";
import { must } from "../support/gate.ts";
import { objectsOf, SHARDS, storeOf, VOIDED, wholeStore } from "../support/whole-store.ts";

let whole: ReadonlyMap<string, Uint8Array>;

beforeAll(async () => {
  whole = await wholeStore();
});

async function recovered(store: Store, shard: number): Promise<readonly string[]> {
  const owned = must(await claim(store, shard, must(await readOwnership(store, shard)), "s", "n1"));
  const entries: string[] = [];
  const records: Records = {
    restore: () => {},
    apply: (entry) => void entries.push(entry),
    capture: () => {
      throw new Error("nothing is captured here");
    },
  };
  must(await recover(store, shard, owned, () => "n2", new Checkpoints(store, shard), records));
  return entries;
}

async function read(store: Store, shard: number): Promise<{ entries: string[]; places: Place[] }> {
  const history = must(await History.open(store, shard));
  const entries: string[] = [];
  const places: Place[] = [];
  const refused = await history?.forEachEntry(async (entry, place) => {
    entries.push(entry);
    places.push(place);
    return undefined;
  });
  must(refused);
  expect(await history?.isCurrent()).toBe(true);
  return { entries, places };
}

describe("the history of a shard", () => {
  it("has the entries that recovery applies, in their order, and none that is void; and nothing is written", async () => {
    for (let shard = 0; shard < SHARDS; shard++) {
      const store = await storeOf(whole);
      const { entries, places } = await read(store, shard);
      expect(await objectsOf(store)).toEqual(whole);
      expect(entries).toEqual(await recovered(store, shard));
      expect(places).toEqual(places.toSorted((a, b) => a.slot - b.slot || a.index - b.index));
    }
    expect((await read(await storeOf(whole), VOIDED)).entries).not.toContain("{}");
  });

  it("is nothing where nobody has owned the shard", async () => {
    expect(await History.open(await storeOf(new Map()), 0)).toBeUndefined();
  });

  it("says when its checkpoint was replaced meanwhile", async () => {
    const store = await storeOf(whole);
    const history = must(await History.open(store, 0));
    const owned = must(await readOwnership(store, 0));
    const { ownership, etag } = owned ?? { ownership: undefined, etag: "" };
    const next = { ...ownership, checkpoint: { seq: 1, id: "another" } };
    await store.put("own/000", encodeDocument("postern-own/1", next), { ifMatch: etag });
    expect(await history?.isCurrent()).toBe(false);
  });
});
