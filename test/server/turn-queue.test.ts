/** The order of turns: fair among tenants by the time that they take, and never all threads for one. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  TURN_BRIEF_US_MAX,
  TURN_BYTES_WAITING_PER_TENANT_MAX,
  TURN_LONG_BARRED_FACTOR,
  TURN_QUANTUM_US,
  TURNS_WAITING_PER_TENANT_MAX,
} from "../../src/limits.ts";
import { TurnQueue, type Waiting } from "../../src/server/turn-queue.ts";

const turn = (tenant: string, bytes = 100): Waiting => ({ tenant, bytes });

/** Runs turns on one thread for so long, while each tenant has one waiting at all times. @returns what each one got, µs */
function served(costs: Readonly<Record<string, number>>, time_us: number): Record<string, number> {
  const queue = new TurnQueue<Waiting>();
  const got = Object.fromEntries(Object.keys(costs).map((tenant) => [tenant, 0]));
  for (const tenant of Object.keys(costs)) queue.push(turn(tenant));
  for (let now_us = 0; now_us < time_us; ) {
    const work = queue.next(now_us / 1000, false);
    if (work === undefined) throw new Error("something always waits");
    queue.push(turn(work.tenant));
    const took_us = costs[work.tenant] ?? 0;
    now_us += took_us;
    queue.done(work, took_us, now_us / 1000);
    got[work.tenant] = (got[work.tenant] ?? 0) + took_us;
  }
  return got;
}

describe("tenants who always wait", () => {
  test("have the same time, whatever their turns take", () => {
    const got = served({ brief: 50, usual: 700, long: 90_000 }, 30_000_000);
    for (const time_us of Object.values(got)) expect(Math.abs(time_us - 10_000_000)).toBeLessThan(200_000);
  });

  test("law: none is ahead of another by more than a turn of each and a round", () => {
    const anyCost = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(fc.array(anyCost, { minLength: 2, maxLength: 6 }), (costs) => {
        const named = Object.fromEntries(costs.map((cost, i) => [`t${i}`, cost]));
        const got = served(named, 3_000_000);
        const spread = Math.max(...Object.values(got)) - Math.min(...Object.values(got));
        expect(spread).toBeLessThanOrEqual(Math.max(...costs) + TURN_QUANTUM_US + Math.min(...costs));
      }),
      { seed: 1, numRuns: 40 },
    );
  });

  test("take turns, not rounds: of two who are brief none waits for ten of the other", () => {
    const queue = new TurnQueue<Waiting>();
    for (let i = 0; i < 4; i++) queue.push(turn("a"));
    for (let i = 0; i < 4; i++) queue.push(turn("b"));
    const order = Array.from({ length: 8 }, () => {
      const work = queue.next(0, false);
      if (work !== undefined) queue.done(work, 10, 0);
      return work?.tenant;
    });
    expect(order.join("")).toBe("abababab");
  });
});

test("who comes back is served at once, but has saved nothing up; what he owes he still owes", () => {
  const queue = new TurnQueue<Waiting>();
  const run = (took_us: number) => {
    const work = queue.next(0, false);
    if (work !== undefined) queue.done(work, took_us, 0);
    return work?.tenant;
  };
  queue.push(turn("away"));
  expect(run(10)).toBe("away");
  for (let i = 0; i < 100; i++) queue.push(turn("busy"));
  for (let i = 0; i < 50; i++) run(500);
  for (let i = 0; i < 100; i++) queue.push(turn("away"));
  const order = Array.from({ length: 20 }, () => run(500));
  expect(order.filter((tenant) => tenant === "away").length).toBeLessThanOrEqual(12);
  queue.push(turn("debtor"));
  for (let tenant = run(50_000); tenant !== "debtor"; ) tenant = run(50_000);
  queue.push(turn("debtor"));
  expect(run(10)).not.toBe("debtor");
});

describe("the kept thread", () => {
  test("is not for a tenant who has one", () => {
    const queue = new TurnQueue<Waiting>();
    queue.push(turn("a"));
    queue.push(turn("a"));
    const first = queue.next(0, false);
    expect(queue.next(0, true)).toBeUndefined();
    queue.push(turn("b"));
    expect(queue.next(0, true)).toMatchObject({ tenant: "b" });
    if (first !== undefined) queue.done(first, 10, 0);
    expect(queue.next(0, true)).toMatchObject({ tenant: "a" });
  });

  test("is not for a tenant whose turn was long, for a hundred times as long", () => {
    const queue = new TurnQueue<Waiting>();
    queue.push(turn("a"));
    const first = queue.next(0, true);
    const took_us = TURN_BRIEF_US_MAX + 1000;
    if (first !== undefined) queue.done(first, took_us, 5);
    queue.push(turn("a"));
    const until_ms = 5 + (took_us / 1000) * TURN_LONG_BARRED_FACTOR;
    expect(queue.next(until_ms - 1, true)).toBeUndefined();
    queue.push(turn("b"));
    expect(queue.next(until_ms - 1, true)).toMatchObject({ tenant: "b" });
    expect(queue.next(until_ms, true)).toMatchObject({ tenant: "a" });
  });
});

describe("what waits is bounded for each tenant", () => {
  test("in number: others are taken still", () => {
    const queue = new TurnQueue<Waiting>();
    for (let i = 0; i < TURNS_WAITING_PER_TENANT_MAX; i++) expect(queue.push(turn("a"))).toBeUndefined();
    expect(queue.push(turn("a"))).toMatchObject({ code: "overloaded", facts: { retry_after_ms: 1000 } });
    expect(queue.push(turn("b"))).toBeUndefined();
    expect(queue.next(0, false)).toMatchObject({ tenant: "a" });
    expect(queue.push(turn("a"))).toBeUndefined();
  });

  test("in bytes: one is always taken", () => {
    const queue = new TurnQueue<Waiting>();
    expect(queue.push(turn("a", TURN_BYTES_WAITING_PER_TENANT_MAX + 1))).toBeUndefined();
    expect(queue.push(turn("a", 1))).toMatchObject({ code: "overloaded" });
    expect(queue.next(0, false)).toMatchObject({ tenant: "a" });
    expect(queue.push(turn("a", TURN_BYTES_WAITING_PER_TENANT_MAX))).toBeUndefined();
  });
});
