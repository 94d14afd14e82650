/**
 * A line of accounts, one after the other, that a few clients share: when one is closed, the next is opened.
 *
 * Now and then a message comes at the wrong time, and must be refused. Every deposit has an amount of its own, large
 * and random, so that a balance tells which deposits are in it.
 */
import type { Seeded } from "../support/seeded.ts";
import type { AccountInput } from "./account-model.ts";
import type { Attempt, Intent } from "./history.ts";

export type Weights = Readonly<Record<AccountInput["message"], number>>;
export const WRITES: Weights = { open: 2, deposit: 50, withdraw: 20, balance: 28, close: 0.5 };
/** A read waits for the writes before it. Where they are rare, a leader that was deposed could answer what it knew. */
export const READS: Weights = { open: 1, deposit: 4, withdraw: 1, balance: 94, close: 0.2 };
/** Some thousands of them stay far below 2^53. */
const AMOUNT_MAX = 2 ** 30;

export class Slot {
  readonly #name: string;
  readonly #weights: Weights;
  #generation = 1;
  #phase: "new" | "open" | "closed" = "new";
  #keys = 0;

  constructor(name: string, weights: Weights) {
    this.#name = name;
    this.#weights = weights;
  }

  /** Whose accounts these are, `account/NAME-…`. */
  get name(): string {
    return this.#name;
  }

  next(random: Seeded): Intent {
    if (this.#phase === "closed" && random.chance(0.3)) {
      this.#generation++;
      this.#phase = "new";
    }
    const opens = this.#phase === "new" && random.chance(0.5);
    return this.intent({
      message: opens ? "open" : random.weighted(this.#weights),
      amount: 1 + random.below(AMOUNT_MAX),
    });
  }

  /** What the answer shows about the account that is used now. */
  learn({ actor, input: { message } }: Intent, { ending }: Attempt): void {
    if (ending !== "acknowledged" || actor !== this.#actor) return;
    if (message === "close") this.#phase = "closed";
    else if (this.#phase === "new") this.#phase = "open";
  }

  intent(input: AccountInput, actor = this.#actor): Intent {
    return { actor, key: `${this.#name}-${++this.#keys}`, input, attempts: [] };
  }

  get #actor(): string {
    return `account/${this.#name}-${this.#generation}`;
  }
}
