/**
 * One call at a time for each actor, in the order in which they came; other actors go on meanwhile.
 *
 * Whoever is inside has the actor for himself until his work is done. Few may wait: each of them is held up by all
 * before it, and a queue that nobody sees the end of helps nobody.
 */
import { type Refusal, refuse } from "../errors.ts";
import { CALLS_WAITING_PER_ACTOR_MAX } from "../limits.ts";

export class Mailboxes {
  /** Who waits, for each actor that somebody is inside of. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /** @returns or `overloaded`, at once */
  async enter<T>(address: string, work: () => Promise<T>): Promise<T | Refusal> {
    const waiting = this.#waiting.get(address);
    if (waiting === undefined) this.#waiting.set(address, []);
    else if (waiting.length >= CALLS_WAITING_PER_ACTOR_MAX) return crowded();
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      this.#leave(address);
    }
  }

  #leave(address: string): void {
    const next = this.#waiting.get(address)?.shift();
    if (next === undefined) this.#waiting.delete(address);
    else next();
  }
}

function crowded(): Refusal {
  const what = `${CALLS_WAITING_PER_ACTOR_MAX} calls wait for this actor already`;
  return refuse("overloaded", what, { retry_after_ms: 1000 });
}
