/**
 * Whoever wants the run to fail: by a seed it kills, pauses, cuts off and slows down nodes, and makes the store fail.
 *
 * Each kind comes once before any comes again. Two adversaries may be at work at once, on two nodes.
 */
import { setTimeout } from "node:timers/promises";
import { type FaultRates, seededPlan } from "../support/fault-plan.ts";
import type { FaultGate } from "../support/fault-proxy.ts";
import type { Seeded } from "../support/seeded.ts";
import type { ManagedNode } from "./nodes.ts";

export const MISCHIEF = ["kill", "pause", "cut_off", "slow", "storm"] as const;
type Mischief = (typeof MISCHIEF)[number];

/** What always goes wrong a little. */
const WEATHER: FaultRates = {
  latency_ms: [0, 5],
  late_ms: [50, 3000],
  faults: {
    error_before: 0.004,
    error_after: 0.004,
    cut_before: 0.004,
    cut_after: 0.004,
    late_request: 0.002,
    late_answer: 0.002,
    duplicate: 0.05,
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
    late_request: 0.04,
    late_answer: 0.04,
    duplicate: 0.1,
  },
};

/** A node with its way to the store. */
export interface Victim {
  readonly node: ManagedNode;
  readonly gate: FaultGate;
  busy: boolean;
}

export class Adversary {
  readonly done = new Map<Mischief, number>();
  readonly #victims: readonly Victim[];
  readonly #random: Seeded;
  readonly #lease_ms: number;
  #deck: Mischief[] = [];

  /** @param victims shared among adversaries: one node suffers one thing at a time */
  constructor(victims: readonly Victim[], random: Seeded, lease_ms: number) {
    this.#victims = victims;
    this.#random = random;
    this.#lease_ms = lease_ms;
    for (const { gate } of victims) gate.plan = seededPlan(random.fork(), WEATHER);
  }

  async work(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await setTimeout(this.#random.between(0.2, 1) * this.#lease_ms);
      const free = this.#victims.filter(({ node, busy }) => node.isUp && !busy);
      if (free.length === 0 || isOver()) continue;
      const victim = this.#random.pick(free);
      victim.busy = true;
      await this.#strike(victim, this.#draw());
      victim.busy = false;
    }
  }

  #draw(): Mischief {
    if (this.#deck.length === 0) this.#deck = this.#random.shuffled(MISCHIEF);
    return this.#deck.pop() ?? "kill";
  }

  async #strike({ node, gate }: Victim, mischief: Mischief): Promise<void> {
    this.done.set(mischief, (this.done.get(mischief) ?? 0) + 1);
    const lasts_ms = this.#random.between(0.3, 2) * this.#lease_ms;
    switch (mischief) {
      case "kill":
        return node.kill();
      case "pause":
        // Beyond the lease: whoever wakes up then is a zombie.
        node.pause();
        await setTimeout(this.#random.between(1.1, 2.5) * this.#lease_ms);
        return node.resume();
      case "cut_off":
        gate.cutOff(this.#random.pick(["reset", "silence"]));
        await setTimeout(lasts_ms);
        return gate.heal();
      case "slow":
      case "storm":
        gate.plan = seededPlan(this.#random.fork(), mischief === "slow" ? SLOW : STORM);
        await setTimeout(lasts_ms);
        gate.plan = seededPlan(this.#random.fork(), WEATHER);
        return undefined;
      default:
        throw new Error(`no such mischief: ${String(mischief satisfies never)}`);
    }
  }
}
