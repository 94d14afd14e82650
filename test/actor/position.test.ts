/** Questions at the shard: what is told is what a call would meet, and nothing changes. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Position } from "../../src/actor/position.ts";
import type { Question } from "../../src/actor/shard.ts";
import type { Message } from "../../src/actor/word.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Protocol } from "../../src/protocol/grammar.ts";
import { printProtocol } from "../../src/protocol/print.ts";
import { anyLetter, anyProtocol } from "../protocol/arbitrary.ts";
import { LETTERS, prefixes } from "../protocol/oracle.ts";
import { batchOf, callOf, caveat, type PlainRun, run, shardOf, TOOK } from "./counter.ts";
import { changesOf, quiet, Shelf, ShelfLog } from "./shelf.ts";

function open(shelf = new Shelf()) {
  const actors = shelf.recover();
  const log = new ShelfLog(shelf);
  return { shelf, actors, log, shard: shardOf({ actors, log, read: shelf.read }) };
}

const question: Question = {
  tenant: "t",
  actor: "account/1",
  token: { root: "r", digest: "t" },
  behaviour: "open ; (deposit | withdraw | balance)* ; close",
  monitors: [],
  names: ["open", "deposit", "withdraw", "balance", "close"],
};

function waits(position: Position | Refusal): Record<string, readonly string[]> {
  if (isRefusal(position)) throw new Error(position.detail);
  return Object.fromEntries([...position.messages].map(([name, by]) => [name, by.map(({ id }) => id)]));
}

describe("a question", () => {
  test("is answered with each message's monitors that do not admit it yet", async () => {
    const { shard } = open();
    const monitors = [caveat("m", "open ; deposit ; withdraw*")];
    const asked = { ...question, monitors };
    const before = await shard.describe(asked);
    expect(before).toMatchObject({ exists: false });
    expect(waits(before)).toEqual({ open: [], deposit: ["behaviour", "m"], withdraw: ["behaviour", "m"] });
    await shard.call(callOf("open", { monitors }));
    const after = await shard.describe(asked);
    expect(after).toMatchObject({ exists: true });
    expect(waits(after)).toEqual({ deposit: [], withdraw: ["m"] });
  });

  test("of an actor that has become something says what, and what that leaves", async () => {
    const { shard } = open();
    const become = new Map([["frozen", "balance* ; close"]]);
    const freezing: PlainRun = (turn) => {
      const done = run(turn);
      return isRefusal(done) ? done : { ...done, become: "frozen" };
    };
    await shard.call(callOf("open", { become, run: freezing }));
    const told = await shard.describe(question);
    expect(told).toMatchObject({ exists: true, become: "frozen" });
    expect(waits(told)).toEqual({ balance: [], close: [] });
  });

  test("knows only the names that it was asked about", async () => {
    const { shard } = open();
    expect(waits(await shard.describe({ ...question, names: ["close", "steal"] }))).toEqual({
      close: ["behaviour"],
    });
  });

  test("changes nothing, in memory or in the store", async () => {
    const node = open();
    await node.shard.call(callOf("open"));
    const before = [node.shelf.entries, changesOf(node.actors)];
    await node.shard.describe({ ...question, monitors: [caveat("m", "deposit")] });
    await node.shard.describe({ ...question, actor: "account/2" });
    expect([node.shelf.entries, changesOf(node.actors)]).toEqual(before);
  });

  test("is answered when what it saw is durable, and by a node that leads for certain", async () => {
    const node = open();
    node.log.writes.close();
    const called = node.shard.call(callOf("open"));
    await quiet();
    let answered = 0;
    const asked = node.shard.describe(question).finally(() => answered++);
    await quiet();
    expect(answered).toBe(0);
    node.log.confirmations.close();
    node.log.writes.open();
    await called;
    await quiet();
    expect(answered).toBe(0);
    node.log.confirmations.open();
    expect(waits(await asked)).toMatchObject({ deposit: [] });
    open(node.shelf);
    expect(await node.shard.describe(question)).toMatchObject({ code: "not_leader" });
  });
});

test("law: what is told as enabled is what is admitted, and what may follow is not left out", async () => {
  const turn = async () => ({ ...TOOK, reply: null, state: "1" });
  const message = (name: string): Message => ({
    name,
    args: null,
    references: new Map(),
    seed: "5eed",
    reads: false,
    run: turn,
  });
  const anyDone = fc.array(anyLetter, { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      anyProtocol,
      fc.array(anyProtocol, { maxLength: 2 }),
      anyDone,
      async (first, others, done) => {
        const all: readonly Protocol[] = [first, ...others];
        const words = all.map(prefixes);
        const behaviour = printProtocol(first);
        const monitors = others.map((protocol, i) => caveat(`m${i}`, printProtocol(protocol)));
        const { shard } = open();
        let past = "";
        for (const letter of done) {
          const answer = await shard.call(batchOf([message(letter)], { behaviour, monitors, batch: false }));
          if (!isRefusal(answer)) past += letter;
        }
        const told = waits(await shard.describe({ ...question, behaviour, monitors, names: LETTERS }));
        for (const letter of LETTERS) {
          const now = words.every((allowed) => allowed.has(past + letter));
          expect(told[letter]?.length === 0).toBe(now);
          const later = words.every((allowed) =>
            [...allowed].some((word) => word.startsWith(past) && word.slice(past.length).includes(letter)),
          );
          if (later) expect(told).toHaveProperty(letter);
          // In two languages without a loop the oracle knows all there is.
          const isFinite = all.every((protocol) => !/[*+]/.test(printProtocol(protocol)));
          const isShort = words.every((allowed) => [...allowed].every((word) => word.length < 5));
          if (isFinite && isShort && !later) expect(told).not.toHaveProperty(letter);
        }
      },
    ),
    { numRuns: 600 },
  );
});
