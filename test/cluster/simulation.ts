/**
 * A shard's nodes under faults, in one process and in simulated time: everything follows from one seed.
 *
 * Nodes run one after the other and sometimes beside each other; each may stop for ever at any store operation. A
 * request to the store takes as long as the seed says, may be lost, may be applied without an answer, and may be
 * applied much later, when its node is long dead. Clients call through whatever node is up, and send again, with
 * the same idempotency key, what was not answered. What is checked stands in `check`.
 */
import assert from "node:assert/strict";
import { Actors } from "../../src/actor/actors.ts";
import { decodeEntry, type ParsedEntry } from "../../src/actor/entry.ts";
import { type Call, Shard } from "../../src/actor/shard.ts";
import { decodeObject, type LogObject } from "../../src/cluster/format.ts";
import { openLog, type ShardLog } from "../../src/cluster/log.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import {
  account,
  BEHAVIOUR,
  callOf,
  caveat,
  compiled,
  linesOf,
  NOW_MS,
  protocols,
} from "../actor/counter.ts";
import { intercept, SILENT, UNCLEAR } from "../store/intercept.ts";

const SHARD = 0;
const ACTORS = ["account/a", "account/b", "account/c"];
const ORDERED = "open ; (deposit ; withdraw)* ; balance*";

/** mulberry32: small, seeded, good enough to choose faults. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What happened over many runs: a simulation in which nothing goes wrong proves nothing. */
export interface Tally {
  acknowledged: number;
  kept: number;
  refused: number;
  unknown: number;
  stepDowns: number;
  killed: number;
  opened: number;
  checkpoints: number;
  late: number;
}

export const newTally = (): Tally => ({
  acknowledged: 0,
  kept: 0,
  refused: 0,
  unknown: 0,
  stepDowns: 0,
  killed: 0,
  opened: 0,
  checkpoints: 0,
  late: 0,
});

/** A logical call: sent again, as a new attempt under the same key, until it is answered. */
interface Intent {
  readonly id: string;
  readonly actor: string;
  readonly message: string;
  /** Under a protocol caveat, too. */
  readonly ordered: boolean;
  readonly keyed: boolean;
  attempts: number;
  done: boolean;
}

interface Attempt {
  readonly seed: string;
  readonly intent: Intent;
  answer: { readonly reply: { turns: number }; readonly kept: boolean } | Refusal | undefined;
}

/** A process: once dead, nothing of it runs on, but what it has sent may still arrive. */
interface Process {
  readonly name: string;
  alive: boolean;
  /** Could not open the shard. */
  refused: boolean;
  log: ShardLog | undefined;
  /** So many of its next requests to the store fail. */
  outage: number;
}

export class Simulation {
  readonly #random: () => number;
  readonly #tally: Tally;
  readonly #objects = memoryStore();
  /** Every log object that was ever written, by key. */
  readonly #archive = new Map<string, LogObject>();
  readonly #store = intercept(this.#objects, {
    put: async (key, next, body) => {
      const put = await next();
      const object = decodeObject(body);
      // The first one counts: a slot that was collected may be written again, and then nobody reads it.
      if (put.outcome === "done" && key.startsWith("log/") && !this.#archive.has(key))
        if (typeof object !== "string") this.#archive.set(key, object);
      return put;
    },
  });
  /** What may happen next, in any order. */
  #events: (() => void)[] = [];
  /** Puts on their way that arrive at some later time, whoever sent them. */
  #late: (() => void)[] = [];
  readonly #intents: Intent[] = [];
  readonly #attempts = new Map<string, Attempt>();
  readonly #stepDowns = new Map<string, number>();
  readonly #failures: unknown[] = [];
  #processes = 0;
  #faulty = true;
  readonly #killRate: number;
  readonly #faultRate: number;
  readonly #lateRate: number;
  readonly #checkpointLogBytesMin: number;

  constructor(seed: number, tally: Tally) {
    this.#random = randomOf(seed);
    this.#tally = tally;
    this.#killRate = this.#pick([0, 0.005, 0.02, 0.05]);
    this.#faultRate = this.#pick([0, 0.02, 0.1, 0.3]);
    this.#lateRate = this.#pick([0.002, 0.01, 0.05]);
    this.#checkpointLogBytesMin = this.#pick([1, 800, 2500, 1e9]);
  }

  /** Several incarnations, sometimes two at a time; then one without faults, which must find everything. */
  async run(): Promise<void> {
    const incarnations = 2 + Math.floor(this.#random() * 3);
    let zombie: Process | undefined;
    for (let i = 0; i < incarnations; i++) {
      const process = this.#start();
      await this.#turns(30 + Math.floor(this.#random() * this.#pick([120, 120, 600])));
      if (zombie !== undefined) zombie.alive = false;
      zombie = process;
      if (this.#random() < 0.5) process.alive = false;
    }
    await this.#final();
  }

  async #final(): Promise<void> {
    this.#faulty = false;
    await this.#comeUp();
    // Whoever was here before may still run: its writes must not count any more.
    await this.#turns(60);
    this.#check(await this.#comeUp());
  }

  #pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[Math.floor(this.#random() * choices.length)] ?? choices[0];
  }

  #soon(event: () => void): void {
    this.#events.push(event);
  }

  /** One event after the other; between two of them everything runs that does not wait for the store. */
  async #turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const late = this.#late.length > 0 && this.#random() < this.#lateRate;
      const source = late || this.#events.length === 0 ? this.#late : this.#events;
      if (source.length === 0) return;
      const [event] = source.splice(Math.floor(this.#random() * source.length), 1);
      event?.();
      await settle();
      if (this.#failures.length > 0) throw this.#failures[0];
    }
  }

  /** A node without faults opens the shard. An older one that is not yet open may take it once more. */
  async #comeUp(): Promise<Actors> {
    for (let i = 0; i < 5; i++) {
      const actors = new Actors();
      const process = this.#start(true, actors);
      for (let turn = 0; turn < 5000 && process.log === undefined && !process.refused; turn++)
        await this.#turns(1);
      if (process.log !== undefined) return actors;
    }
    throw new Error("no node comes up");
  }

  /** @param sound without faults */
  #start(sound = false, actors = new Actors()): Process {
    const name = `p${++this.#processes}`;
    const process: Process = { name, alive: true, refused: false, log: undefined, outage: 0 };
    this.#live(process, actors, sound).catch((error: unknown) => this.#failures.push(error));
    return process;
  }

  async #live(process: Process, actors: Actors, sound: boolean): Promise<void> {
    let nonces = 0;
    const acknowledged = this.#acknowledged();
    const log = await openLog(
      {
        store: this.#storeOf(process, sound),
        shard: SHARD,
        session: process.name,
        nonce: () => `${process.name}-${++nonces}`,
        breathe: () => this.#whileAlive(process, () => Promise.resolve()),
        onStepDown: () => {
          this.#tally.stepDowns++;
          this.#stepDowns.set(process.name, (this.#stepDowns.get(process.name) ?? 0) + 1);
        },
        checkpointLogBytesMin: this.#checkpointLogBytesMin,
      },
      {
        restore: (line) => actors.restore(line),
        apply: (entry) => actors.applyText(entry),
        lines: () => {
          this.#tally.checkpoints++;
          return actors.lines();
        },
      },
    );
    if (isRefusal(log)) {
      process.refused = true;
      assert(["store_unavailable", "not_leader"].includes(log.code), log.code);
      assert.doesNotMatch(log.detail, /missing|damaged|checksum|format/);
      return;
    }
    process.log = log;
    this.#tally.opened++;
    // What was acknowledged before this node began has been recovered by it.
    for (const { intent, seed, answer } of acknowledged) {
      const { turns } = account(actors.peek(`t/${intent.actor}`).state);
      const kept = answer !== undefined && !isRefusal(answer) && answer.kept;
      const there = kept || intent.message === "balance" || turns.some(([turn]) => turn === seed);
      assert(there, `acknowledged ${seed}`);
    }
    const shard = new Shard(actors, log, protocols);
    const clients = 1 + Math.floor(this.#random() * 6);
    for (let i = 0; i < clients; i++)
      this.#client(process, shard).catch((error: unknown) => this.#failures.push(error));
  }

  async #client(process: Process, shard: Shard): Promise<void> {
    for (let i = 0; i < 12 && process.log?.ended === undefined; i++) {
      await this.#whileAlive(process, () => Promise.resolve());
      const attempt = this.#nextAttempt();
      const answer = await shard.call(this.#callOf(attempt));
      if (!process.alive) return;
      this.#answered(attempt, answer as Attempt["answer"]);
    }
  }

  #nextAttempt(): Attempt {
    const open = this.#intents.filter(({ done, keyed }) => keyed && !done);
    const known = this.#intents.filter(({ keyed }) => keyed);
    const again = this.#random();
    let intent: Intent | undefined;
    // Mostly something new or something unanswered; now and then a key that was answered long ago.
    if (again < 0.35 && open.length > 0) intent = this.#pick(open as [Intent, ...Intent[]]);
    else if (again < 0.45 && known.length > 0) intent = this.#pick(known as [Intent, ...Intent[]]);
    else intent = this.#newIntent();
    const attempt: Attempt = { seed: `${intent.id}.${++intent.attempts}`, intent, answer: undefined };
    this.#attempts.set(attempt.seed, attempt);
    return attempt;
  }

  #newIntent(): Intent {
    const message = this.#pick([
      "open",
      "open",
      "deposit",
      "deposit",
      "deposit",
      "withdraw",
      "withdraw",
      "balance",
    ]);
    const intent: Intent = {
      id: `i${this.#intents.length}`,
      actor: this.#pick(ACTORS as [string, ...string[]]),
      message,
      ordered: this.#random() < 0.4,
      keyed: this.#random() < 0.8,
      attempts: 0,
      done: false,
    };
    this.#intents.push(intent);
    return intent;
  }

  #callOf({ seed, intent }: Attempt): Call {
    const { id, actor, message, ordered, keyed } = intent;
    return callOf(message, {
      actor,
      seed,
      monitors: ordered ? [caveat("ordered", ORDERED)] : [],
      idempotency: keyed ? { key: id, digest: message } : undefined,
      nonce: { key: seed, until_s: NOW_MS / 1000 + 90 },
    });
  }

  #answered(attempt: Attempt, answer: Attempt["answer"]): void {
    attempt.answer = answer;
    if (answer === undefined) return;
    if (isRefusal(answer)) {
      this.#tally[answer.code === "outcome_unknown" ? "unknown" : "refused"]++;
      return;
    }
    attempt.intent.done = true;
    this.#tally[answer.kept ? "kept" : "acknowledged"]++;
  }

  // ── The store, and what goes wrong with it ─────────────────────────────────────────────────────────────

  /** Resolves at some later event, if the process still lives then; else never. */
  #whileAlive<T>(process: Process, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      this.#soon(() => {
        if (process.alive) void work().then(resolve);
      });
    });
  }

  #storeOf(process: Process, sound: boolean): Store {
    const call = <T>(next: () => Promise<T>, unclear: T, writes: boolean) =>
      this.#request(process, next, unclear, { writes, sound: sound || !this.#faulty });
    return intercept(this.#store, {
      get: (_key, next) => call(next, SILENT, false),
      list: (_prefix, next) => call(next, SILENT, false),
      put: (_key, next) => call(next, UNCLEAR, true),
      delete: (_key, next) => call(next, "unknown", true),
    });
  }

  #request<T>(
    process: Process,
    next: () => Promise<T>,
    unclear: T,
    { writes, sound }: { writes: boolean; sound: boolean },
  ): Promise<T> {
    return new Promise((resolve) => {
      const answer = (result: T) => this.#soon(() => process.alive && resolve(result));
      // The request is on its way even if its sender dies in this moment.
      if (!process.alive) return;
      if (!sound && this.#random() < this.#killRate) {
        process.alive = false;
        this.#tally.killed++;
        if (this.#random() < 0.4) return;
      }
      if (!sound && this.#random() < this.#faultRate / 4) process.outage = 20;
      const fate = this.#fate(process, sound);
      if (fate === "lost") return answer(unclear);
      if (fate === "late" && writes) {
        this.#tally.late++;
        this.#late.push(() => void next());
        return answer(unclear);
      }
      const arrive = () => void next().then((result) => answer(fate === "unanswered" ? unclear : result));
      // A slow request outlasts the reign of its sender, who then is told that it was done.
      (fate === "slow" ? this.#late : this.#events).push(arrive);
    });
  }

  #fate(process: Process, sound: boolean): "ok" | "lost" | "unanswered" | "late" | "slow" {
    if (sound) return "ok";
    if (process.outage-- > 0) return this.#pick(["lost", "late"]);
    return this.#random() < this.#faultRate ? this.#pick(["lost", "unanswered", "late", "slow"]) : "ok";
  }

  // ── What must hold ─────────────────────────────────────────────────────────────────────────────────────

  #acknowledged(): Attempt[] {
    return [...this.#attempts.values()].filter(({ answer }) => answer !== undefined && !isRefusal(answer));
  }

  #check(actors: Actors): void {
    const history = this.#history();
    const replayed = new Actors();
    for (const entry of history) replayed.applyText(entry);
    assert.deepEqual(linesOf(actors), linesOf(replayed), "checkpoints and log amount to the whole history");

    const entries = history.map((entry) => decodeEntry(entry));
    expectUnique(entries.map(({ seed }) => seed));
    expectUnique(entries.flatMap(({ kept }) => (kept === undefined ? [] : [kept[0]])));
    for (const { seed } of entries) {
      const answer = this.#attempt(seed).answer;
      if (isRefusal(answer)) assert.equal(answer.code, "outcome_unknown", `${seed} took effect`);
    }
    for (const attempt of this.#acknowledged()) this.#checkAcknowledged(attempt, entries);
    for (const actor of ACTORS) this.#checkActor(`t/${actor}`, entries, actors);
    for (const times of this.#stepDowns.values()) assert.equal(times, 1, "told once to step down");
  }

  /** Everything that was ever written to the log and counts, as no checkpoint has touched it. */
  #history(): readonly string[] {
    const keys = [...this.#archive.keys()].toSorted();
    const objects = keys.map((key) => this.#archive.get(key)).filter((object) => object !== undefined);
    assert.deepEqual(
      keys.map(slotOf),
      keys.map((_, i) => i + 1),
      "no slot is left out",
    );
    const epochs = objects.map(({ header }) => header.epoch);
    assert.deepEqual(
      epochs,
      epochs.toSorted((a, b) => a - b),
      "no deposed node has written",
    );
    return objects.flatMap(({ entries }) => entries);
  }

  /** It is in the history, at the very place that its reply told. */
  #checkAcknowledged({ intent, seed, answer }: Attempt, entries: readonly ParsedEntry[]): void {
    if (answer === undefined || isRefusal(answer)) return;
    const mine = entries.filter(({ actor }) => actor === `t/${intent.actor}`);
    const at = mine.findIndex((entry) => (answer.kept ? entry.kept?.[0] === intent.id : entry.seed === seed));
    assert(at >= 0, `acknowledged ${seed}`);
    const turns = mine.slice(0, at + 1).filter(({ message }) => message !== "balance");
    assert.equal(answer.reply.turns, turns.length, `the place of ${seed}`);
  }

  /** The same history, told by a model of a few lines. */
  #checkActor(address: string, entries: readonly ParsedEntry[], actors: Actors): void {
    const mine = entries.filter(({ actor }) => actor === address);
    let [balance, behaviour, ordered] = [0, 0, 0];
    for (const { seed, message } of mine) {
      balance += message === "deposit" ? 1 : message === "withdraw" ? -1 : 0;
      behaviour = stepped(BEHAVIOUR, behaviour, message);
      if (this.#attempt(seed).intent.ordered) ordered = stepped(ORDERED, ordered, message);
    }
    const actor = actors.peek(address);
    assert.deepEqual(account(actor.state), {
      balance,
      turns: mine.flatMap(({ seed, message }) => (message === "balance" ? [] : [[seed, message]])),
    });
    assert.deepEqual(actor.behaviour, mine.length === 0 ? undefined : [BEHAVIOUR, behaviour]);
    assert.equal(actor.monitors.get("ordered")?.state ?? 0, ordered, "all monitors step or none");
    const keys = mine.map(({ seed }) => this.#attempt(seed).intent).filter(({ keyed }) => keyed);
    assert.deepEqual([...actor.replies.keys()].toSorted(), keys.map(({ id }) => id).toSorted());
    const nonces = new Set([...actors.nonces()].map(([key]) => key));
    for (const { seed } of mine) assert(nonces.has(seed), `the nonce of ${seed}`);
  }

  #attempt(seed: string): Attempt {
    const attempt = this.#attempts.get(seed);
    if (attempt === undefined) throw new Error(`nobody has sent ${seed}`);
    return attempt;
  }
}

const slotOf = (key: string): number => Number(key.slice(key.lastIndexOf("/") + 1));

function stepped(expression: string, state: number, message: string): number {
  const next = compiled(expression).next(state, message);
  if (next === undefined) throw new Error(`${message} took effect out of order`);
  return next;
}

function expectUnique(names: readonly string[]): void {
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  assert.deepEqual(twice, [], "took effect twice");
}

function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
