import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { refuseStale, rememberUntil } from "../../src/signature/freshness.ts";
import { ReplayWindow } from "../../src/signature/replay.ts";

/** What the window promises, written down without a thought of cost. */
class Model {
  readonly #entriesMax: number;
  readonly remembered = new Map<string, number>();
  /** The latest second that any clock has shown. */
  #latest_s = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  remember(key: string, until_s: number, now_s: number): "fresh" | "replayed" | "full" {
    this.#advance(now_s);
    if (this.remembered.has(key) || until_s < this.#latest_s) return "replayed";
    if (this.remembered.size >= this.#entriesMax) return "full";
    this.remembered.set(key, until_s);
    return "fresh";
  }

  restore(key: string, until_s: number, now_s: number): void {
    this.#advance(now_s);
    if (!this.remembered.has(key) && until_s >= this.#latest_s) this.remembered.set(key, until_s);
  }

  release(key: string): void {
    this.remembered.delete(key);
  }

  #advance(now_s: number): void {
    this.#latest_s = Math.max(this.#latest_s, Math.floor(now_s));
    for (const [other, end_s] of this.remembered) if (end_s < this.#latest_s) this.remembered.delete(other);
  }
}

/** Steps of a clock: mostly forward, at times backward. */
const anyStep_s = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 4 }) },
  { weight: 2, arbitrary: fc.double({ min: 0, max: 3, noNaN: true }) },
  { weight: 2, arbitrary: fc.integer({ min: -20, max: 0 }) },
);
const anyKey = fc.integer({ min: 0, max: 12 }).map(String);

describe("whatever the clock does", () => {
  test("the window is its model", () => {
    const anyCall = fc.record({
      key: anyKey,
      step_s: anyStep_s,
      life_s: fc.integer({ min: -3, max: 15 }),
      what: fc.constantFrom("takes", "takes and gives back", "restores"),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.array(anyCall, { maxLength: 60 }),
        (entriesMax, calls) => {
          const window = new ReplayWindow(entriesMax);
          const model = new Model(entriesMax);
          let now_s = 1000;
          for (const { key, step_s, life_s, what } of calls) {
            now_s += step_s;
            const until_s = Math.floor(now_s) + life_s;
            const take = (taker: Model | ReplayWindow) =>
              what === "restores" ? taker.restore(key, until_s, now_s) : taker.remember(key, until_s, now_s);
            const taken = take(window);
            expect(taken).toBe(take(model));
            if (what === "takes and gives back" && taken === "fresh") {
              window.release(key, until_s);
              model.release(key);
            }
            expect(window.size).toBe(model.remembered.size);
            expect(window.has(key)).toBe(model.remembered.has(key));
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("a signed request is taken once at most", () => {
    const anyRequest = fc
      .tuple(anyKey, fc.integer({ min: 900, max: 1300 }), fc.integer({ min: 1, max: 60 }))
      .map(([key, created, lifetime_s]) => ({
        key: `${key}/${created}`,
        created,
        expires: created + lifetime_s,
      }));
    const anySending = fc.record({ which: fc.nat(), step_s: fc.integer({ min: -90, max: 120 }) });
    fc.assert(
      fc.property(
        fc.uniqueArray(anyRequest, { minLength: 1, maxLength: 5, selector: ({ key }) => key }),
        fc.array(anySending, { maxLength: 60 }),
        (requests, sendings) => {
          const window = new ReplayWindow();
          const taken: string[] = [];
          let now_s = 1000;
          for (const { which, step_s } of sendings) {
            now_s += step_s;
            const request = requests[which % requests.length];
            if (request === undefined || refuseStale(request, now_s) !== undefined) continue;
            if (window.remember(request.key, rememberUntil(request), now_s) === "fresh")
              taken.push(request.key);
          }
          expect(taken).toEqual([...new Set(taken)]);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("a nonce", () => {
  test("is remembered through its last second, and may be forgotten in the next", () => {
    const window = new ReplayWindow();
    expect(window.remember("a", 100, 90)).toBe("fresh");
    expect(window.remember("b", 100, 100.999)).toBe("fresh");
    expect(window.remember("a", 100, 100.999)).toBe("replayed");
    expect(window.size).toBe(2);
    expect(window.remember("c", 200, 101)).toBe("fresh");
    expect(window.size).toBe(1);
  });

  test("that was forgotten does not come again when the clock is set back", () => {
    const window = new ReplayWindow();
    window.remember("a", 100, 90);
    window.remember("b", 300, 200);
    expect(window.has("a")).toBe(false);
    expect(window.remember("a", 100, 95)).toBe("replayed");
  });

  test("is not written by asking for it", () => {
    const window = new ReplayWindow();
    expect(window.has("a")).toBe(false);
    expect(window.remember("a", 100, 90)).toBe("fresh");
    expect(window.has("a")).toBe(true);
  });
});

describe("a full window", () => {
  test("refuses, and forgets nothing to make room", () => {
    const window = new ReplayWindow(2);
    expect(["a", "b", "c", "d"].map((key) => window.remember(key, 100, 90))).toEqual([
      "fresh",
      "fresh",
      "full",
      "full",
    ]);
    expect(["a", "b"].map((key) => window.remember(key, 100, 100))).toEqual(["replayed", "replayed"]);
    expect(window.has("c")).toBe(false);
  });

  test("remembers what a shard that is taken over brings along", () => {
    const window = new ReplayWindow(1);
    expect(window.remember("mine", 1090, 1000)).toBe("fresh");
    window.restore("brought", 1090, 1000);
    expect(window.remember("brought", 1090, 1001)).toBe("replayed");
    expect(window.remember("new", 1090, 1001)).toBe("full");
  });

  test("has room again once its nonces are past their time", () => {
    const window = new ReplayWindow(2);
    for (const key of ["a", "b"]) window.remember(key, 100, 90);
    expect(window.remember("c", 150, 101)).toBe("fresh");
    expect(window.size).toBe(1);
  });
});
