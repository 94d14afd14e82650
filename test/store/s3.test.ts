/** The S3 driver on a real Ceph RGW: the contract, unclear writes, the fenced log, and what the probe says. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Store } from "../../src/store/contract.ts";
import { probeStore } from "../../src/store/probe.ts";
import { settledPut } from "../../src/store/settle.ts";
import { numbered, opened, ownership, recovered, slots } from "../cluster/harness.ts";
import { must, random } from "../support/gate.ts";
import { describeOnRgw, type Rgw, startRgw } from "../support/rgw.ts";
import { storeContract } from "./conformance.ts";
import { intercept, unclear } from "./intercept.ts";

const ABSENT = { ifNoneMatch: "*" } as const;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describeOnRgw("the S3 driver on Ceph RGW", () => {
  let rgw: Rgw;
  beforeAll(async () => {
    rgw = await startRgw();
  });
  afterAll(() => rgw.stop());

  const fresh = (): Store => rgw.open(rgw.freshUrl());

  storeContract("S3", async () => {
    const url = rgw.freshUrl();
    let store = rgw.open(url);
    return {
      store,
      reopen: async () => {
        await store.close();
        store = rgw.open(url);
        return store;
      },
      dispose: () => store.close(),
    };
  });

  test("the probe passes, and leaves nothing behind", async () => {
    const store = fresh();
    expect(await probeStore(store, random)).toBeUndefined();
    expect(await store.list("")).toEqual([]);
  });

  test("one prefix sees nothing of another that begins with it", async () => {
    const url = rgw.freshUrl();
    const [inner, outer] = [rgw.open(url), rgw.open(`${url}x`)];
    await outer.put("k", text("outer"), ABSENT);
    expect(await inner.list("")).toEqual([]);
    expect(await inner.get("k")).toBeUndefined();
  });

  describe("settled puts", () => {
    test("whose answers are lost are won once, with the etag that stands there", async () => {
      const store = fresh();
      const lossy = intercept(store, {
        put: async (_key, next) => {
          await next();
          return unclear();
        },
      });
      const created = await settledPut(lossy, "k", text("nonce 1"), ABSENT);
      const found = must(await store.get("k"));
      expect(created).toEqual({ outcome: "won", etag: found?.etag });
      const updated = await settledPut(lossy, "k", text("nonce 2"), { ifMatch: found?.etag ?? "" });
      expect(updated).toEqual({ outcome: "won", etag: must(await store.get("k"))?.etag });
      expect(await settledPut(lossy, "k", text("nonce 3"), { ifMatch: found?.etag ?? "" })).toEqual({
        outcome: "lost",
      });
    });

    test("of many racers one is won, whatever the losers are told", async () => {
      const store = fresh();
      for (let round = 0; round < 10; round++) {
        const race = Array.from({ length: 16 }, (_, i) =>
          settledPut(store, `k${round}`, text(`racer ${i}`), ABSENT),
        );
        const outcomes = (await Promise.all(race)).map(({ outcome }) => outcome);
        expect(outcomes.toSorted()).toEqual([...Array<string>(15).fill("lost"), "won"]);
      }
    });
  });

  describe("the log", () => {
    test("keeps what was appended, over checkpoints and new owners", async () => {
      const store = fresh();
      const first = await opened(store, { checkpointLogBytesMin: 2_000 });
      await first.appendEach(...numbered("a", 40));
      await first.log.idle();
      expect((await ownership(store)).checkpoint?.seq).toBeGreaterThan(1);
      expect((await slots(store)).size).toBeLessThan(41);
      expect(await recovered(store)).toEqual(numbered("a", 40));
    });

    test("an older owner is fenced: its next entry is refused and is nowhere", async () => {
      const store = fresh();
      const old = await opened(store);
      await old.appendEach('"before"');
      const young = await opened(store);
      expect(await old.append('"lost"')).toMatchObject({ code: "not_leader" });
      expect(old.stepDowns).toMatchObject([{ code: "not_leader" }]);
      await young.appendEach('"after"');
      expect(await recovered(store)).toEqual(['"before"', '"after"']);
    });

    test("of many who take it at once none shares an epoch, and one leads", async () => {
      const store = fresh();
      await (await opened(store)).appendEach('"kept"');
      const takers = await Promise.allSettled(Array.from({ length: 6 }, () => opened(store)));
      const opens = takers.flatMap((taker) => (taker.status === "fulfilled" ? [taker.value] : []));
      const epochs = opens.map(({ log }) => log.epoch);
      expect(new Set(epochs).size).toBe(epochs.length);
      const accepted = await Promise.all(opens.map((one) => one.append('"x"')));
      expect(accepted.filter((refusal) => refusal === undefined)).toHaveLength(1);
      expect((await ownership(store)).epoch).toBe(Math.max(...epochs));
      expect((await recovered(store)).slice(0, 2)).toEqual(['"kept"', '"x"']);
    });
  });
});
