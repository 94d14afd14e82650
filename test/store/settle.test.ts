import { describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import { PUT_ATTEMPTS_MAX } from "../../src/limits.ts";
import type { PutCondition, PutOutcome, Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { settledPut } from "../../src/store/settle.ts";
import { intercept, SILENT, UNCLEAR } from "./intercept.ts";

const MINE = new TextEncoder().encode("mine");
const THEIRS = new TextEncoder().encode("theirs");
const ABSENT = { ifNoneMatch: "*" } as const satisfies PutCondition;

/**
 * What becomes of one put: `late` is applied only when `deliverLate` is called, `twice` is sent on twice by somebody on
 * the way, who passes the second answer back, and `busy` meets another write of the key that comes to nothing.
 */
type Fate = "ok" | "not applied" | "applied" | "late" | "twice" | "busy";

class FaultyStore {
  readonly inner: Store;
  readonly store: Store;
  /** Every put as it was sent. */
  readonly sent: { readonly body: Uint8Array; readonly condition: PutCondition }[] = [];
  silentReads = 0;
  readonly #late: (() => Promise<PutOutcome>)[] = [];

  constructor(inner: Store, fates: readonly Fate[], beforeRead: () => Promise<unknown> = async () => {}) {
    this.inner = inner;
    const left = [...fates];
    this.store = intercept(inner, {
      put: async (_key, next, body, condition) => {
        this.sent.push({ body, condition });
        const fate = left.shift() ?? "ok";
        if (fate === "busy") return { outcome: "conflict" };
        if (fate === "twice") await next();
        if (fate === "ok" || fate === "twice") return next();
        if (fate === "applied") await next();
        if (fate === "late") this.#late.push(next);
        return UNCLEAR;
      },
      get: async (_key, next) => {
        await beforeRead();
        return this.silentReads-- > 0 ? SILENT : next();
      },
    });
  }

  deliverLate(): Promise<PutOutcome[]> {
    return Promise.all(this.#late.splice(0).map((apply) => apply()));
  }
}

async function textAt(store: Store, key: string): Promise<string | undefined> {
  const found = await store.get(key);
  if (isRefusal(found)) throw new Error(found.detail);
  return found && new TextDecoder().decode(found.body);
}

async function theyWrite(inner: Store): Promise<void> {
  const found = await inner.get("k");
  if (isRefusal(found)) throw new Error(found.detail);
  await inner.put("k", THEIRS, found === undefined ? ABSENT : { ifMatch: found.etag });
}

/** Each case twice: creating a key, and changing one. */
describe.each(["create", "update"] as const)("%s", (kind) => {
  async function prepared(): Promise<{ inner: Store; condition: PutCondition }> {
    const inner = memoryStore();
    if (kind === "create") return { inner, condition: ABSENT };
    const put = await inner.put("k", new TextEncoder().encode("before"), ABSENT);
    return { inner, condition: { ifMatch: put.outcome === "done" ? put.etag : "" } };
  }

  const before = kind === "create" ? undefined : "before";

  test("a clear yes is won and a clear no is lost, at the first attempt", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, []);
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "won" });
    expect(await settledPut(faulty.store, "k", THEIRS, condition)).toEqual({ outcome: "lost" });
    expect(faulty.sent).toHaveLength(2);
  });

  test("applied, but the answer was lost: won, with the etag that stands there", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["applied"]);
    const settled = await settledPut(faulty.store, "k", MINE, condition);
    expect(settled).toEqual({ outcome: "won", etag: ((await inner.get("k")) as { etag: string }).etag });
    expect(faulty.sent).toHaveLength(1);
  });

  test("not applied: sent again, the same bytes under the same condition", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["not applied", "not applied"]);
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "won" });
    expect(faulty.sent).toEqual(Array.from({ length: 3 }, () => ({ body: MINE, condition })));
    expect(await textAt(inner, "k")).toBe("mine");
  });

  test("applied, read back in vain, sent again: the conflict is with my own bytes, so won", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["applied"]);
    faulty.silentReads = 1;
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "won" });
    expect(faulty.sent).toHaveLength(2);
  });

  test("sent on twice by somebody on the way: the conflict is with my own bytes, so won", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["twice"]);
    const settled = await settledPut(faulty.store, "k", MINE, condition);
    expect(settled).toEqual({ outcome: "won", etag: ((await inner.get("k")) as { etag: string }).etag });
    expect(faulty.sent).toHaveLength(1);
  });

  test("sent on twice, and never readable: unknown, never lost", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["twice"]);
    faulty.silentReads = PUT_ATTEMPTS_MAX;
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "unknown" });
  });

  test("a conflict with a write that came to nothing: sent again", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["busy"]);
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "won" });
    expect(faulty.sent).toHaveLength(2);
  });

  test("not applied, and somebody else came: lost", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["not applied"], () => theyWrite(inner));
    expect(await settledPut(faulty.store, "k", MINE, condition)).toEqual({ outcome: "lost" });
    expect(await textAt(inner, "k")).toBe("theirs");
  });

  test("sent again and then applied late: won once, and the duplicate changes nothing", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["late", "ok"]);
    const settled = await settledPut(faulty.store, "k", MINE, condition);
    expect(await faulty.deliverLate()).toEqual([{ outcome: "conflict" }]);
    expect(settled).toEqual({ outcome: "won", etag: ((await inner.get("k")) as { etag: string }).etag });
  });

  test("applied late, between reading back and sending again: won", async () => {
    const { inner, condition } = await prepared();
    const faulty: FaultyStore = new FaultyStore(
      intercept(inner, {
        get: async (_key, next) => {
          const found = await next();
          await faulty.deliverLate();
          return found;
        },
      }),
      ["late", "ok"],
    );
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "won" });
    expect(faulty.sent).toHaveLength(2);
  });

  test("never clear and nothing there: unknown, because it may still be applied", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, Array<Fate>(PUT_ATTEMPTS_MAX).fill("late"));
    const settled = await settledPut(faulty.store, "k", MINE, condition);
    expect(settled).toEqual({ outcome: "unknown", reason: "the connection was cut" });
    expect(faulty.sent).toHaveLength(PUT_ATTEMPTS_MAX);
    expect(await textAt(inner, "k")).toBe(before);
    await faulty.deliverLate();
    expect(await textAt(inner, "k")).toBe("mine");
  });

  test("applied, but never readable: unknown, never lost", async () => {
    const { inner, condition } = await prepared();
    const faulty = new FaultyStore(inner, ["applied"]);
    faulty.silentReads = PUT_ATTEMPTS_MAX;
    expect(await settledPut(faulty.store, "k", MINE, condition)).toMatchObject({ outcome: "unknown" });
  });
});
