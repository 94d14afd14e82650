/**
 * A chaos run: real nodes on a real store, careful clients, adversaries, and a verdict.
 *
 * When the time is over, faults stop, nodes heal and every open call is settled. Then all nodes are killed and
 * started anew, so that what is read last comes from the store alone. A seed makes the same choices again; what
 * processes and sockets make of them is never quite the same.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { FAULTS } from "../support/fault-plan.ts";
import { PASS_ALL } from "../support/fault-proxy.ts";
import { Seeded } from "../support/seeded.ts";
import { Adversary, type Mischief, possible, type Victim } from "./adversary.ts";
import { Crew } from "./crew.ts";
import { failoversOf } from "./failovers.ts";
import { definite, History } from "./history.ts";
import { ManagedNode } from "./nodes.ts";
import { type Place, type PlaceName, startPlace } from "./places.ts";
import { summaryOf } from "./summary.ts";
import { publishedCaller } from "./tenant.ts";
import { type Events, judgeEvents, judgeHistory } from "./verdict.ts";

export interface ChaosOptions {
  readonly seed: number;
  readonly work_ms: number;
  readonly place: PlaceName;
  readonly kinds: readonly Mischief[];
  /** The folder, also where there are no problems. */
  readonly keep: boolean;
  /** Told what happens, a line each. */
  readonly say: (what: string) => void;
}

export interface ChaosReport {
  readonly events: Events;
  readonly summary: string;
  /** Empty where the run holds what it must. */
  readonly problems: readonly string[];
  /** Where the history and the nodes' logs are, if they are kept. Neither tokens nor keys are in it. */
  readonly folder: string;
}

const NODES = 3;
/** As short as this makes for many failovers in a minute. */
const LEASE_MS = 2000;
const SHARDS = 16;
const SERVE = ["--lease", `${LEASE_MS}ms`, "--shards", String(SHARDS)];
const CREW = { slots: 4, clientsPerSlot: 3 };
/** For a healthy cluster to come up, and to answer what is open: much, because machines may be slow. */
const PATIENCE_MS = 180_000;
const PROGRESS_MS = 10_000;

const now_ms = (): number => performance.now();

/** Until when something may last. */
function within(duration_ms: number): () => boolean {
  const end = now_ms() + duration_ms;
  return () => now_ms() >= end;
}

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const place = await startPlace(options.place, NODES);
  const run = new ChaosRun(options, place);
  try {
    return await run.play();
  } finally {
    await run.end();
    await place.end();
  }
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #place: Place;
  readonly #random: Seeded;
  readonly #history = new History();
  readonly #problems = new Set<string>();
  readonly #victims: Victim[] = [];
  readonly #folder: string;
  readonly #began_at = now_ms();
  #crew: Crew | undefined;

  constructor(options: ChaosOptions, place: Place) {
    this.#options = options;
    this.#place = place;
    this.#random = new Seeded(options.seed);
    this.#folder = mkdtempSync(join(tmpdir(), `postern-chaos-${options.seed}-`));
  }

  async play(): Promise<ChaosReport> {
    const crew = await this.#setUp();
    const began_at = now_ms();
    const isOver = within(this.#options.work_ms);
    const adversaries = this.#adversaries();
    const ended = Promise.all(adversaries.map((adversary) => adversary.work(isOver)));
    const progress = setInterval(() => this.#sayProgress(), PROGRESS_MS);
    await crew.work(isOver);
    clearInterval(progress);
    const ended_at = now_ms();
    await ended;
    await this.#check(crew);

    const { slots } = crew;
    const events = this.#events(adversaries, ended_at);
    const summary = summaryOf({ lease_ms: LEASE_MS, began_at, ended_at, slots }, this.#history, events);
    for (const problem of judgeEvents(this.#history, slots, this.#kinds(), events)) this.#problem(problem);
    const problems = [...this.#problems];
    this.#keep(summary, problems, adversaries);
    return { events, summary, problems, folder: this.#folder };
  }

  async end(): Promise<void> {
    await this.#crew?.close();
    await Promise.all(this.#victims.map(({ node }) => node.end()));
    if (this.#problems.size === 0 && !this.#options.keep)
      rmSync(this.#folder, { recursive: true, force: true });
  }

  async #setUp(): Promise<Crew> {
    const { work_ms } = this.#options;
    const store = this.#place.open();
    const caller = await publishedCaller(store, work_ms);
    await store.close();
    for (const [index, { env, gate }] of this.#place.ways.entries()) {
      const name = String(index + 1);
      const node = new ManagedNode(name, {
        store: this.#place.store,
        args: SERVE,
        env,
        log: join(this.#folder, `node-${name}.log`),
        say: (what) => this.#say(what),
        unexpected: (what) => this.#problem(what),
      });
      this.#victims.push({ node, gate, busy: false });
    }
    this.#crew = new Crew(CREW, {
      caller,
      urls: () => this.#victims.map(({ node }) => node.url),
      history: this.#history,
      random: this.#random.fork(),
      now_ms,
      unexpected: (what) => this.#problem(what),
    });
    await this.#allUp();
    this.#say(`${NODES} nodes serve`);
    return this.#crew;
  }

  /** One less than the nodes, so that mostly one of them is left alone. */
  #adversaries(): Adversary[] {
    const options = {
      victims: this.#victims,
      kinds: this.#possibleMischief(),
      lease_ms: LEASE_MS,
      now_ms,
      say: (what: string) => this.#say(what),
    };
    return Array.from(
      { length: NODES - 1 },
      () => new Adversary({ ...options, random: this.#random.fork() }),
    );
  }

  async #check(crew: Crew): Promise<void> {
    const gates = this.#victims.flatMap(({ gate }) => gate ?? []);
    for (const gate of gates) gate.plan = PASS_ALL;
    this.#say("the faults end; what is open is settled");
    await this.#allUp();
    await crew.settle(within(PATIENCE_MS));
    const finals = await crew.finalAnswers(within(PATIENCE_MS));
    for (const problem of judgeHistory(this.#history, finals)) this.#problem(problem);

    this.#say("all nodes are killed, and what is left is read again");
    // What is late must not change anything; nor must a recovery of everything.
    await Promise.all(gates.map((gate) => gate.idle()));
    await Promise.all(this.#victims.map(({ node }) => node.kill()));
    await this.#allUp();
    for (const problem of await crew.repeat(within(PATIENCE_MS))) this.#problem(problem);
    for (const [actor, answer] of await crew.finalAnswers(within(PATIENCE_MS))) {
      const before = finals.get(actor);
      if (answer !== before)
        this.#problem(`${actor}: its balance was ${before}, and after a restart ${answer}`);
    }
  }

  async #allUp(): Promise<void> {
    const isOver = within(PATIENCE_MS);
    while (!this.#victims.every(({ node }) => node.isUp)) {
      if (isOver()) return this.#problem(`not all nodes came up within ${PATIENCE_MS / 1000} s`);
      await setTimeout(20);
    }
  }

  #possibleMischief(): readonly Mischief[] {
    return this.#victims.reduce((kinds, victim) => possible(kinds, victim), this.#options.kinds);
  }

  /** What must have happened. */
  #kinds(): readonly string[] {
    const canFail = this.#victims.every(({ gate }) => gate !== undefined);
    return [...this.#possibleMischief(), ...(canFail ? FAULTS : [])];
  }

  #events(adversaries: readonly Adversary[], ended_at: number): Events {
    const silences = adversaries
      .flatMap((adversary) => adversary.silences)
      .map(({ until, ...silence }) => Object.assign(silence, { until: Math.min(until, ended_at) }));
    return {
      mischief: summed(adversaries.map(({ done }) => done)),
      faults: summed(this.#victims.map(({ gate }) => gate?.counts ?? new Map())),
      failovers: failoversOf(silences, this.#history, SHARDS),
      stepDowns: this.#victims.reduce((sum, { node }) => sum + node.stepDowns, 0),
    };
  }

  #problem(what: string): void {
    if (this.#problems.has(what)) return;
    this.#problems.add(what);
    this.#say(`PROBLEM ${what}`);
  }

  #sayProgress(): void {
    const answered = this.#history.intents.filter((intent) => definite(intent) !== undefined).length;
    this.#say(`${answered} calls answered so far`);
  }

  #say(what: string): void {
    this.#options.say(`${((now_ms() - this.#began_at) / 1000).toFixed(1).padStart(6)} s  ${what}`);
  }

  #keep(summary: string, problems: readonly string[], adversaries: readonly Adversary[]): void {
    const silences = adversaries.flatMap((adversary) => adversary.silences);
    const kept = { options: this.#options, summary, problems, silences, intents: this.#history.intents };
    writeFileSync(join(this.#folder, "history.json"), JSON.stringify(kept));
  }
}

function summed(counts: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [name, count] of counts.flatMap((each) => [...each]))
    sums.set(name, (sums.get(name) ?? 0) + count);
  return sums;
}
