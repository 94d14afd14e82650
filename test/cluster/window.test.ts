/** Several commits in flight: only a contiguous prefix is acknowledged, and what a deposed owner had in flight is void. */
import { describe, expect, test } from "vitest";
import { logKey } from "../../src/cluster/format.ts";
import { COMMIT_WINDOW_MAX } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { Flights } from "./flights.ts";
import {
  type Incarnation,
  numbered,
  opened,
  ownership,
  quiet,
  recovered,
  refusedOpening,
  SHARD,
  SMALL,
  slots,
} from "./harness.ts";

const WINDOW = COMMIT_WINDOW_MAX;
/** The slot of the first owner's first entries. */
const FIRST = 1 + WINDOW;
const IN_FLIGHT = numbered("a", WINDOW);

type Answer = string | undefined;

interface Flying {
  readonly store: Store;
  readonly flights: Flights;
  readonly node: Incarnation;
  /** `pending`, or what each call was told: the code of a refusal, or `ok`. */
  readonly answers: string[];
}

/** One commit in flight for each entry. */
async function flying(entries: readonly string[] = IN_FLIGHT, window = WINDOW): Promise<Flying> {
  const store = memoryStore();
  const flights = new Flights(store);
  const node = await opened(flights.store, { window });
  flights.armed = true;
  const answers = entries.map(() => "pending");
  for (const [i, entry] of entries.entries()) {
    void (async () => {
      answers[i] = (await node.append(entry))?.code ?? "ok";
    })();
    await quiet();
  }
  return { store, flights, node, answers };
}

function permutations(items: readonly number[]): readonly number[][] {
  if (items.length === 0) return [[]];
  const beginning = (first: number): number[][] =>
    permutations(items.filter((other) => other !== first)).map((rest) => [first].concat(rest));
  return items.flatMap(beginning);
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const SLOTS = IN_FLIGHT.map((_, i) => FIRST + i);

describe("a window", () => {
  test.each([1, 2, 3, 4])(
    "of %i sends so many commits before it waits, and gathers what comes then",
    async (window) => {
      const { store, flights, answers } = await flying(numbered("a", window + 3), window);
      expect(flights.sent).toEqual(times(window, 0).map((_, i) => FIRST + i));
      expect(answers).toEqual(times(window + 3, "pending"));
      for (let slot = FIRST; slot <= FIRST + window; slot++) await flights.land(slot);
      expect(answers).toEqual(times(window + 3, "ok"));
      const sizes = [...(await slots(store)).values()].map(({ lines }) => lines.length);
      expect(sizes).toEqual([0, ...times(window, 1), 3]);
    },
  );

  test("answers a contiguous prefix only, in whatever order the store answers", async () => {
    for (const order of permutations(SLOTS)) {
      const { store, flights, node, answers } = await flying();
      const landed = new Set<number>();
      for (const slot of order) {
        await flights.land(slot);
        landed.add(slot);
        const hole = SLOTS.findIndex((other) => !landed.has(other));
        const durable = hole === -1 ? WINDOW : hole;
        expect(answers, order.join()).toEqual([
          ...times(durable, "ok"),
          ...times(WINDOW - durable, "pending"),
        ]);
        expect(node.log.seq).toBe(FIRST - 1 + durable);
      }
      expect(await recovered(store)).toEqual(IN_FLIGHT);
    }
  });

  test("says in each commit up to where all was durable when it was sent", async () => {
    const { store, flights, node } = await flying();
    for (const slot of SLOTS) await flights.land(slot);
    const next = node.append('"b"');
    await quiet();
    await flights.land(FIRST + WINDOW);
    expect(await next).toBeUndefined();
    const durable = [...(await slots(store)).values()].flatMap(({ header }) =>
      header.kind === "entries" ? [header.durable] : [],
    );
    expect(durable).toEqual([...times(WINDOW, FIRST - 1), FIRST - 1 + WINDOW]);
  });
});

describe("in the middle of a window", () => {
  const ONE = IN_FLIGHT.slice(0, 1);
  const UNSEEN = SLOTS.filter((slot) => slot !== FIRST + 1);

  test.each([
    {
      what: "a slot of somebody else ends it: what stands before it counts, what stands behind it never does",
      fail: async ({ store, flights }: Flying): Promise<void> => {
        await flights.apply(FIRST);
        expect(await (await opened(store)).entries()).toEqual(ONE);
        for (const slot of SLOTS.slice(1)) await flights.apply(slot);
      },
      code: "not_leader",
      history: ONE,
    },
    {
      what: "an unknown outcome that was not applied leaves all behind it unknown, and there they end",
      fail: async ({ flights }: Flying): Promise<void> => {
        for (const slot of UNSEEN) await flights.apply(slot);
      },
      code: "outcome_unknown",
      history: ONE,
    },
    {
      what: "an unknown outcome that was applied leaves all behind it unknown, and they count",
      fail: async ({ flights }: Flying): Promise<void> => {
        for (const slot of SLOTS) await flights.apply(slot);
      },
      code: "outcome_unknown",
      history: IN_FLIGHT,
    },
  ])("$what", async ({ fail, code, history }) => {
    // Whichever answer comes first.
    for (const order of permutations(SLOTS)) {
      const all = await flying();
      const { store, flights, node, answers } = all;
      await fail(all);
      for (const slot of order) {
        if (slot === FIRST + 1 && code === "outcome_unknown") await flights.silence(slot);
        else await flights.answer(slot);
      }
      expect(answers, order.join()).toEqual(["ok", ...times(WINDOW - 1, code)]);
      expect(node.stepDowns, order.join()).toHaveLength(1);
      expect(await node.append('"later"')).toBe(node.stepDowns[0]);
      expect(await recovered(store), order.join()).toEqual(history);
    }
  });

  test("a failure refuses at once what was not sent", async () => {
    const { store, flights, answers } = await flying(numbered("a", WINDOW + 2));
    await flights.apply(FIRST);
    await opened(store);
    await flights.land(FIRST + 1);
    expect(answers).toEqual([...times(WINDOW, "pending"), ...times(2, "not_leader")]);
    await flights.answer(FIRST);
    expect(answers).toEqual(["ok", ...times(WINDOW + 1, "not_leader")]);
  });
});

describe("what a deposed owner still has in flight", () => {
  /** Each moment at which the late slots may land, with what has become of the shard by then. */
  const MOMENTS = [
    "before its successor looks",
    "when its successor has written the seal",
    "behind its successor's entries",
    "behind a checkpoint and its sweep",
    "behind a second successor",
  ] as const;

  test.each(MOMENTS)("is never applied when it lands %s", async (moment) => {
    // Every choice of slots behind the first, which was never written.
    for (let choice = 1; choice < 2 ** (WINDOW - 1); choice++) {
      const { store, flights, answers } = await flying();
      const late = SLOTS.slice(1).filter((_, i) => (choice & (1 << i)) !== 0);
      const land = async (at: (typeof MOMENTS)[number]): Promise<void> => {
        if (at === moment) for (const slot of late) await flights.land(slot);
      };
      await land("before its successor looks");
      const next = await opened(store, SMALL);
      expect(await next.entries()).toEqual([]);
      await land("when its successor has written the seal");
      await next.appendEach('"b"');
      await land("behind its successor's entries");
      const more = numbered("c", 10);
      await next.appendQuietly(...more);
      expect((await ownership(store)).checkpoint?.seq).toBeGreaterThan(FIRST + 2 * WINDOW);
      await land("behind a checkpoint and its sweep");
      expect(await recovered(store)).toEqual(['"b"', ...more]);
      await land("behind a second successor");
      expect(await recovered(store)).toEqual(['"b"', ...more]);
      await flights.land(FIRST);
      expect(answers.filter((answer) => answer === "ok")).toEqual([]);
      expect(await recovered(store)).toEqual(['"b"', ...more]);
    }
  });

  test("has no room behind the void: its successor's entries begin beyond any of it", async () => {
    const { store, flights } = await flying(numbered("a", 5 * WINDOW));
    const next = await opened(store);
    await next.appendEach('"b"');
    const written = [...(await slots(store))].filter(([, { header }]) => header.epoch === 2);
    expect(written.map(([seq]) => seq)).toEqual([FIRST, FIRST + WINDOW]);
    expect(Math.max(...flights.sent)).toBeLessThan(FIRST + WINDOW);
  });
});

describe("an object that is lost is told from one that was never written", () => {
  test("by what a later commit says to be durable: there no seal is written", async () => {
    const { store, flights, node } = await flying();
    for (const slot of SLOTS) await flights.land(slot);
    flights.armed = false;
    await store.delete(logKey(SHARD, FIRST + 1));
    // Nothing says yet that it was durable: this is how a log looks whose owner died with all in flight.
    const before = [...(await slots(store)).keys()];
    await node.appendEach('"b"');
    for (let attempt = 0; attempt < 2; attempt++) {
      const refusal = await refusedOpening(store);
      expect(refusal.code).toBe("store_unavailable");
      expect(refusal.detail).toContain(logKey(SHARD, FIRST + 1));
    }
    expect([...(await slots(store)).keys()]).toEqual([...before, FIRST + WINDOW]);
  });

  test("by slots that no window reaches", async () => {
    const { store, flights } = await flying(numbered("a", 2 * WINDOW), WINDOW);
    for (let slot = FIRST; slot <= FIRST + WINDOW; slot++) await flights.land(slot);
    for (const slot of SLOTS) await store.delete(logKey(SHARD, slot));
    const refusal = await refusedOpening(store);
    expect(refusal.detail).toContain(logKey(SHARD, FIRST));
  });

  test("a commit that never was written is sealed, whatever of its window stands behind it", async () => {
    const { store, flights } = await flying();
    for (const slot of SLOTS.slice(1)) await flights.land(slot);
    expect(await recovered(store)).toEqual([]);
    expect((await slots(store)).get(FIRST)?.header).toMatchObject({
      kind: "seal",
      epoch: 2,
      resume: FIRST + WINDOW,
    });
  });

  test("a writer that is slow, and not dead, fills the hole while its successor looks: that is no loss", async () => {
    const { store, flights, answers } = await flying();
    for (const slot of SLOTS.slice(1)) await flights.land(slot);
    const slow = new Flights(store);
    slow.armed = true;
    const opening = opened(slow.store);
    await quiet();
    expect(slow.sent).toEqual([FIRST]);
    await flights.land(FIRST);
    expect(answers).toEqual(times<Answer>(WINDOW, "ok"));
    await slow.land(FIRST);
    await slow.land(FIRST + WINDOW);
    expect(await (await opening).entries()).toEqual(IN_FLIGHT);
  });
});
