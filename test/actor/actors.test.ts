import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Actor } from "../../src/actor/actor.ts";
import { Actors } from "../../src/actor/actors.ts";
import { decodeEntry, type Entry, encodeEntry, stateAfter } from "../../src/actor/entry.ts";
import { writeRecord } from "../../src/actor/record.ts";
import { type Refusal, refuse } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { ACTOR_IDLE_MS, CHECKPOINT_PART_BYTES, CLOCK_SKEW_S_MAX } from "../../src/limits.ts";
import { monitorsLeft, monitorsOf, NOW_MS } from "./counter.ts";
import { changesOf, loaded, quiet, Shelf } from "./shelf.ts";

const MINUTE_MS = 60_000;

interface Turned {
  readonly entry: Entry;
  readonly state: string | undefined;
}

let nonces = 0;

function entryOf(given: Partial<Entry> = {}): Entry {
  return {
    v: 3,
    actor: "t/account/1",
    at: NOW_MS,
    signer: "ab",
    token: ["r", "t"],
    turns: [["deposit", {}, "00", null]],
    behaviour: ["deposit*", 0],
    monitors: [],
    nonce: [`n${++nonces}`, NOW_MS / 1000 + 90],
    ...given,
  };
}

const ADDRESSES = ["t/account/1", "t/account/2", "u/order/ü"];

/** All there is to see: what a checkpoint would say, and what a call would meet. */
async function contents(actors: Actors, read = new Shelf().read) {
  const seen = await Promise.all(ADDRESSES.map((address) => loaded(actors, address, read)));
  return { changes: changesOf(actors), actors: seen, nonces: [...actors.nonces()] };
}

/** What is left of an actor for calls at this time. */
function alive(actor: Actor, now_ms: number) {
  const { state, behaviour, replies } = actor;
  return {
    state,
    behaviour,
    monitors: monitorsLeft(actor, now_ms),
    replies: new Map([...replies].filter(([, { until_ms }]) => until_ms >= now_ms)),
  };
}

/** As JSON text says it, which has no negative zero. */
const anyJson = fc
  .jsonValue({ maxDepth: 2, stringUnit: "binary" })
  .map((value) => JSON.parse(JSON.stringify(value)) as Json);

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
      token: fc.tuple(fc.constantFrom("r1", "r2"), fc.constantFrom("t1", "t2")),
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
    return drafts.map(({ step_ms, actor, monitors, token, key, state, args, reply, behaviour }, i) => {
      at += step_ms;
      const entry: Entry = {
        ...entryOf({ actor, at, token, turns: [["a", args, "00", reply]], behaviour: ["a*", behaviour] }),
        monitors: monitors.map(([id, to, until_ms]) => [id, to, until_ms && NOW_MS + until_ms]),
        nonce: [`n${i}`, at / 1000 + 90],
        ...(key !== null && { kept: [key, `digest of ${key}`, at + 10 * MINUTE_MS] }),
      };
      return { entry, state: state === null ? undefined : JSON.stringify(state) };
    });
  });

interface Life {
  readonly actors: Actors;
  /** The entries that it wrote, as text. */
  readonly log: readonly string[];
}

/** Turns one after the other, as calls take them. */
async function live(turns: readonly Turned[]): Promise<Life> {
  const actors = new Actors();
  const log: string[] = [];
  for (const { entry, state } of turns) {
    const actor = await loaded(actors, entry.actor);
    log.push(encodeEntry(entry, actor.state, state));
    actors.change(entry, state);
  }
  return { actors, log };
}

describe("actors are a function of the log", () => {
  test("rebuilt from its entries they are what they were, byte by byte", async () => {
    await fc.assert(
      fc.asyncProperty(anyTurns, async (turns) => {
        const { actors, log } = await live(turns);
        const rebuilt = new Actors();
        for (const entry of log) rebuilt.apply(entry);
        // A checkpoint of what was never loaded says the same.
        expect(changesOf(rebuilt)).toEqual(changesOf(actors));
        expect(await contents(rebuilt)).toEqual(await contents(actors));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test("rebuilt from a checkpoint and the entries after it, wherever it was made", async () => {
    await fc.assert(
      fc.asyncProperty(anyTurns, fc.nat(40), async (turns, cut) => {
        const { actors, log } = await live(turns);
        const shelf = new Shelf();
        shelf.entries = log.slice(0, cut);
        shelf.checkpoint(shelf.recover());
        shelf.entries = log.slice(cut);
        const rebuilt = shelf.recover();
        const [was, is] = [await contents(actors), await contents(rebuilt, shelf.read)];
        expect(is.nonces).toEqual(was.nonces);
        const last_ms = Math.max(...turns.map(({ entry }) => entry.at));
        expect(is.actors.map((actor) => alive(actor, last_ms))).toEqual(
          was.actors.map((actor) => alive(actor, last_ms)),
        );
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  test("lines hold no line feed: the log is cut at them", async () => {
    await fc.assert(
      fc.asyncProperty(anyTurns, async (turns) => {
        const { actors, log } = await live(turns);
        const { common, records } = changesOf(actors);
        for (const line of [...log, ...common, ...Object.values(records).flat()])
          expect(line).not.toMatch(/[\n\r]/);
      }),
      { seed: 3 },
    );
  });

  test("an entry reads as it was written, its state whole or as a change of the one before", () => {
    fc.assert(
      fc.property(anyTurns, fc.option(anyJson, { nil: undefined }), (turns, json) => {
        const before = json === undefined ? undefined : JSON.stringify(json);
        for (const { entry, state: after } of turns) {
          const read = decodeEntry(encodeEntry(entry, before, after));
          const { state, delta, ...rest } = read;
          expect(rest).toEqual(JSON.parse(JSON.stringify(entry)));
          expect(state === undefined || delta === undefined).toBe(true);
          expect(stateAfter(read, before)).toBe(after);
        }
      }),
      { seed: 4 },
    );
  });

  test("an entry of another version is a bug, not a guess", () => {
    expect(() => decodeEntry('{"v":1}')).toThrow("version 1");
  });
});

describe("the log's entries", () => {
  const balance = (n: number) => JSON.stringify({ balance: n, owner: "x".repeat(1000) });
  const step = (from: number, to: number) => encodeEntry(entryOf(), balance(from), balance(to));

  test("are as long as the change, not as the state", () => {
    expect(step(1, 2).length).toBeLessThan(encodeEntry(entryOf(), undefined, balance(2)).length - 900);
    expect(encodeEntry(entryOf(), balance(1), "{}")).toContain('"state":{}');
  });

  test.each([
    ["is missing", [step(1, 2), step(3, 4)]],
    ["is there twice", [step(1, 2), step(1, 2)]],
    ["was written for a state that is not there", [step(2, 3)]],
  ])("are refused as damaged where one %s, and the actor stays unread", async (_name, entries) => {
    const shelf = new Shelf();
    shelf.entries = [encodeEntry(entryOf(), undefined, balance(1)), ...entries];
    const actors = shelf.recover();
    await expect(actors.load("t/account/1", shelf.read)).rejects.toThrow("does not follow");
    await expect(actors.load("t/account/1", shelf.read)).rejects.toThrow("does not follow");
    expect(actors.count).toBe(0);
    expect(() => {
      shelf.checkpoint(actors);
    }).toThrow("does not follow");
  });

  test("are not taken behind the back of who has read the actor, or captured it", async () => {
    const actors = new Actors();
    actors.apply(step(1, 2));
    const capture = actors.capture();
    expect(() => {
      actors.apply(step(2, 3));
    }).toThrow("in use");
    capture.settle(true);
    await loaded(actors, "t/account/1");
    expect(() => {
      actors.apply(step(2, 3));
    }).toThrow("in use");
  });
});

const kept = (key: string, at: number) =>
  entryOf({ at, kept: [key, "d", at + 10 * MINUTE_MS], nonce: [`of ${key} ${at}`, at / 1000 + 90] });

/** `t/account/1` after these entries, none of which sets a state. */
async function actorAfter(...entries: readonly Entry[]): Promise<Actor> {
  const { actors } = await live(entries.map((entry) => ({ entry, state: undefined })));
  return loaded(actors, "t/account/1");
}

describe("what has expired is forgotten", () => {
  test("kept replies, oldest first", async () => {
    const last = entryOf({ at: NOW_MS + 10 * MINUTE_MS + 1 });
    const { replies } = await actorAfter(kept("old", NOW_MS), kept("young", NOW_MS + 5 * MINUTE_MS), last);
    expect([...replies.keys()]).toEqual(["young"]);
  });

  test("a key that is used again does not keep the older ones alive", async () => {
    const later = NOW_MS + 11 * MINUTE_MS;
    const { replies } = await actorAfter(
      kept("again", NOW_MS),
      kept("old", NOW_MS + 1),
      kept("again", later),
    );
    expect([...replies.keys()]).toEqual(["again"]);
  });

  test("nonces that the leader has forgotten, but for the times that they were of; none by the clock of an entry", async () => {
    const until_s = NOW_MS / 1000 + 90;
    const { actors } = await live([
      { entry: entryOf({ nonce: ["old", until_s] }), state: undefined },
      { entry: entryOf({ at: NOW_MS + 3_600_000, nonce: ["ahead", until_s + 3600] }), state: undefined },
    ]);
    const names = (of: Actors) => [...of.nonces()].map(([key]) => key);
    expect(names(actors)).toEqual(["old", "ahead"]);
    actors.forgetNonces((key) => key !== "old");
    expect(names(actors)).toEqual(["ahead"]);
    expect(actors.forgottenNonces).toEqual([[until_s, until_s]]);
    const recovered = new Actors();
    for (const line of actors.capture().common) recovered.restore(line);
    expect(names(recovered)).toEqual(["ahead"]);
    expect(recovered.forgottenNonces).toEqual([[until_s, until_s]]);
  });

  test("monitors whose caveats can pass nowhere any more, whenever they have doubled", async () => {
    const until_ms = NOW_MS + MINUTE_MS;
    const monitors = Array.from({ length: 16 }, (_, i) => [`m${i}`, 1, until_ms] as const);
    const over_ms = until_ms + CLOCK_SKEW_S_MAX * 1000;
    const early = entryOf({ at: over_ms - 1, token: ["s", "t"], monitors: [["early", 1, null]] });
    // Another node's clock may be behind: there the caveats may still pass.
    expect((await actorAfter(entryOf({ monitors }), early)).monitors.size).toBe(17);
    const late = entryOf({ at: over_ms, monitors: [["late", 1, null]] });
    expect(monitorsOf(await actorAfter(entryOf({ monitors }), late))).toEqual({ late: 1 });
  });
});

describe("a record", () => {
  test("stays within a part in each of its lines, however many replies and nonces there are", async () => {
    const reply = "r".repeat(CHECKPOINT_PART_BYTES / 8);
    const turns = Array.from({ length: 20 }, (_, i) => ({
      entry: entryOf({
        turns: [["deposit", {}, "00", reply]],
        kept: [`k${i}`, "d", NOW_MS],
        nonce: [`${i}${reply}`, NOW_MS / 1000],
      }),
      state: '{"big":true}',
    }));
    const { actors } = await live(turns);
    const shelf = new Shelf();
    shelf.checkpoint(actors);
    for (const line of [...shelf.common, ...[...shelf.records.values()].flat()])
      expect(line.length).toBeLessThan(CHECKPOINT_PART_BYTES * 1.2);
    const rebuilt = shelf.recover();
    expect(await contents(rebuilt, shelf.read)).toEqual(await contents(actors));
    expect(rebuilt.bytes).toBe(actors.bytes);
  });

  test("of an actor that has no state says none", async () => {
    const actor = await actorAfter(entryOf({ behaviour: ["deposit*", 1] }));
    const [line = ""] = writeRecord("t/account/1", actor, NOW_MS);
    expect(JSON.parse(line)).not.toHaveProperty("state");
    expect((await readBack(actor, NOW_MS)).state).toBeUndefined();
  });

  test("leaves out what has expired, and nothing before its time", async () => {
    const until_ms = NOW_MS + 10 * MINUTE_MS;
    const actor = await actorAfter(
      entryOf({
        behaviour: ["deposit*", 1],
        monitors: [
          ["m", 1, until_ms],
          ["for ever", 2, null],
        ],
        kept: ["k", "d", until_ms],
      }),
    );
    const over_ms = until_ms + CLOCK_SKEW_S_MAX * 1000;
    expect(await readBack(actor, until_ms)).toEqual(actor);
    expect((await readBack(actor, until_ms + 1)).replies.size).toBe(0);
    expect((await readBack(actor, over_ms - 1)).monitors).toEqual(actor.monitors);
    expect(monitorsOf(await readBack(actor, over_ms))).toEqual({ "for ever": 2 });
    // Writing is looking: the actor keeps what a call on another node's clock may still ask for.
    expect([actor.monitors.size, actor.replies.size]).toEqual([2, 1]);
  });

  const until_ms = NOW_MS + MINUTE_MS;
  const nothing: Partial<Entry> = { monitors: [["m", 1, until_ms]], kept: ["k", "d", until_ms] };
  test.each([
    ["nothing is left of it", nothing, undefined, 0],
    ["it has a state", nothing, "null", 1],
    ["its behaviour has begun", { ...nothing, behaviour: ["deposit ; withdraw", 1] }, undefined, 1],
    ["a monitor has no end", { monitors: [["m", 1, null]] }, undefined, 1],
  ] as const)("where %s", async (_name, given, state, records) => {
    const { actors } = await live([
      { entry: entryOf(given), state },
      { entry: entryOf({ actor: "t/account/2", at: NOW_MS + 2 * MINUTE_MS }), state: "1" },
    ]);
    const shelf = new Shelf();
    shelf.records = new Map([["t/account/1", ["as it was"]]]);
    shelf.checkpoint(actors);
    expect([...shelf.records.keys()].filter((key) => key === "t/account/1")).toHaveLength(records);
  });

  test("of another actor or another version is a bug, not a guess", async () => {
    const read = (line: string) => new Actors().load("t/account/1", async () => [line]);
    await expect(read('{"v":3,"actor":"t/account/2","monitors":[]}')).rejects.toThrow("t/account/2");
    await expect(read('{"v":2,"actor":"t/account/1","monitors":[]}')).rejects.toThrow("version 2");
  });
});

/** The actor as the next owner of its record finds it. */
async function readBack(actor: Actor, now_ms: number): Promise<Actor> {
  const lines = writeRecord("t/account/1", actor, now_ms);
  return loaded(new Actors(), "t/account/1", async () => lines);
}

describe("a capture", () => {
  const deposit = (actor: string, state: string): Turned => ({ entry: entryOf({ actor }), state });
  const [one = "", two = ""] = ADDRESSES;

  test("holds what changed since the last one, and not what it was changed to later", async () => {
    const { actors } = await live([deposit(one, "1"), deposit(two, "1")]);
    const first = actors.capture();
    actors.change(entryOf({ actor: one }), "2");
    expect(first.changed.toSorted()).toEqual([one, two]);
    expect(first.lines(one, [])[0]).toContain('"state":1');
    first.settle(true);
    const second = actors.capture();
    expect(second.changed).toEqual([one]);
    expect(second.lines(one, [])[0]).toContain('"state":2');
    second.settle(true);
    expect(actors.capture().changed).toEqual([]);
  });

  test("that did not become durable changes nothing: the next one holds it all", async () => {
    const { actors } = await live([deposit(one, "1"), deposit(two, "1")]);
    const first = actors.capture();
    actors.change(entryOf({ actor: one }), "2");
    first.settle(false);
    const second = actors.capture();
    expect(second.changed.toSorted()).toEqual([one, two]);
    expect(second.lines(one, [])[0]).toContain('"state":2');
    expect(second.lines(two, [])[0]).toContain('"state":1');
  });

  test("is settled once, and before the next one", async () => {
    const { actors } = await live([deposit(one, "1")]);
    const capture = actors.capture();
    expect(() => actors.capture()).toThrow("not settled");
    expect(() => capture.lines(two, [])).toThrow("has not changed");
    capture.settle(true);
    expect(() => {
      capture.settle(false);
    }).toThrow("twice");
  });
});

describe("an actor leaves memory", () => {
  const [one = "", two = ""] = ADDRESSES;
  const turns = [one, two].map((actor) => ({ entry: entryOf({ actor }), state: "1" }));
  const inMemory = (actors: Actors) => [one, two].map((address) => actors.get(address) !== undefined);

  test("when nobody has called it for a while", async () => {
    const { actors } = await live(turns);
    new Shelf().checkpoint(actors);
    actors.evict(0);
    actors.evict(ACTOR_IDLE_MS - 1);
    expect(actors.count).toBe(2);
    actors.get(two);
    actors.evict(ACTOR_IDLE_MS);
    expect(inMemory(actors)).toEqual([false, true]);
  });

  test("when all take too much: the one that was called least recently", async () => {
    const { actors } = await live(turns);
    new Shelf().checkpoint(actors);
    const [before, each] = [actors.bytes, actors.bytes / 2];
    actors.get(one);
    actors.evict(0, before - 1);
    expect([inMemory(actors), actors.bytes]).toEqual([[true, false], each]);
    actors.evict(0, 0);
    expect([actors.count, actors.bytes]).toEqual([0, 0]);
  });

  test("but not before a checkpoint holds it", async () => {
    const { actors } = await live(turns);
    const out = () => {
      actors.evict(0, 0);
      return actors.count;
    };
    expect(out()).toBe(2);
    const failed = actors.capture();
    expect(out()).toBe(2);
    failed.settle(false);
    expect(out()).toBe(2);
    const written = actors.capture();
    actors.change(entryOf({ actor: one }), "2");
    written.settle(true);
    expect(out()).toBe(1);
    expect(inMemory(actors)).toEqual([true, false]);
  });

  test("and does not count as called by a checkpoint, nor as changed by being looked at", async () => {
    const { actors } = await live(turns);
    await loaded(actors, "t/account/9");
    const capture = actors.capture();
    expect(capture.changed).toEqual([one, two]);
    actors.evict(0);
    for (const key of capture.changed) capture.lines(key, []);
    capture.settle(true);
    actors.evict(ACTOR_IDLE_MS);
    expect(actors.count).toBe(0);
  });
});

describe("loading", () => {
  const address = "t/account/1";
  const entries = [encodeEntry(entryOf(), undefined, '"recovered"')];

  /** A shelf whose reads wait for an answer. */
  function slow() {
    const shelf = new Shelf();
    shelf.entries = entries;
    const reads: PromiseWithResolvers<readonly string[] | Refusal>[] = [];
    const read = () => {
      const answer = Promise.withResolvers<readonly string[] | Refusal>();
      reads.push(answer);
      return answer.promise;
    };
    return { shelf, actors: shelf.recover(), reads, read };
  }

  test("recovery reads nothing; all who wait for an actor share one read", async () => {
    const { actors, reads, read } = slow();
    expect([actors.count, actors.get(address)]).toEqual([0, undefined]);
    const waiting = [actors.load(address, read), actors.load(address, read)];
    await quiet();
    expect(reads).toHaveLength(1);
    reads[0]?.resolve([]);
    const [first, second] = await Promise.all(waiting);
    expect(first).toBe(second);
    expect(first).toMatchObject({ state: '"recovered"' });
    expect(await actors.load(address, read)).toBe(first);
    expect(reads).toHaveLength(1);
  });

  test("a refused read leaves everything as it was", async () => {
    const { actors, reads, read } = slow();
    const damaged = refuse("store_unavailable", "the object ckpt/000/1 is missing");
    const waiting = actors.load(address, read);
    reads[0]?.resolve(damaged);
    expect(await waiting).toBe(damaged);
    expect([actors.count, actors.bytes, changesOf(actors)]).toEqual([0, 0, changesOf(slow().actors)]);
    const again = actors.load(address, read);
    reads[1]?.resolve([]);
    expect(await again).toMatchObject({ state: '"recovered"' });
  });

  test("a read during which a checkpoint became durable is done again, also where it was refused", async () => {
    for (const late of [[], refuse("store_unavailable", "the object was collected")]) {
      const { shelf, actors, reads, read } = slow();
      const waiting = actors.load(address, read);
      shelf.checkpoint(actors);
      reads[0]?.resolve(late);
      await quiet();
      reads[1]?.resolve(await shelf.read(address));
      expect(await waiting).toMatchObject({ state: '"recovered"' });
    }
  });

  test("a call needs its actor in memory", () => {
    expect(() => {
      new Actors().change(entryOf(), undefined);
    }).toThrow("not in memory");
  });
});
