/** Where shards belong: balanced, the same for everyone who asks, and little moves when nodes come and go. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Assignment, assign, Placement } from "../../src/cluster/placement.ts";

const sessions = (count: number, salt: string | number): string[] =>
  Array.from({ length: count }, (_, i) => `${salt}-${i}`);

function loads(assignment: Assignment): Map<string | undefined, number> {
  const counts = new Map<string | undefined, number>();
  for (const session of assignment) counts.set(session, (counts.get(session) ?? 0) + 1);
  return counts;
}

/** How many shards have another session. */
function moved(before: Assignment, after: Assignment): number {
  return before.filter((session, shard) => after[shard] !== session).length;
}

const anySessions = fc.uniqueArray(fc.stringMatching(/^[0-9a-f]{1,16}$/), {
  minLength: 1,
  maxLength: 12,
});
const anyShards = fc.integer({ min: 1, max: 200 });

describe("an assignment", () => {
  test("gives every shard to a session, and none more than its share and a quarter", () => {
    fc.assert(
      fc.property(anyShards, anySessions, (shards, names) => {
        const assignment = assign(shards, names);
        expect(assignment).toHaveLength(shards);
        const counts = loads(assignment);
        for (const session of counts.keys()) expect(names).toContain(session);
        const most = Math.ceil((1.25 * shards) / names.length);
        expect(Math.max(...counts.values())).toBeLessThanOrEqual(most);
      }),
      { seed: 1, numRuns: 100 },
    );
  });

  test("is the same in whatever order the sessions are known", () => {
    fc.assert(
      fc.property(
        anyShards,
        anySessions.chain((names) =>
          fc.tuple(fc.constant(names), fc.shuffledSubarray(names, { minLength: names.length })),
        ),
        (shards, [names, shuffled]) => {
          expect(new Placement(shards).assign(shuffled)).toEqual(new Placement(shards).assign(names));
        },
      ),
      { seed: 1 },
    );
  });

  test("of no sessions is nobody's", () => {
    expect(assign(3, [])).toEqual([undefined, undefined, undefined]);
  });

  test("is remembered, and the memory is bounded and changes nothing", () => {
    const placement = new Placement(16);
    const first = placement.assign(["b", "a"]);
    expect(placement.assign(["a", "b"])).toBe(first);
    for (let i = 0; i < 100; i++) placement.assign(sessions(2, i));
    expect(placement.assign(["a", "b"])).toEqual(first);
  });

  test("is not the same node's for every shard's second choice: who takes over shares the load", () => {
    const names = sessions(5, "node");
    const before = assign(200, names);
    const after = assign(200, names.slice(1));
    const takers = new Set(after.filter((_, shard) => before[shard] === names[0]));
    expect(takers.size).toBe(4);
  });
});

describe("a session that comes or goes moves about its own share", () => {
  // What bounded loads cost beyond the share: few shards are pushed on because their first choice is full.
  const SEEDS = 30;

  test.each([
    [1, 64],
    [2, 64],
    [3, 64],
    [6, 64],
    [3, 256],
    [9, 256],
  ])("of %i sessions, another one joins: %i shards", (count, shards) => {
    let all = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const before = assign(shards, sessions(count, seed));
      const after = assign(shards, [...sessions(count, seed), `joiner-${seed}`]);
      const moves = moved(before, after);
      const share = shards / (count + 1);
      expect(moves, `seed ${seed}`).toBeLessThanOrEqual(2 * share);
      expect(moves).toBeGreaterThanOrEqual(share / 3);
      all += moves;
    }
    expect(all / SEEDS).toBeLessThan((1.4 * shards) / (count + 1));
  });

  test.each([
    [2, 64],
    [4, 64],
    [7, 64],
    [10, 256],
  ])("of %i sessions, one leaves: %i shards", (count, shards) => {
    let all = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const names = sessions(count, seed);
      const before = assign(shards, names);
      const after = assign(shards, names.slice(1));
      const left = before.filter((session) => session === names[0]).length;
      const moves = moved(before, after);
      expect(moves, `seed ${seed}`).toBeGreaterThanOrEqual(left);
      expect(moves - left, `seed ${seed}`).toBeLessThanOrEqual(shards / count);
      all += moves;
    }
    expect(all / SEEDS).toBeLessThan((1.4 * shards) / count);
  });
});
