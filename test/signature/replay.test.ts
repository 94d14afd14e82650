import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { REPLAY_STRETCHES_MAX, REQUEST_LIFE_S_MAX } from "../../src/limits.ts";
import { refuseStale, rememberUntil } from "../../src/signature/freshness.ts";
import { ReplayWindow } from "../../src/signature/replay.ts";
import { isWithin, joined, type Stretch } from "../../src/stretches.ts";

const HOUR_S = 3600;
const START_S = 1_767_225_600;

/** A node's two clocks. The wall clock can be set; what the calendar says meanwhile is its monotonic one. */
class Clocks {
  #monotonic_s = 5000;
  #ahead_s = 0;

  pass(s: number): void {
    this.#monotonic_s += s;
  }

  set(ahead_s: number): void {
    this.#ahead_s = ahead_s;
  }

  get now_s(): number {
    return this.#monotonic_s;
  }

  get wall_s(): number {
    return START_S + this.#monotonic_s + this.#ahead_s;
  }
}

/** A request signed now, by a clock that is so far ahead of the true one. */
function signedBy({ now_s }: Clocks, key: string, ahead_s = 0, lifetime_s = 30) {
  const created = START_S + Math.floor(now_s) + ahead_s;
  return { key, created, expires: created + lifetime_s };
}

/** As the gate does it: too old, too new, or taken once. */
function offer(
  window: ReplayWindow,
  request: ReturnType<typeof signedBy>,
  { wall_s, now_s }: Clocks,
): string {
  if (refuseStale(request, wall_s) !== undefined) return "stale";
  return window.remember(request.key, rememberUntil(request), now_s);
}

/** What the log keeps of a window: the nonces that it has not forgotten yet, and the times of those that it has. */
class Log {
  #nonces = new Map<string, number>();
  #forgotten: readonly Stretch[] = [];

  add(key: string, until_s: number): void {
    this.#nonces.set(key, until_s);
  }

  follow(window: ReplayWindow): void {
    for (const [key, until_s] of this.#nonces) {
      if (window.has(key)) continue;
      this.#nonces.delete(key);
      this.#forgotten = joined(this.#forgotten, [until_s, until_s]);
    }
  }

  restored(now_s: number): ReplayWindow {
    const window = new ReplayWindow();
    window.restoreForgotten(this.#forgotten);
    for (const [key, until_s] of this.#nonces) window.restore(key, until_s, now_s);
    return window;
  }
}

describe("whatever the wall clock does", () => {
  const anySending = fc.record({
    which: fc.nat(),
    pass_s: fc.integer({ min: 0, max: 200 }),
    ahead_s: fc.oneof(
      { weight: 3, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.integer({ min: -400, max: 400 }) },
    ),
    restarts: fc.nat(5).map((n) => n === 0),
  });
  const anyRequest = fc
    .tuple(fc.integer({ min: -400, max: 1300 }), fc.integer({ min: 1, max: 60 }))
    .map(([at_s, lifetime_s]) => {
      const created = START_S + 5000 + at_s;
      return { key: `${created}/${lifetime_s}`, created, expires: created + lifetime_s };
    });

  test("a signed request is taken once at most, restarts or not", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(anyRequest, { minLength: 1, maxLength: 5, selector: ({ key }) => key }),
        fc.array(anySending, { maxLength: 60 }),
        (requests, sendings) => {
          const [clocks, log] = [new Clocks(), new Log()];
          let window = new ReplayWindow();
          const taken: string[] = [];
          for (const { which, pass_s, ahead_s, restarts } of sendings) {
            clocks.pass(pass_s);
            if (ahead_s !== undefined) clocks.set(ahead_s);
            log.follow(window);
            if (restarts) window = log.restored(clocks.now_s);
            const request = requests[which % requests.length];
            if (request === undefined || offer(window, request, clocks) !== "fresh") continue;
            taken.push(request.key);
            log.add(request.key, rememberUntil(request));
          }
          expect(taken).toEqual([...new Set(taken)]);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test("memory is what was taken within a request's life", () => {
    fc.assert(
      fc.property(fc.array(anySending, { maxLength: 60 }), (sendings) => {
        const [clocks, window] = [new Clocks(), new ReplayWindow()];
        for (const [i, { pass_s, ahead_s }] of sendings.entries()) {
          clocks.pass(pass_s);
          if (ahead_s !== undefined) clocks.set(ahead_s);
          offer(window, signedBy(clocks, String(i), ahead_s), clocks);
        }
        clocks.pass(REQUEST_LIFE_S_MAX + 1);
        window.forget(clocks.now_s);
        expect(window.size).toBe(0);
      }),
    );
  });

  test.each([10, REQUEST_LIFE_S_MAX + 10, 3 * HOUR_S])(
    "one that is ahead for %d s forgets nothing and bars nothing",
    (long_s) => {
      const [clocks, window] = [new Clocks(), new ReplayWindow()];
      const captured = signedBy(clocks, "captured");
      expect(offer(window, captured, clocks)).toBe("fresh");
      clocks.set(5 * HOUR_S);
      for (let s = 0; s < long_s; s += 10) {
        clocks.pass(10);
        expect(offer(window, signedBy(clocks, `honest ${s}`), clocks)).toBe("stale");
        window.forget(clocks.now_s);
      }
      clocks.set(0);
      expect(offer(window, captured, clocks)).toBe(long_s === 10 ? "replayed" : "stale");
      expect(offer(window, signedBy(clocks, "fresh"), clocks)).toBe("fresh");
    },
  );

  test.each([60, 24 * HOUR_S])(
    "one that is set back by %d s bars at most the time that comes again",
    (back_s) => {
      const [clocks, window] = [new Clocks(), new ReplayWindow()];
      const busy = (for_s: number, ahead_s: number): string[] => {
        const outcomes: string[] = [];
        for (let s = 0; s < for_s; s += 10) {
          clocks.pass(10);
          outcomes.push(offer(window, signedBy(clocks, `${ahead_s} ${s}`, ahead_s), clocks));
        }
        return outcomes;
      };
      expect(new Set(busy(HOUR_S, 0))).toEqual(new Set(["fresh"]));
      clocks.set(-back_s);
      const outcomes = busy(HOUR_S, -back_s);
      // A minute ago is not yet forgotten; of a day ago nothing was taken.
      expect(new Set(outcomes)).toEqual(new Set(["fresh"]));
    },
  );

  test("one that is ahead for a moment while a node starts forgets nothing", () => {
    const [clocks, log] = [new Clocks(), new Log()];
    const before = new ReplayWindow();
    const captured = signedBy(clocks, "captured");
    expect(offer(before, captured, clocks)).toBe("fresh");
    log.add(captured.key, rememberUntil(captured));
    clocks.set(HOUR_S);
    before.forget(clocks.now_s);
    log.follow(before);
    const after = log.restored(clocks.now_s);
    after.forget(clocks.now_s);
    clocks.pass(20);
    clocks.set(0);
    expect(offer(after, captured, clocks)).toBe("replayed");
    expect(offer(after, signedBy(clocks, "fresh"), clocks)).toBe("fresh");
  });

  test("what was taken by one that was ahead is not taken again when that time comes, restarts or not", () => {
    const [clocks, log] = [new Clocks(), new Log()];
    let window = new ReplayWindow();
    clocks.set(HOUR_S);
    const ahead = signedBy(clocks, "ahead", HOUR_S);
    expect(offer(window, ahead, clocks)).toBe("fresh");
    log.add(ahead.key, rememberUntil(ahead));
    clocks.pass(2 * REQUEST_LIFE_S_MAX);
    clocks.set(0);
    window.forget(clocks.now_s);
    expect(window.size).toBe(0);
    // Nothing else is barred.
    for (let s = 0; s < 20; s++) {
      clocks.pass(60);
      expect(offer(window, signedBy(clocks, `fresh ${s}`), clocks)).toBe("fresh");
      log.follow(window);
    }
    window = log.restored(clocks.now_s);
    clocks.pass(HOUR_S - 20 * 60 - 2 * REQUEST_LIFE_S_MAX);
    expect(offer(window, ahead, clocks)).toBe("replayed");
    expect(offer(window, { ...ahead, key: "same second" }, clocks)).toBe("replayed");
    clocks.pass(REQUEST_LIFE_S_MAX);
    expect(offer(window, signedBy(clocks, "after it"), clocks)).toBe("fresh");
  });

  test("one that was wrong from the start and is set right bars nothing", () => {
    for (const behind_s of [-50 * 365 * 24 * HOUR_S, -HOUR_S, HOUR_S]) {
      const [clocks, window] = [new Clocks(), new ReplayWindow()];
      clocks.set(behind_s);
      expect(offer(window, signedBy(clocks, "a", behind_s), clocks)).toBe("fresh");
      clocks.pass(HOUR_S / 3);
      clocks.set(0);
      expect(offer(window, signedBy(clocks, "b"), clocks)).toBe("fresh");
    }
  });
});

describe("a nonce", () => {
  const until_s = (clocks: Clocks, s: number) => Math.floor(clocks.wall_s) + s;

  test("is remembered for as long as its request can live, and no longer", () => {
    const clocks = new Clocks();
    const window = new ReplayWindow();
    expect(window.remember("a", until_s(clocks, REQUEST_LIFE_S_MAX), clocks.now_s)).toBe("fresh");
    clocks.pass(REQUEST_LIFE_S_MAX + 0.9);
    window.forget(clocks.now_s);
    expect(window.has("a")).toBe(true);
    expect(window.remember("a", until_s(clocks, 0), clocks.now_s)).toBe("replayed");
    clocks.pass(0.1);
    window.forget(clocks.now_s);
    expect(window.size).toBe(0);
  });

  test("is not written by asking for it", () => {
    const clocks = new Clocks();
    const window = new ReplayWindow();
    expect(window.has("a")).toBe(false);
    expect(window.remember("a", until_s(clocks, 60), clocks.now_s)).toBe("fresh");
    expect(window.has("a")).toBe(true);
  });

  test("that is given back may come again, and is taken once then", () => {
    const clocks = new Clocks();
    const window = new ReplayWindow();
    const take = () => window.remember("a", until_s(clocks, 60), clocks.now_s);
    expect(take()).toBe("fresh");
    window.release("a");
    expect([take(), take()]).toEqual(["fresh", "replayed"]);
  });
});

describe("a full window", () => {
  test("refuses, forgets nothing to make room, and has room again after a request's life", () => {
    const clocks = new Clocks();
    const window = new ReplayWindow(2);
    const take = (key: string) => offer(window, signedBy(clocks, key), clocks);
    expect(["a", "b", "c", "a"].map(take)).toEqual(["fresh", "fresh", "full", "replayed"]);
    expect(window.has("c")).toBe(false);
    clocks.set(HOUR_S);
    expect(window.remember("d", START_S + 2 * HOUR_S, clocks.now_s)).toBe("full");
    clocks.set(0);
    clocks.pass(REQUEST_LIFE_S_MAX + 1);
    expect(["c", "d", "e"].map(take)).toEqual(["fresh", "fresh", "full"]);
  });

  test("remembers what a shard that is taken over brings along", () => {
    const clocks = new Clocks();
    const window = new ReplayWindow(1);
    expect(offer(window, signedBy(clocks, "mine"), clocks)).toBe("fresh");
    const brought = signedBy(clocks, "brought");
    window.restore(brought.key, rememberUntil(brought), clocks.now_s);
    expect(offer(window, brought, clocks)).toBe("replayed");
    expect(offer(window, signedBy(clocks, "new"), clocks)).toBe("full");
  });
});

test("stretches are few, sorted and apart, and hold all that was put into them", () => {
  const anyStretch = fc
    .tuple(fc.nat(20_000), fc.oneof(fc.constant(0), fc.nat(500)))
    .map(([from, long]): Stretch => [from, from + long]);
  fc.assert(
    fc.property(fc.array(anyStretch, { maxLength: 60 }), (all) => {
      let stretches: readonly Stretch[] = [];
      for (const stretch of all) {
        stretches = joined(stretches, stretch);
        expect(stretches.length).toBeLessThanOrEqual(REPLAY_STRETCHES_MAX);
      }
      const flat = stretches.flat();
      expect(flat).toEqual(flat.toSorted((a, b) => a - b));
      for (const [from, to] of all) expect(isWithin(stretches, from) && isWithin(stretches, to)).toBe(true);
      const last = Math.max(...all.map(([, to]) => to));
      if (all.length > 0) expect(isWithin(stretches, last + 1)).toBe(false);
    }),
  );
});
