/**
 * What every store must promise, as one suite: it runs on each driver.
 *
 * A driver's test calls `storeContract` with a way to make an empty store. `reopen` is absent where nothing
 * outlives the store object.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isRefusal } from "../../src/errors.ts";
import type { PutCondition, Store } from "../../src/store/contract.ts";
import { settledPut } from "../../src/store/settle.ts";
import { intercept, UNCLEAR } from "./intercept.ts";

export interface Subject {
  readonly store: Store;
  /** Closes the store and opens what it stored again. */
  readonly reopen?: () => Promise<Store>;
  readonly dispose: () => Promise<void>;
}

const ABSENT = { ifNoneMatch: "*" } as const satisfies PutCondition;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function written(store: Store, key: string, body: Uint8Array, condition: PutCondition = ABSENT) {
  const put = await store.put(key, body, condition);
  if (put.outcome !== "done") throw new Error(`the put of ${key} was not done: ${put.outcome}`);
  return put.etag;
}

async function read(store: Store, key: string) {
  const found = await store.get(key);
  if (found === undefined || isRefusal(found)) throw new Error(`${key} cannot be read`);
  return found;
}

async function listed(store: Store, prefix: string): Promise<string[]> {
  const keys = await store.list(prefix);
  if (isRefusal(keys)) throw new Error(keys.detail);
  return keys.toSorted();
}

export function storeContract(name: string, open: () => Promise<Subject>): void {
  describe(`${name}: the store contract`, () => {
    let subject: Subject;
    let store: Store;

    beforeEach(async () => {
      subject = await open();
      store = subject.store;
    });
    afterEach(() => subject.dispose());

    test("what was put is got, with the etag that put answered", async () => {
      const etag = await written(store, "a/b", bytes("hello"));
      expect(await read(store, "a/b")).toEqual({ body: bytes("hello"), etag });
      expect(await store.get("a")).toBeUndefined();
    });

    test("ifNoneMatch writes only where nothing is", async () => {
      const etag = await written(store, "k", bytes("first"));
      expect(await store.put("k", bytes("second"), ABSENT)).toEqual({ outcome: "conflict" });
      expect(await read(store, "k")).toEqual({ body: bytes("first"), etag });
    });

    test("ifMatch writes only over exactly that version", async () => {
      const first = await written(store, "k", bytes("1"));
      const second = await written(store, "k", bytes("2"), { ifMatch: first });
      expect(await store.put("k", bytes("3"), { ifMatch: first })).toEqual({ outcome: "conflict" });
      expect(await read(store, "k")).toEqual({ body: bytes("2"), etag: second });
    });

    test("ifMatch on an absent key is a conflict, and writes nothing", async () => {
      const etag = await written(store, "other", bytes("x"));
      expect(await store.put("k", bytes("1"), { ifMatch: etag })).toEqual({ outcome: "conflict" });
      expect(await store.get("k")).toBeUndefined();
    });

    test("the etag of another key does not match", async () => {
      await written(store, "k", bytes("1"));
      const other = await written(store, "other", bytes("other"));
      expect(await store.put("k", bytes("2"), { ifMatch: other })).toEqual({ outcome: "conflict" });
    });

    test.each(["", "nothing", '"', "*", "-1", "1e999", "NaN", "01", "1.0", " 1"])(
      "an etag %j never given out does not match",
      async (etag) => {
        await written(store, "k", bytes("1"));
        expect(await store.put("k", bytes("2"), { ifMatch: etag })).toEqual({ outcome: "conflict" });
      },
    );

    test("every write of other bytes changes the etag, also after the key was deleted", async () => {
      const etags = [await written(store, "k", bytes("nonce 0"))];
      for (let i = 1; i < 4; i++)
        etags.push(await written(store, "k", bytes(`nonce ${i}`), { ifMatch: etags.at(-1) ?? "" }));
      await store.delete("k");
      etags.push(await written(store, "k", bytes("nonce 4")));
      expect(new Set(etags).size).toBe(etags.length);
      for (const stale of etags.slice(0, -1))
        expect(await store.put("k", bytes("late"), { ifMatch: stale })).toEqual({ outcome: "conflict" });
    });

    test("equal bytes may be written again, and the etag that this answers is the one that counts", async () => {
      const first = await written(store, "k", bytes("same"));
      const second = await written(store, "k", bytes("same"), { ifMatch: first });
      expect((await read(store, "k")).etag).toBe(second);
      await written(store, "k", bytes("other"), { ifMatch: second });
      for (const stale of [first, second])
        expect(await store.put("k", bytes("late"), { ifMatch: stale })).toEqual({ outcome: "conflict" });
    });

    test("a conflict changes no etag", async () => {
      const etag = await written(store, "k", bytes("1"));
      await store.put("k", bytes("2"), ABSENT);
      await store.put("k", bytes("2"), { ifMatch: "stale" });
      expect((await read(store, "k")).etag).toBe(etag);
    });

    describe.each(["create", "update"] as const)("of many who %s one key", (kind) => {
      const bodies = Array.from({ length: 50 }, (_, i) => bytes(`racer ${i}`));

      async function condition(): Promise<PutCondition> {
        return kind === "create" ? ABSENT : { ifMatch: await written(store, "k", bytes("before")) };
      }

      test("at most one is done, and nobody is told of a conflict whose bytes are there", async () => {
        const under = await condition();
        const puts = await Promise.all(bodies.map((body) => store.put("k", body, under)));
        expect(puts.filter(({ outcome }) => outcome === "done").length).toBeLessThanOrEqual(1);
        const { body } = await read(store, "k");
        const winner = puts[bodies.findIndex((mine) => Buffer.compare(mine, body) === 0)];
        expect(["done", "unknown"]).toContain(winner?.outcome);
      });

      test("exactly one has won when all is settled, and its bytes are there", async () => {
        const under = await condition();
        const puts = await Promise.all(bodies.map((body) => settledPut(store, "k", body, under)));
        const winners = puts.flatMap((put, i) => (put.outcome === "won" ? [i] : []));
        expect(winners).toHaveLength(1);
        expect(puts.filter(({ outcome }) => outcome === "lost")).toHaveLength(49);
        expect((await read(store, "k")).body).toEqual(bodies[winners[0] ?? -1]);
      });
    });

    test("of many who update one key in each of many rounds, exactly one wins each", async () => {
      let etag = await written(store, "k", bytes("before"));
      for (let round = 0; round < 10; round++) {
        const bodies = Array.from({ length: 16 }, (_, i) => bytes(`round ${round}, racer ${i}`));
        const puts = await Promise.all(bodies.map((body) => settledPut(store, "k", body, { ifMatch: etag })));
        const winners = puts.flatMap((put, i) =>
          put.outcome === "won" ? [{ etag: put.etag, body: bodies[i] }] : [],
        );
        expect(puts.filter(({ outcome }) => outcome === "lost")).toHaveLength(15);
        expect([await read(store, "k")]).toEqual(winners);
        etag = winners[0]?.etag ?? "";
      }
    });

    test.each(["create", "update"] as const)(
      "a %s whose answer was lost and that was settled is read, listed and can be built on",
      async (kind) => {
        const before = kind === "create" ? undefined : await written(store, "k", bytes("before"));
        let answersLost = 1;
        const lossy = intercept(store, {
          put: async (_key, next) => {
            const put = await next();
            return answersLost-- > 0 ? UNCLEAR : put;
          },
        });
        const condition = before === undefined ? ABSENT : { ifMatch: before };
        const settled = await settledPut(lossy, "k", bytes("mine"), condition);
        const etag = settled.outcome === "won" ? settled.etag : "";
        expect(await read(store, "k")).toEqual({ body: bytes("mine"), etag });
        expect(await listed(store, "k")).toEqual(["k"]);
        expect(await settledPut(store, "k", bytes("late"), condition)).toEqual({ outcome: "lost" });
        await written(store, "k", bytes("next"), { ifMatch: etag });
      },
    );

    test("concurrent increments lose nothing", async () => {
      await written(store, "n", bytes("0 first"));
      const increment = async (racer: number): Promise<void> => {
        for (let attempt = 0; ; attempt++) {
          const { body, etag } = await read(store, "n");
          const [sum] = new TextDecoder().decode(body).split(" ");
          const next = bytes(`${Number(sum) + 1} ${racer}/${attempt}`);
          const put = await settledPut(store, "n", next, { ifMatch: etag });
          if (put.outcome === "won") return;
          if (put.outcome === "unknown") throw new Error(put.reason);
        }
      };
      await Promise.all(Array.from({ length: 20 }, (_, racer) => increment(racer)));
      expect(new TextDecoder().decode((await read(store, "n")).body)).toMatch(/^20 /);
    });

    test("delete removes the key; deleting an absent one is done, too", async () => {
      await written(store, "k", bytes("1"));
      await written(store, "kk", bytes("1"));
      expect(await store.delete("k")).toBe("done");
      expect(await store.delete("k")).toBe("done");
      expect(await store.get("k")).toBeUndefined();
      expect(await listed(store, "")).toEqual(["kk"]);
    });

    test("bytes are copied, on the way in and on the way out", async () => {
      const body = bytes("abc");
      await written(store, "k", body);
      body.fill(0);
      const got = await read(store, "k");
      expect(got.body).toEqual(bytes("abc"));
      got.body.fill(0);
      expect((await read(store, "k")).body).toEqual(bytes("abc"));
    });

    test("so are the bytes of Node's buffers, whose slices are views", async () => {
      const body = Buffer.from("abc");
      const put = store.put("k", body, ABSENT);
      body.fill(0);
      expect(await put).toMatchObject({ outcome: "done" });
      expect((await read(store, "k")).body).toEqual(bytes("abc"));
    });

    test("a view into a larger buffer is stored as the view", async () => {
      await written(store, "k", bytes("xxabcxx").subarray(2, 5));
      expect((await read(store, "k")).body).toEqual(bytes("abc"));
    });

    test.each([0, 1, 4096, 9 * 1024 * 1024])("a body of %i bytes comes back as it was", async (length) => {
      const body = Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
      await written(store, "k", body);
      expect(Buffer.compare((await read(store, "k")).body, body)).toBe(0);
    });

    test("list gives the keys with that prefix and no others, whatever the characters", async () => {
      const keys = [
        "a",
        "a/1",
        "a/2",
        "a%",
        "a%b",
        "a_",
        "axb",
        "A/1",
        "ä/1",
        "ä",
        "日本/語",
        "😀/1",
        "a*",
        "a?",
        "a b+c",
        "a&b=c#d",
        "a!'()~\"<>",
        "a//b",
        "b",
      ];
      for (const key of keys) await written(store, key, bytes(key));
      const prefixes = [
        "",
        "a",
        "a/",
        "a%",
        "a_",
        "A",
        "ä",
        "日本/",
        "😀",
        "a*",
        "a?",
        "a/1",
        "zzz",
        "%",
        "_",
        "a/11",
      ];
      for (const prefix of prefixes) {
        const matching = keys.filter((key) => key.startsWith(prefix)).toSorted();
        expect(await listed(store, prefix)).toEqual(matching);
      }
    });

    test("a key that begins another is another key", async () => {
      const keys = ["log", "log/", "log/1", "log/1/x", "log/10"];
      for (const key of keys) await written(store, key, bytes(key));
      expect(await store.delete("log/1")).toBe("done");
      expect(await store.put("log", bytes("x"), ABSENT)).toEqual({ outcome: "conflict" });
      const left = keys.filter((key) => key !== "log/1");
      for (const key of left) expect((await read(store, key)).body).toEqual(bytes(key));
      expect(await store.get("log/1")).toBeUndefined();
      expect(await listed(store, "log")).toEqual(left);
      expect(await listed(store, "log/1")).toEqual(["log/1/x", "log/10"]);
    });

    // More than one page of S3.
    test("many keys are listed completely", async () => {
      const keys = Array.from({ length: 1500 }, (_, i) => `log/000/${String(i).padStart(20, "0")}`);
      for (const key of keys) await written(store, key, bytes("x"));
      expect(await listed(store, "log/000/")).toEqual(keys);
    });

    test("reopened, everything is there, and no etag stands for other bytes", async (context) => {
      const { reopen } = subject;
      if (reopen === undefined) {
        context.skip();
        return;
      }
      const kept = await written(store, "kept", bytes("1"));
      const gone = await written(store, "gone", bytes("1"));
      await store.delete("gone");
      const again = await reopen();
      expect(await read(again, "kept")).toEqual({ body: bytes("1"), etag: kept });
      expect(await listed(again, "")).toEqual(["kept"]);
      expect([kept, gone]).not.toContain(await written(again, "gone", bytes("2")));
    });

    test("closed, it says that it does not answer, and never throws", async () => {
      await written(store, "k", bytes("1"));
      await store.close();
      await expect(store.close()).resolves.toBeUndefined();
      // The store in memory may go on; one that cannot answer says so.
      const goesOn = !isRefusal(await store.get("k"));
      const keys = await store.list("");
      const put = await store.put("k", bytes("2"), ABSENT);
      const deleted = await store.delete("k");
      expect({ keys: isRefusal(keys) ? keys.code : keys, put: put.outcome, deleted }).toEqual(
        goesOn
          ? { keys: ["k"], put: "conflict", deleted: "done" }
          : { keys: "store_unavailable", put: "unknown", deleted: "unknown" },
      );
    });
  });
}
