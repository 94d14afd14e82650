/** The feed under interleaved writers and faults: nothing that was acknowledged is lost, nothing is read twice or skipped. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { isRefusal } from "../../src/errors.ts";
import { REVOCATIONS_PER_PAGE, STORE_READS_AT_ONCE } from "../../src/limits.ts";
import type { PutOutcome, Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { encodePage, pageKey, type Revocation } from "../../src/token/revocation.ts";
import { appendRevocation, listRevocations, RevocationFeed } from "../../src/token/revocation-feed.ts";
import { intercept, SILENT, UNCLEAR } from "../store/intercept.ts";
import { outcome, taken } from "./outcome.ts";

const NOW_MS = 1_800_000_000_000;
const START = { page: 0, index: 0 };
let nonces = 0;
const writing = { now_ms: NOW_MS, nonce: () => `n${++nonces}` };

const kid = (number: number): Revocation => ({
  kind: "kid",
  value: String(number),
  at: "2026-01-31T12:00:00Z",
});
const numbered = (from: number, count: number): Revocation[] =>
  Array.from({ length: count }, (_, i) => kid(from + i));

/** Written at once, as if many had revoked before. */
async function prefilled(count: number, tenant = "demo"): Promise<Store> {
  const store = memoryStore();
  for (let page = 0; page * REVOCATIONS_PER_PAGE < count; page++) {
    const first = page * REVOCATIONS_PER_PAGE;
    const entries = numbered(first + 1, Math.min(REVOCATIONS_PER_PAGE, count - first));
    const body = encodePage({ tenant, page, entries }, `p${page}`);
    expect(await store.put(pageKey(tenant, page), body, { ifNoneMatch: "*" })).toMatchObject({
      outcome: "done",
    });
  }
  return store;
}

async function valuesIn(store: Store): Promise<readonly string[]> {
  return taken(await listRevocations(store, "demo", START, 1_000_000)).entries.map(({ value }) => value);
}

describe("writers", () => {
  it("lose nothing, whatever answers are lost and however they interleave", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.constantFrom("done", "lost answer", "lost request", "silent read"), { maxLength: 60 }),
        fc.constantFrom(0, REVOCATIONS_PER_PAGE - 2),
        async (scheduler, faults, before) => {
          const inner = await prefilled(before);
          let at = 0;
          const fault = () => faults[at++] ?? "done";
          const store = intercept(inner, {
            get: async (_, next) => {
              await scheduler.schedule(Promise.resolve(), "get");
              return fault() === "silent read" ? SILENT : next();
            },
            put: async (_, next): Promise<PutOutcome> => {
              await scheduler.schedule(Promise.resolve(), "put");
              const what = fault();
              if (what === "lost request") return UNCLEAR;
              const put = await next();
              return what === "lost answer" ? UNCLEAR : put;
            },
          });
          const follower = new RevocationFeed(store, "demo");
          const entries = numbered(before + 1, 6);
          const writers = entries.map((entry) => appendRevocation(store, "demo", entry, writing));
          const follow = (async () => {
            for (let looks = 0; looks < 5; looks++) await follower.read(NOW_MS);
          })();
          const answers = await scheduler.waitFor(Promise.all(writers));
          await scheduler.waitFor(follow);

          const there = await valuesIn(inner);
          expect(new Set(there).size).toBe(there.length);
          for (const [i, answer] of answers.entries()) {
            if (isRefusal(answer)) expect(answer.code).toBe("store_unavailable");
            else expect(there).toContain(entries[i]?.value);
          }
          // The one that followed all along knows what one that starts now knows.
          const late = new RevocationFeed(inner, "demo");
          faults.length = 0;
          expect(await scheduler.waitFor(follower.read(NOW_MS))).toBeUndefined();
          expect(await late.read(NOW_MS)).toBeUndefined();
          for (const entry of numbered(1, before + 6)) {
            expect(late.revoked.covers(entry)).toBe(there.includes(entry.value));
            expect(follower.revoked.covers(entry)).toBe(there.includes(entry.value));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("that revoke twice leave one entry", async () => {
    const store = memoryStore();
    const answers = [];
    for (const _ of [1, 2]) answers.push(await appendRevocation(store, "demo", kid(1), writing));
    answers.push(...(await Promise.all([2, 2].map((n) => appendRevocation(store, "demo", kid(n), writing)))));
    expect(answers).toEqual([true, false, true, false]);
    expect(await valuesIn(store)).toEqual(["1", "2"]);
  });

  it("extend an entry that ends sooner", async () => {
    const store = memoryStore();
    const entry = { ...kid(1), until_ms: NOW_MS + 1000 };
    expect(await appendRevocation(store, "demo", entry, writing)).toBe(true);
    expect(await appendRevocation(store, "demo", { ...entry, until_ms: NOW_MS }, writing)).toBe(false);
    expect(await appendRevocation(store, "demo", kid(1), writing)).toBe(true);
  });

  it("fill a page and begin the next, whose places do not move", async () => {
    const store = await prefilled(REVOCATIONS_PER_PAGE - 1);
    const follower = new RevocationFeed(store, "demo");
    for (const entry of numbered(REVOCATIONS_PER_PAGE, 3)) {
      expect(await appendRevocation(store, "demo", entry, writing)).toBe(true);
      expect(await follower.read(NOW_MS)).toBeUndefined();
      expect(follower.revoked.covers(entry)).toBe(true);
    }
    expect((await store.list("")) as string[]).toHaveLength(2);
    const { entries, more } = taken(
      await listRevocations(store, "demo", { page: 0, index: REVOCATIONS_PER_PAGE - 1 }, 2),
    );
    expect(entries.map(({ page, index, value }) => [page, index, value])).toEqual([
      [0, REVOCATIONS_PER_PAGE - 1, String(REVOCATIONS_PER_PAGE)],
      [1, 0, String(REVOCATIONS_PER_PAGE + 1)],
    ]);
    expect(more).toBe(true);
  });
});

describe("a follower", () => {
  it("starts with one read for each page, a few at a time, and then reads one", async () => {
    const pages = 40;
    const count = pages * REVOCATIONS_PER_PAGE - 1;
    let reads = 0;
    let now = 0;
    let atOnce = 0;
    const store = intercept(await prefilled(count), {
      get: async (_, next) => {
        reads++;
        atOnce = Math.max(atOnce, ++now);
        await new Promise(setImmediate);
        now--;
        return next();
      },
    });
    const feed = new RevocationFeed(store, "demo");
    expect(await feed.read(NOW_MS)).toBeUndefined();
    expect(feed.revoked.size).toBe(count);
    expect(reads).toBeLessThan(pages + STORE_READS_AT_ONCE);
    expect(atOnce).toBe(STORE_READS_AT_ONCE);
    reads = 0;
    expect(await feed.read(NOW_MS)).toBeUndefined();
    expect(reads).toBe(1);
  });

  it("keeps what it knows of a page that is damaged, lost, or replaced by an older one, and says so", async () => {
    const store = memoryStore();
    const key = pageKey("demo", 0);
    const feed = new RevocationFeed(store, "demo");
    for (const entry of numbered(1, 2)) await appendRevocation(store, "demo", entry, writing);
    expect(await feed.read(NOW_MS)).toBeUndefined();
    const older = encodePage({ tenant: "demo", page: 0, entries: [kid(1)] }, "older");
    const other = encodePage({ tenant: "demo", page: 0, entries: [kid(1), kid(3), kid(2)] }, "other");
    const foreign = encodePage({ tenant: "else", page: 0, entries: numbered(1, 2) }, "foreign");
    for (const body of [undefined, utf8("x"), older, other, foreign]) {
      await store.delete(key);
      if (body !== undefined) await store.put(key, body, { ifNoneMatch: "*" });
      expect(await feed.read(NOW_MS)).toMatchObject({
        code: "store_unavailable",
        detail: expect.stringContaining(key),
      });
      for (const entry of numbered(1, 2)) expect(feed.revoked.covers(entry)).toBe(true);
      if (body !== undefined && body !== older && body !== other)
        expect(outcome(await appendRevocation(store, "demo", kid(4), writing))).toBe("store_unavailable");
    }
    const mended = encodePage({ tenant: "demo", page: 0, entries: numbered(1, 3) }, "mended");
    await store.delete(key);
    await store.put(key, mended, { ifNoneMatch: "*" });
    expect(await feed.read(NOW_MS)).toBeUndefined();
    expect(feed.revoked.covers(kid(3))).toBe(true);
  });

  it("says that a store does not answer", async () => {
    const feed = new RevocationFeed(intercept(memoryStore(), { get: async () => SILENT }), "demo");
    expect(await feed.read(NOW_MS)).toBe(SILENT);
  });

  it("knows of no other tenant's feed", async () => {
    const store = await prefilled(3, "other");
    const feed = new RevocationFeed(store, "demo");
    expect(await feed.read(NOW_MS)).toBeUndefined();
    expect(feed.revoked.size).toBe(0);
  });
});

describe("the list", () => {
  it("page by page is the whole list, whatever the size of the pages, and while others append", async () => {
    const store = await prefilled(REVOCATIONS_PER_PAGE + 7);
    const whole = await valuesIn(store);
    expect(whole).toHaveLength(REVOCATIONS_PER_PAGE + 7);
    for (const limit of [1, 2, 100, REVOCATIONS_PER_PAGE, whole.length, whole.length + 1]) {
      const seen: string[] = [];
      let from = START;
      for (;;) {
        const { entries, more } = taken(await listRevocations(store, "demo", from, limit));
        seen.push(...entries.map(({ value }) => value));
        const last = entries.at(-1);
        if (!more || last === undefined) break;
        from = { page: last.page, index: last.index + 1 };
      }
      expect(seen.slice(0, whole.length)).toEqual(whole);
      await appendRevocation(store, "demo", kid(10_000 + limit), writing);
    }
  });

  it("refuses to show a damaged page as a short one", async () => {
    const store = await prefilled(3);
    await store.delete(pageKey("demo", 0));
    await store.put(pageKey("demo", 0), utf8("x"), { ifNoneMatch: "*" });
    expect(outcome(await listRevocations(store, "demo", START, 10))).toBe("store_unavailable");
  });
});
