/** `uses` and `rate`: what is counted, for how long, and what it costs to keep. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Actor } from "../../src/actor/actor.ts";
import { type CaveatCount, type CountState, countAll } from "../../src/actor/counts.ts";
import type { Shard } from "../../src/actor/shard.ts";
import type { Count } from "../../src/authorize/values.ts";
import { isRefusal } from "../../src/errors.ts";
import { COUNTS_PER_ACTOR_MAX, COUNTS_PER_ROOT_MAX, RATE_SLOTS } from "../../src/limits.ts";
import { outcome, refused } from "../token/outcome.ts";
import { callOf, caveat, NOW_MS, shardOf } from "./counter.ts";
import { loaded, Shelf, ShelfLog } from "./shelf.ts";

function counting(id: string, count: Count, until_ms?: number): CaveatCount {
  return { id, count, token: 0, caveat: { index: 4, text: "the caveat" }, until_ms };
}

const uses = (most: number, id = "u", until_ms?: number): CaveatCount => counting(id, { most }, until_ms);
const rate = (most: number, period_ms: number, id = "r"): CaveatCount => counting(id, { most, period_ms });

/** So many calls at once, one unless said. */
function countOnce(
  counts: readonly CaveatCount[],
  states: (id: string) => CountState | undefined,
  now_ms: number,
  calls = 1,
): ReturnType<typeof countAll> {
  return countAll({ counts, word: { length: calls }, batch: calls > 1, now_ms }, states);
}

/** Calls at these times, one after the other: the times of those that were admitted. */
function admitted(count: CaveatCount, times_ms: readonly number[]): readonly number[] {
  let state: CountState | undefined;
  return times_ms.filter((now_ms) => {
    const records = countOnce([count], () => state, now_ms);
    if (isRefusal(records)) return false;
    state = records[0]?.[1];
    return true;
  });
}

const anyPeriod = fc.integer({ min: 1000, max: 100_000 });
/** Gaps that are short, long, or as long as a slot or a period. */
const anyTimes = (period_ms: number): fc.Arbitrary<readonly number[]> =>
  fc
    .array(
      fc.oneof(
        fc.nat({ max: 10 }),
        fc.nat({ max: period_ms }),
        fc.constantFrom(period_ms, period_ms - 1, Math.floor(period_ms / RATE_SLOTS)),
      ),
      { maxLength: 80 },
    )
    .map((gaps) => {
      let now_ms = NOW_MS;
      return gaps.map((gap) => (now_ms += gap));
    });
const anyRun = anyPeriod.chain((period_ms) => fc.tuple(fc.constant(period_ms), anyTimes(period_ms)));

describe("uses", () => {
  test("are as many as the caveat says, and then none", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), anyRun, (most, [, times]) => {
        expect(admitted(uses(most), times)).toEqual(times.slice(0, most));
      }),
    );
  });

  test("that are used up say so, and no later try can help", () => {
    const refusal = refused(countOnce([uses(3)], () => [3], NOW_MS));
    expect(refusal).toMatchObject({
      code: "caveat_denied",
      detail: "caveat 4 forbids this call: its 3 uses are used up",
      facts: { token: 0, caveat: { index: 4, text: "the caveat" } },
    });
    expect(refused(countOnce([uses(1)], () => [1], NOW_MS)).detail).toContain("its one use is used up");
  });
});

describe("a rate", () => {
  test("never has more calls in any stretch of time as long as its period", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), anyRun, (most, [period_ms, times]) => {
        const passed = admitted(rate(most, period_ms), times);
        for (const [index, start_ms] of passed.entries()) {
          const within = passed.slice(index).filter((time_ms) => time_ms - start_ms < period_ms);
          expect(within.length).toBeLessThanOrEqual(most);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("refuses only where so many calls were little longer ago than its period", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), anyRun, (most, [period_ms, times]) => {
        const passed = admitted(rate(most, period_ms), times);
        const slot_ms = Math.floor(period_ms / RATE_SLOTS);
        for (const now_ms of times.filter((time_ms) => !passed.includes(time_ms))) {
          const before = passed.filter(
            (time_ms) => time_ms <= now_ms && now_ms - time_ms < period_ms + slot_ms,
          );
          expect(before.length).toBeGreaterThanOrEqual(most);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("tells when it has room again, to the millisecond", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), anyRun, (most, [period_ms, times]) => {
        let state: CountState | undefined;
        for (const now_ms of times) {
          const records = countOnce([rate(most, period_ms)], () => state, now_ms);
          if (!isRefusal(records)) {
            state = records[0]?.[1];
            continue;
          }
          const { retry_after_ms = 0 } = records.facts;
          expect(records.code).toBe("quota_exceeded");
          const again = (wait_ms: number) =>
            outcome(countOnce([rate(most, period_ms)], () => state, now_ms + wait_ms));
          expect([again(retry_after_ms - 1), again(retry_after_ms)]).toEqual(["quota_exceeded", "taken"]);
        }
      }),
    );
  });

  test("takes the same room whatever it allows, also where the clock is set back", () => {
    fc.assert(
      fc.property(
        anyPeriod,
        fc.array(fc.integer({ min: -200_000, max: 20_000 }), { maxLength: 200 }),
        (period_ms, gaps) => {
          let [now_ms, state] = [NOW_MS, undefined as CountState | undefined];
          for (const gap of gaps) {
            now_ms += gap;
            const records = countOnce([rate(1_000_000, period_ms)], () => state, now_ms);
            if (isRefusal(records)) throw new Error(records.detail);
            state = records[0]?.[1];
          }
          expect(state?.length ?? 0).toBeLessThanOrEqual(2 * (RATE_SLOTS + 2));
        },
      ),
    );
  });

  test("counts on where the clock was set back, until it has caught up", () => {
    const back = [NOW_MS, NOW_MS + 1, NOW_MS - 50_000, NOW_MS - 49_000];
    expect(admitted(rate(2, 10_000), back)).toEqual([NOW_MS, NOW_MS + 1]);
  });

  test("is over when its last slot has left the period; uses are over with the token, or never", () => {
    const untilOf = (count: CaveatCount, before: CountState = []) => {
      const records = countOnce([count], () => before, NOW_MS);
      return isRefusal(records) ? undefined : records[0]?.[2];
    };
    expect(untilOf(uses(3))).toBeNull();
    expect(untilOf(uses(3, "u", NOW_MS + 5))).toBe(NOW_MS + 5);
    expect(untilOf(rate(3, 16_000))).toBe(NOW_MS + 1000 + 16_000);
    expect(untilOf({ ...rate(3, 16_000), until_ms: NOW_MS + 5 })).toBe(NOW_MS + 5);
  });
});

describe("a batch", () => {
  const left = (count: CaveatCount, before: CountState, calls: number) =>
    refused(countOnce([count], () => before, NOW_MS, calls));

  test("counts each of its calls, and is taken whole or not at all", () => {
    expect(countOnce([uses(5)], () => [2], NOW_MS, 3)).toEqual([["u", [5], null]]);
    expect(left(uses(5), [3], 3)).toMatchObject({
      code: "caveat_denied",
      detail: "caveat 4 forbids this call: 2 of its 5 uses are left",
      facts: { call: 2 },
    });
    expect(left(uses(5), [5], 3)).toMatchObject({ facts: { call: 0 } });
  });

  test("of as many calls as a rate allows waits until the last of the others has left", () => {
    const before = [NOW_MS - 500, 2, NOW_MS - 100, 1];
    expect(left(rate(4, 1000), before, 2).facts).toMatchObject({ call: 1, retry_after_ms: 500 });
    expect(left(rate(4, 1000), before, 4).facts).toMatchObject({ call: 1, retry_after_ms: 900 });
    expect(outcome(countOnce([rate(4, 1000)], () => before, NOW_MS + 500, 2))).toBe("taken");
  });

  test("of more calls than a rate ever allows at once is refused for good", () => {
    expect(left(rate(4, 1000), [], 5)).toMatchObject({
      code: "caveat_denied",
      detail: "caveat 4 forbids this call: it allows no 5 calls at once",
      facts: { call: 4 },
    });
  });
});

test("all counts of a token count, or none does", () => {
  const states = new Map<string, CountState>([["full", [2]]]);
  const both = [uses(5, "free"), uses(2, "full")];
  expect(outcome(countOnce(both, (id) => states.get(id), NOW_MS))).toBe("caveat_denied");
  expect(countOnce(both.slice(0, 1), (id) => states.get(id), NOW_MS)).toEqual([["free", [1], null]]);
  expect(countOnce([], () => undefined, NOW_MS)).toEqual([]);
});

describe("at the actor", () => {
  class Node {
    readonly shelf: Shelf;
    readonly shard: Shard;
    readonly #actors: ReturnType<Shelf["recover"]>;

    constructor(shelf = new Shelf()) {
      this.shelf = shelf;
      const log = new ShelfLog(shelf);
      this.#actors = shelf.recover();
      this.shard = shardOf({ actors: this.#actors, log, read: shelf.read });
    }

    async call(message: string, given: Parameters<typeof callOf>[1] = {}): Promise<string> {
      return outcome(await this.shard.call(callOf(message, given)));
    }

    checkpoint(): void {
      this.shelf.checkpoint(this.#actors);
    }

    actor(): Promise<Actor> {
      return loaded(this.#actors, "t/account/1", this.shelf.read);
    }
  }

  function idsOf({ counts }: Actor): string[] {
    const ids: string[] = [];
    for (const [, own] of counts) ids.push(...own.keys());
    return ids;
  }
  const three = { counts: [uses(3)] };

  test("what takes effect counts, with all that hold the caveat, and what is refused does not", async () => {
    const node = new Node();
    expect(await node.call("open", three)).toBe("taken");
    // The account is empty; the order is wrong; another caveat forbids it.
    expect(await node.call("withdraw", three)).toBe("handler_error");
    expect(await node.call("open", three)).toBe("out_of_order");
    expect(await node.call("deposit", { ...three, monitors: [caveat("m", "withdraw")] })).toBe(
      "out_of_order",
    );
    expect(await node.call("deposit", { counts: [uses(3), uses(1, "other")] })).toBe("taken");
    expect(await node.call("deposit", { counts: [uses(3), uses(1, "other")] })).toBe("caveat_denied");
    expect(await node.call("deposit", three)).toBe("taken");
    expect(await node.call("deposit", three)).toBe("caveat_denied");
    expect(await node.call("deposit")).toBe("taken");
  });

  test("a call that is repeated under its key counts once", async () => {
    const node = new Node();
    const repeated = { ...three, idempotency: { key: "k", digest: "d" } };
    for (let times = 0; times < 5; times++) expect(await node.call("open", repeated)).toBe("taken");
    expect((await node.actor()).counts.get("r", "u")?.state).toEqual([1]);
  });

  test("of one actor are not those of another", async () => {
    const node = new Node();
    for (const actor of ["account/1", "account/2"])
      expect(await node.call("open", { actor, counts: [uses(1)] })).toBe("taken");
  });

  test("many at once are no more than are allowed", async () => {
    const node = new Node();
    await node.call("open");
    const answers = await Promise.all(Array.from({ length: 10 }, () => node.call("deposit", three)));
    expect(answers.filter((answer) => answer === "taken")).toHaveLength(3);
  });

  test("survive a restart from the log, from a checkpoint, and from both", async () => {
    const node = new Node();
    const counts = [uses(4), rate(9, 60_000)];
    await node.call("open", { counts });
    await node.call("deposit", { counts });
    const fromLog = new Node(node.shelf);
    expect((await fromLog.actor()).counts).toEqual((await node.actor()).counts);
    fromLog.checkpoint();
    const fromCheckpoint = new Node(node.shelf);
    expect((await fromCheckpoint.actor()).counts).toEqual((await node.actor()).counts);
    expect(await fromCheckpoint.call("deposit", { counts })).toBe("taken");
    const fromBoth = new Node(node.shelf);
    expect(await fromBoth.call("deposit", { counts })).toBe("taken");
    expect(await fromBoth.call("deposit", { counts })).toBe("caveat_denied");
  });

  test("are forgotten with a checkpoint when they are over, and not before", async () => {
    const node = new Node();
    await node.call("open", { counts: [uses(3, "soon", NOW_MS + 1000), uses(3), rate(3, 1000)] });
    node.checkpoint();
    const kept = await new Node(node.shelf).actor();
    expect(idsOf(kept)).toEqual(["soon", "u", "r"]);
    await node.call("deposit", { now_ms: NOW_MS + 60_000 });
    node.checkpoint();
    const left = await new Node(node.shelf).actor();
    expect(idsOf(left)).toEqual(["u"]);
  });

  const share = "this token and all that share its root have";
  test.each([
    ["a root has its share, and nobody else is held up", COUNTS_PER_ROOT_MAX, () => "r", share],
    [
      "an actor has room for so many, of all roots",
      COUNTS_PER_ACTOR_MAX,
      (i: number) => `r${i}`,
      "the actor has",
    ],
  ])("%s", async (_, most, rootOf, reason) => {
    const node = new Node();
    await node.call("open");
    const { counts } = await node.actor();
    for (let i = 0; i < most - 1; i++)
      counts.set(rootOf(i), `c${i}`, { state: [1], until_ms: NOW_MS + 1000 });
    expect(await node.call("deposit", three)).toBe("taken");
    const more = { counts: [uses(3, "one too many")] };
    const refusal = refused(await node.shard.call(callOf("deposit", more)));
    expect(refusal).toMatchObject({
      code: "quota_exceeded",
      detail: expect.stringContaining(reason) as unknown,
    });
    expect(await node.call("deposit", three)).toBe("taken");
    const other = { ...more, token: { root: "other", digest: "other" } };
    expect(await node.call("deposit", other)).toBe(most === COUNTS_PER_ROOT_MAX ? "taken" : "quota_exceeded");
    expect(await node.call("deposit", { ...more, now_ms: NOW_MS + 60_000 })).toBe("taken");
  });

  test("of a read are written, though it moves nothing else", async () => {
    const node = new Node();
    await node.call("open");
    expect(await node.call("balance", { counts: [uses(1)] })).toBe("taken");
    expect(await new Node(node.shelf).call("balance", { counts: [uses(1)] })).toBe("caveat_denied");
  });
});
