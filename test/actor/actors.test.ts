import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Actors } from "../../src/actor/actors.ts";
import { decodeEntry, type Entry, encodeEntry } from "../../src/actor/entry.ts";
import type { Json } from "../../src/json.ts";
import { CHECKPOINT_PART_BYTES, CLOCK_SKEW_S_MAX, MONITORS_PER_ACTOR_MAX } from "../../src/limits.ts";
import { linesOf, NOW_MS } from "./counter.ts";

const MINUTE_MS = 60_000;

interface Turned {
  readonly entry: Entry;
  readonly state: string | undefined;
}

let nonces = 0;

function entryOf(given: Partial<Entry> = {}): Entry {
  return {
    v: 1,
    actor: "t/account/1",
    message: "deposit",
    args: {},
    at: NOW_MS,
    seed: "00",
    signer: "ab",
    behaviour: ["deposit*", 0],
    monitors: [],
    reply: null,
    nonce: [`n${++nonces}`, NOW_MS / 1000 + 90],
    ...given,
  };
}

const ADDRESSES = ["t/account/1", "t/account/2", "u/order/ü"];

/** All there is to see: what a checkpoint would say, and what a call would meet. */
function contents(actors: Actors) {
  return {
    lines: [...actors.lines()],
    actors: ADDRESSES.map((address) => {
      const { monitors, replies, ...actor } = actors.peek(address);
      const seen = { ...actor, monitors: [...monitors], replies: [...replies] };
      return JSON.parse(JSON.stringify(seen)) as Json;
    }),
    nonces: [...actors.nonces()],
  };
}

const anyJson = fc.jsonValue({ maxDepth: 2, stringUnit: "binary" }) as fc.Arbitrary<Json>;

/** Entries of a few actors over half an hour, mostly but not always in the order of the clock. */
const anyTurns: fc.Arbitrary<readonly Turned[]> = fc
  .array(
    fc.record({
      step_ms: fc.integer({ min: -1000, max: 2 * MINUTE_MS }),
      actor: fc.constantFrom(...ADDRESSES),
      monitors: fc.array(
        fc.tuple(fc.constantFrom("m1", "m2", "m3"), fc.nat(5), fc.option(fc.nat(30 * MINUTE_MS))),
        { maxLength: 2 },
      ),
      key: fc.option(fc.constantFrom("k1", "k2", "k3", "k4")),
      state: fc.option(anyJson),
      args: anyJson,
      reply: anyJson,
      behaviour: fc.nat(3),
    }),
    { maxLength: 40 },
  )
  .map((drafts) => {
    let at = NOW_MS;
    return drafts.map(({ step_ms, actor, monitors, key, state, args, reply, behaviour }, i) => {
      at += step_ms;
      const entry: Entry = {
        ...entryOf({ actor, at, args, reply, behaviour: ["a*", behaviour] }),
        monitors: monitors.map(([id, to, until_ms]) => [id, to, until_ms && NOW_MS + until_ms]),
        nonce: [`n${i}`, at / 1000 + 90],
        ...(key !== null && { kept: [key, `digest of ${key}`, at + 10 * MINUTE_MS] }),
      };
      return { entry, state: state === null ? undefined : JSON.stringify(state) };
    });
  });

function live(turns: readonly Turned[]): Actors {
  const actors = new Actors();
  for (const { entry, state } of turns) actors.apply(entry, state);
  return actors;
}

const logOf = (turns: readonly Turned[]): string[] =>
  turns.map(({ entry, state }) => encodeEntry(entry, state));

describe("actors are a function of the log", () => {
  test("rebuilt from its lines they are what they were, byte by byte", () => {
    fc.assert(
      fc.property(anyTurns, (turns) => {
        const rebuilt = new Actors();
        for (const line of logOf(turns)) rebuilt.applyText(line);
        expect(contents(rebuilt)).toEqual(contents(live(turns)));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test("rebuilt from a checkpoint and the entries after it, wherever it was made", () => {
    fc.assert(
      fc.property(anyTurns, fc.nat(40), (turns, cut) => {
        const rebuilt = new Actors();
        for (const line of live(turns.slice(0, cut)).lines()) rebuilt.restore(line);
        for (const line of logOf(turns.slice(cut))) rebuilt.applyText(line);
        expect(contents(rebuilt)).toEqual(contents(live(turns)));
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  test("lines hold no line feed: the log is cut at them", () => {
    fc.assert(
      fc.property(anyTurns, (turns) => {
        for (const line of [...logOf(turns), ...live(turns).lines()]) expect(line).not.toMatch(/[\n\r]/);
      }),
      { seed: 3 },
    );
  });

  test("an entry reads as it was written", () => {
    fc.assert(
      fc.property(anyTurns, (turns) => {
        for (const { entry, state } of turns) {
          const { state: read, ...rest } = decodeEntry(encodeEntry(entry, state));
          expect(rest).toEqual(JSON.parse(JSON.stringify(entry)));
          expect(read === undefined ? undefined : JSON.stringify(read)).toBe(state);
        }
      }),
      { seed: 4 },
    );
  });

  test("an entry of another version is a bug, not a guess", () => {
    expect(() => decodeEntry('{"v":2}')).toThrow("version 2");
  });
});

const kept = (key: string, at: number) =>
  entryOf({ at, kept: [key, "d", at + 10 * MINUTE_MS], nonce: [`of ${key} ${at}`, at / 1000 + 90] });

const monitorCount = (actors: Actors): number => actors.peek("t/account/1").monitors.size;

describe("what has expired is forgotten", () => {
  test("kept replies, oldest first", () => {
    const actors = live([
      { entry: kept("old", NOW_MS), state: undefined },
      { entry: kept("young", NOW_MS + 5 * MINUTE_MS), state: undefined },
      { entry: entryOf({ at: NOW_MS + 10 * MINUTE_MS + 1 }), state: undefined },
    ]);
    expect([...actors.peek("t/account/1").replies.keys()]).toEqual(["young"]);
  });

  test("a key that is used again does not keep the older ones alive", () => {
    const later = NOW_MS + 11 * MINUTE_MS;
    const actors = live([
      { entry: kept("again", NOW_MS), state: undefined },
      { entry: kept("old", NOW_MS + 1), state: undefined },
      { entry: kept("again", later), state: undefined },
    ]);
    expect([...actors.peek("t/account/1").replies.keys()]).toEqual(["again"]);
  });

  test("nonces of taken requests, and none before its time", () => {
    const actors = live([
      { entry: entryOf({ nonce: ["old", NOW_MS / 1000 + 90] }), state: undefined },
      { entry: entryOf({ at: NOW_MS + 90_000, nonce: ["young", NOW_MS / 1000 + 180] }), state: undefined },
    ]);
    expect([...actors.nonces()].map(([key]) => key)).toEqual(["old", "young"]);
    actors.apply(entryOf({ at: NOW_MS + 90_001, nonce: ["last", NOW_MS / 1000 + 181] }), undefined);
    expect([...actors.nonces()].map(([key]) => key)).toEqual(["young", "last"]);
  });

  test("monitors whose caveats have expired, once there are too many", () => {
    const until_ms = NOW_MS + MINUTE_MS;
    const monitors = Array.from(
      { length: MONITORS_PER_ACTOR_MAX },
      (_, i) => [`m${i}`, 1, until_ms] as const,
    );
    const turns = [
      { entry: entryOf({ monitors }), state: undefined },
      {
        entry: entryOf({ at: until_ms + CLOCK_SKEW_S_MAX * 1000 - 1, monitors: [["early", 1, null]] }),
        state: undefined,
      },
    ];
    // Another node's clock may be behind: there the caveats may still pass.
    expect(monitorCount(live(turns))).toBe(MONITORS_PER_ACTOR_MAX + 1);
    const late = entryOf({ at: until_ms + CLOCK_SKEW_S_MAX * 1000, monitors: [["late", 1, null]] });
    const actors = live([...turns, { entry: late, state: undefined }]);
    expect([...actors.peek("t/account/1").monitors.keys()]).toEqual(["early", "late"]);
  });
});

describe("a checkpoint's lines", () => {
  test("stay within a part, however many replies and nonces there are", () => {
    const reply = "r".repeat(CHECKPOINT_PART_BYTES / 8);
    const turns = Array.from({ length: 20 }, (_, i) => ({
      entry: entryOf({ reply, kept: [`k${i}`, "d", NOW_MS], nonce: [`${i}${reply}`, NOW_MS / 1000] }),
      state: '{"big":true}',
    }));
    const actors = live(turns);
    const lines = [...actors.lines()];
    for (const line of lines) expect(line.length).toBeLessThan(CHECKPOINT_PART_BYTES * 1.2);
    const rebuilt = new Actors();
    for (const line of lines) rebuilt.restore(line);
    expect(rebuilt.peek("t/account/1")).toEqual(actors.peek("t/account/1"));
    expect([...rebuilt.nonces()]).toEqual([...actors.nonces()]);
  });

  test("of an actor that has no state say none", () => {
    const actors = live([{ entry: entryOf(), state: undefined }]);
    const rebuilt = new Actors();
    for (const line of actors.lines()) rebuilt.restore(line);
    expect(rebuilt.peek("t/account/1").state).toBeUndefined();
    expect(linesOf(rebuilt)).toEqual(linesOf(actors));
  });
});

test("looking at an actor that was never met leaves no trace", () => {
  const actors = new Actors();
  expect(actors.peek("t/account/9")).toMatchObject({ state: undefined, behaviour: undefined });
  expect(actors.count).toBe(0);
});
