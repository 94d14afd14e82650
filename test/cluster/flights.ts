/** Puts into a log that a test holds, slot by slot: when each is applied, and when and how it is answered. */
import { slotOf } from "../../src/cluster/format.ts";
import type { PutOutcome, Store } from "../../src/store/contract.ts";
import { intercept, SILENT, unclear } from "../store/intercept.ts";
import { quiet } from "./harness.ts";

interface Flight {
  readonly apply: () => Promise<PutOutcome>;
  readonly applied: PromiseWithResolvers<PutOutcome>;
  readonly answered: PromiseWithResolvers<void>;
}

export class Flights {
  readonly store: Store;
  /** From here on puts are held. */
  armed = false;
  readonly #held = new Map<number, Flight>();
  readonly #silent = new Set<number>();

  constructor(inner: Store) {
    this.store = intercept(inner, {
      put: async (key, next) => {
        if (!this.armed || !key.startsWith("log/")) return next();
        const slot = slotOf(key);
        if (this.#silent.has(slot)) return unclear();
        const applied = Promise.withResolvers<PutOutcome>();
        const answered = Promise.withResolvers<void>();
        this.#held.set(slot, { apply: next, applied, answered });
        const [outcome] = await Promise.all([applied.promise, answered.promise]);
        return this.#silent.has(slot) ? unclear() : outcome;
      },
      get: async (key, next) => (key.startsWith("log/") && this.#silent.has(slotOf(key)) ? SILENT : next()),
    });
  }

  /** Slots whose puts have been sent, in the order of sending. */
  get sent(): readonly number[] {
    return [...this.#held.keys()];
  }

  /** The put reaches the store; its answer does not leave it yet. */
  async apply(slot: number): Promise<void> {
    const flight = this.#flight(slot);
    flight.applied.resolve(await flight.apply());
  }

  /** The answer arrives. */
  async answer(slot: number): Promise<void> {
    this.#flight(slot).answered.resolve();
    await quiet();
  }

  /** The put is applied and answered. */
  async land(slot: number): Promise<void> {
    await this.apply(slot);
    await this.answer(slot);
  }

  /** Whatever becomes of it, its node is told nothing, however often it asks. */
  async silence(slot: number): Promise<void> {
    this.#silent.add(slot);
    const flight = this.#flight(slot);
    flight.applied.resolve({ outcome: "conflict" });
    flight.answered.resolve();
    for (let round = 0; round < 10; round++) await quiet();
  }

  #flight(slot: number): Flight {
    const flight = this.#held.get(slot);
    if (flight === undefined) throw new Error(`no put for slot ${slot} has been sent`);
    return flight;
  }
}
