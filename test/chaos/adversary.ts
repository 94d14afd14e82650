/**
 * Whoever wants the run to fail: by a seed it kills, pauses, cuts off and slows down nodes, and makes the store fail.
 *
 * Each kind comes once before any comes again. Two adversaries may be at work at once, on two nodes.
 */
import { setTimeout } from "node:timers/promises";
import { type FaultRates, seededPlan } from "../support/fault-plan.ts";
import type { FaultGate } from "../support/fault-proxy.ts";
import type { Seeded } from "../support/seeded.ts";
import type { Silence } from "./failovers.ts";
import type { ManagedNode } from "./nodes.ts";

/** Done to a process, and to its way to the store. */
const TO_NODES = ["kill", "vanish", "pause"] as const;
export const MISCHIEF = [...TO_NODES, "cut_off", "slow", "storm"] as const;
export type Mischief = (typeof MISCHIEF)[number];

/** What always goes wrong a little. */
const WEATHER: FaultRates = {
  latency_ms: [0, 5],
  late_ms: [50, 3000],
  faults: {
    error_before: 0.004,
    error_after: 0.004,
    cut_before: 0.004,
    cut_after: 0.004,
    late_request: 0.003,
    late_answer: 0.003,
    hang: 0.002,
    conflict: 0.02,
    duplicate: 0.05,
    twice: 0.02,
  },
};
const SLOW: FaultRates = { ...WEATHER, latency_ms: [30, 250] };
const STORM: FaultRates = {
  latency_ms: [0, 50],
  // Beyond the time after which a node gives up a request.
  late_ms: [500, 8000],
  faults: {
    error_before: 0.06,
    error_after: 0.06,
    cut_before: 0.06,
    cut_after: 0.06,
    late_request: 0.05,
    late_answer: 0.05,
    hang: 0.05,
    conflict: 0.1,
    duplicate: 0.1,
    twice: 0.1,
  },
};

/** A node with its way to the store, where that can fail. */
export interface Victim {
  readonly node: ManagedNode;
  readonly gate: FaultGate | undefined;
  busy: boolean;
}

export interface AdversaryOptions {
  /** Shared among adversaries: one node suffers one thing at a time. */
  readonly victims: readonly Victim[];
  readonly kinds: readonly Mischief[];
  readonly random: Seeded;
  readonly lease_ms: number;
  readonly now_ms: () => number;
  readonly say: (what: string) => void;
}

/** What can be done where nodes have no way to the store that could fail. */
export function possible(kinds: readonly Mischief[], { gate }: Pick<Victim, "gate">): readonly Mischief[] {
  return gate === undefined ? kinds.filter((kind) => TO_NODES.some((other) => other === kind)) : kinds;
}

export class Adversary {
  readonly done = new Map<Mischief, number>();
  /** Leaders that fell silent. */
  readonly silences: Silence[] = [];
  readonly #options: AdversaryOptions;
  #deck: Mischief[] = [];

  constructor(options: AdversaryOptions) {
    this.#options = options;
    for (const { gate } of options.victims) this.#set(gate, WEATHER);
  }

  async work(isOver: () => boolean): Promise<void> {
    const { victims, random, lease_ms } = this.#options;
    while (!isOver()) {
      await setTimeout(random.between(0.3, 2) * lease_ms);
      const well = victims.filter(({ node, busy }) => node.isUp && !busy);
      // One must be left to take over: when all are down, nothing happens.
      if (well.length < 2 || isOver()) continue;
      const victim = random.pick(well);
      victim.busy = true;
      await this.#strike(victim, this.#draw());
      victim.busy = false;
    }
  }

  #draw(): Mischief {
    const { random, kinds } = this.#options;
    if (this.#deck.length === 0) this.#deck = random.shuffled(kinds);
    return this.#deck.pop() ?? "kill";
  }

  async #strike({ node, gate }: Victim, mischief: Mischief): Promise<void> {
    const { random, lease_ms } = this.#options;
    this.done.set(mischief, (this.done.get(mischief) ?? 0) + 1);
    const lasts_ms = random.between(0.3, 2) * lease_ms;
    /** Others have taken over by then. Whoever wakes up is a zombie. */
    const beyond_ms = random.between(1.1, 2.5) * lease_ms;
    switch (mischief) {
      case "kill":
        this.#say(node, "is killed");
        this.#silenced(node, mischief, Infinity);
        return node.kill();
      case "vanish":
        // As a machine does that loses its power. A process that is gone would be missed at once by its neighbours.
        this.#say(node, "vanishes");
        this.#silenced(node, mischief, Infinity);
        node.pause();
        await setTimeout(1.5 * lease_ms + 1000);
        return node.kill();
      case "pause":
        this.#say(node, "is stopped", beyond_ms);
        this.#silenced(node, mischief, beyond_ms);
        node.pause();
        await setTimeout(beyond_ms);
        return node.resume();
      case "cut_off": {
        const how = random.pick(["reset", "silence"] as const);
        this.#say(node, `is cut off from the store (${how})`, lasts_ms);
        gate?.cutOff(how);
        await setTimeout(lasts_ms);
        return gate?.heal();
      }
      case "slow":
      case "storm":
        this.#say(node, mischief === "slow" ? "has a slow store" : "has a store that fails", lasts_ms);
        this.#set(gate, mischief === "slow" ? SLOW : STORM);
        await setTimeout(lasts_ms);
        return this.#set(gate, WEATHER);
      default:
        throw new Error(`no such mischief: ${String(mischief satisfies never)}`);
    }
  }

  #set(gate: FaultGate | undefined, rates: FaultRates): void {
    if (gate !== undefined) gate.plan = seededPlan(this.#options.random.fork(), rates);
  }

  #silenced({ leads }: ManagedNode, how: Silence["how"], lasts_ms: number): void {
    const at = this.#options.now_ms();
    this.silences.push({ how, at, until: at + lasts_ms, shards: [...leads] });
  }

  #say({ name, leads }: ManagedNode, what: string, lasts_ms?: number): void {
    const duration = lasts_ms === undefined ? "" : ` for ${(lasts_ms / 1000).toFixed(1)} s`;
    this.#options.say(`node ${name}, leader of ${leads.size} shards, ${what}${duration}`);
  }
}
