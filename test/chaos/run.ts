/**
 * A chaos run: real nodes on a real S3 server behind the fault proxy, careful clients, adversaries, and a verdict.
 *
 * When the time is over, faults stop, nodes heal and every open call is settled. Then all nodes are killed and
 * started anew, so that what is read last comes from the bucket alone. A seed makes the same choices again; what
 * processes and sockets make of them is never quite the same.
 */
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type FaultProxy, PASS_ALL, startFaultProxy } from "../support/fault-proxy.ts";
import { type Rgw, startRgw } from "../support/rgw.ts";
import { Seeded } from "../support/seeded.ts";
import { Adversary, MISCHIEF, type Victim } from "./adversary.ts";
import { Crew } from "./crew.ts";
import { History } from "./history.ts";
import { ManagedNode } from "./nodes.ts";
import { summaryOf } from "./summary.ts";
import { publishedCaller } from "./tenant.ts";
import { type Events, judgeEvents, judgeHistory } from "./verdict.ts";

export interface ChaosOptions {
  readonly seed: number;
  readonly work_ms: number;
  readonly nodes: number;
  /** Of `postern serve`, beside store, port and policies. */
  readonly args: readonly string[];
  /** What adversaries take for the length of a lease. */
  readonly lease_ms: number;
}

/** The smallest deployment: its node has the bucket for itself, and comes back. */
export const ONE_NODE = { nodes: 1, args: [], lease_ms: 2000 } as const;
/** A lease as short as this makes for many failovers in a minute. */
export const CLUSTER = { nodes: 3, args: ["--lease", "2s"], lease_ms: 2000 } as const;

export interface ChaosReport {
  readonly summary: string;
  /** Empty where the run holds what it must. */
  readonly problems: readonly string[];
}

const CREW = { slots: 4, clientsPerSlot: 3 };
/** For a healthy cluster to come up, and to answer what is open. */
const PATIENCE_MS = 90_000;

const now_ms = (): number => performance.now();

/** Until when something may last. */
function within(duration_ms: number): () => boolean {
  const end = now_ms() + duration_ms;
  return () => now_ms() >= end;
}

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const rgw = await startRgw();
  const proxy = await startFaultProxy(rgw.env["AWS_ENDPOINT_URL_S3"] ?? "", options.nodes);
  const stage = new Stage(options, rgw, proxy);
  try {
    return await stage.play();
  } finally {
    await stage.end();
    await proxy.end();
    await rgw.stop();
  }
}

class Stage {
  readonly #options: ChaosOptions;
  readonly #rgw: Rgw;
  readonly #store: string;
  readonly #proxy: FaultProxy;
  readonly #random: Seeded;
  readonly #history = new History();
  readonly #problems = new Set<string>();
  readonly #victims: Victim[] = [];
  #crew: Crew | undefined;

  constructor(options: ChaosOptions, rgw: Rgw, proxy: FaultProxy) {
    this.#options = options;
    this.#rgw = rgw;
    this.#store = rgw.freshUrl();
    this.#proxy = proxy;
    this.#random = new Seeded(options.seed);
  }

  async play(): Promise<ChaosReport> {
    const crew = await this.#setUp();
    const began_at = now_ms();
    const isOver = within(this.#options.work_ms);
    const adversaries = this.#adversaries();
    const ended = Promise.all(adversaries.map((adversary) => adversary.work(isOver)));
    await crew.work(isOver);
    const ended_at = now_ms();
    await ended;
    await this.#check(crew);

    const { seed, nodes } = this.#options;
    const events = this.#events(adversaries);
    for (const problem of judgeEvents(this.#history, crew.slots, MISCHIEF, events)) this.#problem(problem);
    const run = { seed, nodes, began_at, ended_at, slots: crew.slots };
    const summary = summaryOf(run, this.#history, events);
    const problems = [...this.#problems];
    return { summary, problems: problems.length === 0 ? [] : [...problems, this.#keep(summary, problems)] };
  }

  async end(): Promise<void> {
    await this.#crew?.close();
    await Promise.all(this.#victims.map(({ node }) => node.end()));
  }

  async #setUp(): Promise<Crew> {
    const { args, work_ms } = this.#options;
    const store = this.#rgw.open(this.#store);
    const caller = await publishedCaller(store, work_ms);
    await store.close();
    for (const [index, gate] of this.#proxy.gates.entries()) {
      const env = { ...this.#rgw.env, AWS_ENDPOINT_URL_S3: gate.url };
      const unexpected = (what: string): void => this.#problem(what);
      const node = new ManagedNode(String(index + 1), { store: this.#store, args, env, unexpected });
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
    return this.#crew;
  }

  /** One less than the nodes, so that mostly one of them is left alone. */
  #adversaries(): Adversary[] {
    const { nodes, lease_ms } = this.#options;
    return Array.from(
      { length: Math.max(1, nodes - 1) },
      () => new Adversary(this.#victims, this.#random.fork(), lease_ms),
    );
  }

  async #check(crew: Crew): Promise<void> {
    for (const gate of this.#proxy.gates) gate.plan = PASS_ALL;
    await this.#allUp();
    await crew.settle(within(PATIENCE_MS));
    const finals = await crew.finalAnswers(within(PATIENCE_MS));
    for (const problem of judgeHistory(this.#history, finals)) this.#problem(problem);

    // What is late must not change anything; nor must a recovery of everything.
    await Promise.all(this.#proxy.gates.map((gate) => gate.idle()));
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
      if (isOver())
        throw new Error(`no node comes up: ${JSON.stringify(this.#victims.map(({ node }) => node.events))}`);
      await setTimeout(20);
    }
  }

  #problem(what: string): void {
    this.#problems.add(what);
  }

  #events(adversaries: readonly Adversary[]): Events {
    return {
      mischief: summed(adversaries.map(({ done }) => done)),
      faults: summed(this.#proxy.gates.map(({ counts }) => counts)),
      stepDowns: this.#victims.reduce((sum, { node }) => sum + node.stepDowns, 0),
    };
  }

  /** Neither tokens nor keys are in it. @returns where it is */
  #keep(summary: string, problems: readonly string[]): string {
    const path = join(tmpdir(), `postern-chaos-${this.#options.seed}-${Date.now()}.json`);
    const nodes = Object.fromEntries(this.#victims.map(({ node }) => [node.name, node.events]));
    const kept = { options: this.#options, summary, problems, nodes, intents: this.#history.intents };
    writeFileSync(path, JSON.stringify(kept));
    return `seed ${this.#options.seed}; the whole history is in ${path}`;
  }
}

function summed(counts: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [name, count] of counts.flatMap((each) => [...each]))
    sums.set(name, (sums.get(name) ?? 0) + count);
  return sums;
}
