/**
 * Whatever leaves memory, is written, is lost before it was written, or is read at a bad moment: no call can tell.
 *
 * Two shards take the same calls. One never forgets anything and has no checkpoint; the other one lives through
 * captures, evictions, slow reads, slow turns and restarts. Their answers, and what is left in the end, are the same.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Actors } from "../../src/actor/actors.ts";
import type { Answer, Call, Shard } from "../../src/actor/shard.ts";
import type { Message } from "../../src/actor/word.ts";
import type { Capture } from "../../src/cluster/records.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { ACTOR_IDLE_MS } from "../../src/limits.ts";
import { callOf, caveat, monitorsLeft, NOW_MS, shardOf } from "./counter.ts";
import { Gate, loaded, quiet, Shelf, ShelfLog } from "./shelf.ts";

const IDS = ["account/1", "account/2"];
const CAVEATS = ["open ; (deposit ; withdraw)*", "(deposit | balance)*", "balance ; (open | deposit)*"];

type Step =
  | { readonly do: "call"; readonly call: Call }
  /** Calls before it are answered first: clocks agree to within seconds, reads take less. */
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "capture"; readonly early: boolean }
  | { readonly do: "settle"; readonly durable: boolean }
  | { readonly do: "evict"; readonly all: boolean }
  | { readonly do: "hold reads" | "let reads pass" | "hold turns" | "let turns pass" | "pause" | "restart" };

const anyCall = fc
  .record({
    actor: fc.constantFrom(...IDS),
    message: fc.constantFrom("open", "open", "deposit", "deposit", "withdraw", "balance", "balance", "close"),
    caveats: fc.oneof(
      fc.constant<number[]>([]),
      fc.uniqueArray(fc.nat(CAVEATS.length - 1), { maxLength: 2 }),
    ),
    minutes: fc.option(fc.nat(20), { nil: undefined }),
    token: fc.constantFrom(
      { root: "r", digest: "t" },
      { root: "r", digest: "u" },
      { root: "s", digest: "v" },
    ),
    key: fc.constantFrom("own 1", "own 2", "shared", undefined),
    policy: fc.constantFrom("open ; (deposit | withdraw | balance)* ; close", "(open | balance | deposit)*"),
  })
  .map(({ actor, message, caveats, minutes, token, key, policy }) =>
    callOf(message, {
      actor,
      token,
      behaviour: policy,
      monitors: caveats.map((i) =>
        caveat(`m${i}`, CAVEATS[i] ?? "", minutes && NOW_MS + (i + 1) * minutes * 60_000),
      ),
      idempotency: key?.startsWith("own")
        ? { key: `${key} of ${message}`, digest: message }
        : key && { key, digest: message },
    }),
  );

const anySteps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 10, arbitrary: anyCall.map((call) => ({ do: "call", call }) as const) },
    { weight: 1, arbitrary: fc.nat(6 * 60_000).map((ms) => ({ do: "wait", ms }) as const) },
    { weight: 3, arbitrary: fc.boolean().map((early) => ({ do: "capture", early }) as const) },
    { weight: 3, arbitrary: fc.boolean().map((durable) => ({ do: "settle", durable }) as const) },
    { weight: 3, arbitrary: fc.boolean().map((all) => ({ do: "evict", all }) as const) },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        ...(
          ["hold reads", "let reads pass", "hold turns", "let turns pass", "pause", "restart"] as const
        ).map((name) => ({ do: name })),
      ),
    },
  ),
  { maxLength: 60, size: "max" },
);

/** The shard that forgets. */
class Forgetful {
  readonly shelf = new Shelf();
  readonly reads = new Gate();
  readonly turns = new Gate();
  /** Every other slow read looks at the checkpoint before it waits, the rest after it. */
  readonly read = async (key: string): Promise<readonly string[]> => {
    const before = await this.shelf.read(key);
    const early = this.#readCount++ % 2 === 0;
    await this.reads.passed();
    return early ? before : this.shelf.read(key);
  };
  #readCount = 0;
  #actors = new Actors();
  #shard = this.#open();
  #capture: { readonly capture: Capture; readonly length: number } | undefined;
  #monotonic_ms = 0;

  get actors(): Actors {
    return this.#actors;
  }

  #open(): Shard {
    this.#actors = this.shelf.recover();
    return shardOf({ actors: this.#actors, log: new ShelfLog(this.shelf), read: this.read });
  }

  call({ word: [message], ...call }: Call): Promise<Answer | Refusal> {
    const run: Message["run"] = async (...turn) => {
      await this.turns.passed();
      return message.run(...turn);
    };
    return this.#shard.call({ ...call, word: [{ ...message, run }] });
  }

  /** @param early some of the lines are asked for at once, not after later calls */
  capture(early: boolean): void {
    if (this.#capture !== undefined) return;
    const capture = this.#actors.capture();
    this.#capture = { capture, length: this.shelf.entries.length };
    for (const key of early ? capture.changed : []) capture.lines(key, this.shelf.records.get(key) ?? []);
  }

  settle(durable: boolean): void {
    if (this.#capture === undefined) return;
    const { capture, length } = this.#capture;
    if (durable) this.shelf.keep(capture, length);
    else capture.settle(false);
    this.#capture = undefined;
  }

  evict(all: boolean): void {
    this.#monotonic_ms += ACTOR_IDLE_MS / 2;
    this.#actors.evict(this.#monotonic_ms, all ? 0 : undefined);
  }

  restart(): void {
    this.#capture = undefined;
    this.#shard = this.#open();
  }
}

/** @returns what each call was answered, and what is left for later ones */
async function forgetful(steps: readonly Step[]) {
  const shard = new Forgetful();
  const answers: Promise<Answer | Refusal>[] = [];
  let now_ms = NOW_MS;
  const answered = async () => {
    shard.reads.open();
    shard.turns.open();
    await Promise.all(answers);
  };
  for (const step of steps) {
    if (step.do === "call") answers.push(shard.call({ ...step.call, now_ms }));
    else if (step.do === "capture") {
      // The shelf's log must have what the capture holds: entries in flight are the business of the real one.
      await quiet();
      shard.capture(step.early);
    } else if (step.do === "settle") shard.settle(step.durable);
    else if (step.do === "evict") shard.evict(step.all);
    else if (step.do === "hold reads") shard.reads.close();
    else if (step.do === "let reads pass") shard.reads.open();
    else if (step.do === "hold turns") shard.turns.close();
    else if (step.do === "let turns pass") shard.turns.open();
    else if (step.do === "pause") await quiet();
    else {
      await answered();
      if (step.do === "wait") now_ms += step.ms;
      else shard.restart();
    }
  }
  await answered();
  return { answers: await Promise.all(answers), left: await left(shard.actors, shard.read, now_ms) };
}

async function unforgetting(steps: readonly Step[]) {
  const [shelf, actors] = [new Shelf(), new Actors()];
  const shard = shardOf({ actors, log: new ShelfLog(shelf), read: shelf.read });
  const answers: (Answer | Refusal)[] = [];
  let now_ms = NOW_MS;
  for (const step of steps) {
    if (step.do === "call") answers.push(await shard.call({ ...step.call, now_ms }));
    else if (step.do === "wait") now_ms += step.ms;
  }
  return { answers, left: await left(actors, shelf.read, now_ms) };
}

async function left(actors: Actors, read: Shelf["read"], now_ms: number) {
  const seen = [];
  for (const id of IDS) {
    const actor = await loaded(actors, `t/${id}`, read);
    const { state, behaviour, replies } = actor;
    const kept = [...replies].filter(([, { until_ms }]) => until_ms >= now_ms);
    seen.push({ state, behaviour, kept, live: monitorsLeft(actor, now_ms) });
  }
  return { actors: seen, nonces: new Map(actors.nonces()) };
}

test("law: captures, evictions, slow reads, slow turns and restarts change no answer", async () => {
  let [accepted, refused, kept] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(anySteps, async (steps) => {
      const [was, is] = [await unforgetting(steps), await forgetful(steps)];
      expect(is.answers).toEqual(was.answers);
      expect(is.left).toEqual(was.left);
      for (const answer of is.answers) {
        if (isRefusal(answer)) refused++;
        else if (answer.kept) kept++;
        else accepted++;
      }
    }),
    { seed: 1, numRuns: 1000 },
  );
  // What was compared is worth comparing.
  expect(Math.min(accepted, refused, kept)).toBeGreaterThan(500);
});
