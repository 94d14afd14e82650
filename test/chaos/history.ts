/**
 * What the clients of a chaos run did and were told, and what it means for a checker.
 *
 * An intent is one call that somebody wants to happen once: it is sent until there is a definite answer, each time
 * with its idempotency key. The claims that the run holds the nodes to stand in `operationsOf`.
 */
import { type AccountInput, isRead } from "./account-model.ts";
import type { AccountOperation } from "./histories.ts";
import type { Output } from "./linearizability.ts";

export type Ending =
  /** It took effect: its answer is the balance. */
  | "acknowledged"
  /** It was refused because of what the actor is: `out_of_order` or `handler_error`. */
  | "refused"
  /** It had no effect, says the node; nobody listened; or another sending with this key is under way. */
  | "no_effect"
  /** It may have taken effect, or may still. */
  | "ambiguous";

/** One sending. */
export interface Attempt {
  readonly node: number;
  /** ms, by the harness's monotonic clock. */
  readonly sent_at: number;
  readonly ended_at: number;
  readonly ending: Ending;
  /** The balance, the problem's code, or what became of the connection. */
  readonly answer: Output;
}

export interface Intent {
  /** `type/id`. */
  readonly actor: string;
  readonly key: string;
  readonly input: AccountInput;
  readonly attempts: Attempt[];
}

/** The answer that no retry can change, where there is one. */
export function definite(intent: Intent): Attempt | undefined {
  const last = intent.attempts.at(-1);
  return last?.ending === "acknowledged" || last?.ending === "refused" ? last : undefined;
}

/**
 * An acknowledged intent took effect once, after its first sending that was not answered by "no effect" and before
 * its acknowledgement. A read has no effect, so what its last sending was told was true after that one. A refusal is an answer of its own; sendings before it that were left unclear may still take
 * effect, and so may those of an intent that was given up.
 */
export function operationsOf(intent: Intent): AccountOperation[] {
  const { input, attempts } = intent;
  const last = definite(intent);
  const first = attempts.find(({ ending }) => ending !== "no_effect");
  const unclear = attempts.find(({ ending }) => ending === "ambiguous");
  const operations: AccountOperation[] = [];
  if (last !== undefined) {
    const isFirst = last.ending === "acknowledged" && !isRead(input);
    const invoked_at = isFirst ? (first ?? last).sent_at : last.sent_at;
    operations.push({ input, invoked_at, returned: { at: last.ended_at, output: last.answer } });
  }
  if (unclear !== undefined && last?.ending !== "acknowledged" && !isRead(input))
    operations.push({ input, invoked_at: unclear.sent_at, returned: undefined });
  return operations;
}

export class History {
  readonly #intents: Intent[] = [];

  /** @param intent recorded before it is sent: what is sent is never forgotten */
  record(intent: Intent): void {
    this.#intents.push(intent);
  }

  get intents(): readonly Intent[] {
    return this.#intents;
  }

  byActor(): ReadonlyMap<string, readonly Intent[]> {
    return Map.groupBy(this.#intents, ({ actor }) => actor);
  }
}
