/** Every change that was noted is seen by whoever looks afterwards, or it is told that it may have missed some. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { utf8 } from "../src/bytes.ts";
import { CHANGES_KEY, type Changes, changedSince, noteChange, parseChanges } from "../src/changes.ts";
import { encodeDocument } from "../src/checked.ts";
import { CHANGE_ATTEMPTS_MAX, CHANGES_KEPT_MAX } from "../src/limits.ts";
import type { Store } from "../src/store/contract.ts";
import { memoryStore } from "../src/store/memory.ts";
import { intercept, SILENT, UNCLEAR } from "./store/intercept.ts";
import { must, random } from "./support/gate.ts";

async function changesIn(store: Store): Promise<Changes> {
  const found = must(await store.get(CHANGES_KEY));
  const changes = found && parseChanges(found.body);
  if (changes === undefined) throw new Error("there is no list of changes");
  return changes;
}

describe("what changed since", () => {
  it("is exactly what was noted since, or cannot be told", async () => {
    const names = fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 2 * CHANGES_KEPT_MAX });
    await fc.assert(
      fc.asyncProperty(names, fc.nat(2 * CHANGES_KEPT_MAX), async (noted, seen) => {
        fc.pre(noted.length > 0);
        const store = memoryStore();
        for (const name of noted) expect(await noteChange(store, name, random)).toBeUndefined();
        const changed = changedSince(seen, await changesIn(store));
        const missed = noted.length - seen;
        if (missed < 0 || missed > CHANGES_KEPT_MAX) expect(changed).toBeUndefined();
        else expect(changed).toEqual(new Set(noted.slice(seen)));
      }),
      { numRuns: 60 },
    );
  });

  it("is told as long as the list reaches back, and not one change longer", () => {
    const changes: Changes = { count: 10, recent: ["a", "b", "c"], nonce: "n" };
    expect([10, 9, 7, 6, 11].map((seen) => changedSince(seen, changes))).toEqual([
      new Set(),
      new Set(["c"]),
      new Set(["a", "b", "c"]),
      undefined,
      undefined,
    ]);
  });

  it("has every writer's, however many write at once and whatever answers are lost", async () => {
    let puts = 0;
    const store = intercept(memoryStore(), {
      put: async (_, next) => {
        const outcome = await next();
        return ++puts % 5 === 0 ? UNCLEAR : outcome;
      },
    });
    // A lost answer may cost its writer another attempt, and everybody else one, too.
    const names = Array.from({ length: CHANGE_ATTEMPTS_MAX / 2 }, (_, i) => `t${i}`);
    const noted = await Promise.all(names.map((name) => noteChange(store, name, random)));
    expect(noted.filter((refusal) => refusal !== undefined)).toEqual([]);
    const changes = await changesIn(store);
    // One whose answer was lost, and whose bytes another has replaced since, cannot know that they were there.
    expect(changes.count).toBeGreaterThanOrEqual(names.length);
    expect(new Set(changes.recent)).toEqual(new Set(names));
  });

  it("keeps the object small", async () => {
    const store = memoryStore();
    const long = "t".repeat(64);
    for (let i = 0; i < CHANGES_KEPT_MAX + 3; i++) await noteChange(store, long, random);
    expect((await changesIn(store)).recent).toHaveLength(CHANGES_KEPT_MAX);
    expect(must(await store.get(CHANGES_KEY))?.body.length).toBeLessThan(9 * 1024);
  });
});

describe("a change that cannot be noted", () => {
  it("is said to be made, but not told of", async () => {
    for (const store of [
      intercept(memoryStore(), { get: async () => SILENT }),
      intercept(memoryStore(), { put: async () => UNCLEAR }),
      intercept(memoryStore(), { put: async () => ({ outcome: "conflict" }) }),
    ])
      expect(await noteChange(store, "demo", random)).toMatchObject({
        code: "store_unavailable",
        detail: expect.stringMatching(/^demo was changed, but/),
      });
  });
});

describe("the object", () => {
  it("is refused where it is not of this version", () => {
    const good = { count: 2, recent: ["a", "b"], nonce: "n" };
    expect(parseChanges(encodeDocument("postern-changes/1", good))).toEqual(good);
    expect(parseChanges(encodeDocument("postern-changes/2", good))).toBeUndefined();
    expect(parseChanges(utf8(JSON.stringify(good)))).toBeUndefined();
    for (const wrong of [
      [],
      { ...good, count: "2" },
      { ...good, recent: "a" },
      { ...good, recent: ["../keys"] },
      { ...good, recent: Array(CHANGES_KEPT_MAX + 1).fill("a") },
      { ...good, nonce: 1 },
    ])
      expect(parseChanges(encodeDocument("postern-changes/1", wrong)), JSON.stringify(wrong)).toBeUndefined();
  });

  it("is replaced by the next change where it is damaged", async () => {
    const store = memoryStore();
    await store.put(CHANGES_KEY, utf8("x"), { ifNoneMatch: "*" });
    expect(await noteChange(store, "demo", random)).toBeUndefined();
    expect(parseChanges(must(await store.get(CHANGES_KEY))?.body ?? utf8(""))).toMatchObject({ count: 1 });
  });
});
