/**
 * How long a commit waits for calls that are about to come.
 *
 * A call that is alone is sent at once. Where calls have shared a commit before, the next one waits while they keep
 * coming, and no longer than two commits take: callers whose answers have just left are back in a moment, and each
 * write of a bucket costs money. On a store that answers in a millisecond nothing is waited for.
 */
import { COMMIT_GATHER_MS_MAX, COMMIT_GATHER_SLICES } from "../limits.ts";
import type { Clock } from "./clock.ts";

export class Gathering {
  readonly #clock: Clock;
  /** Lets other work run. */
  readonly #breathe: () => Promise<void>;
  /** How long a commit takes, smoothed. */
  #commit_ms = 0;
  /** Whether the last commit was shared by several calls. */
  #shared = false;

  constructor(clock: Clock, breathe: () => Promise<void>) {
    this.#clock = clock;
    this.#breathe = breathe;
  }

  /** @param waiting how many entries wait now */
  async wait(waiting: () => number): Promise<void> {
    await this.#breathe();
    const slice_ms = this.#commit_ms / COMMIT_GATHER_SLICES;
    if (!this.#shared || slice_ms < 1) return;
    const until_ms = this.#clock.now_ms() + Math.min(2 * this.#commit_ms, COMMIT_GATHER_MS_MAX);
    for (let before = 0; waiting() > before && this.#clock.now_ms() < until_ms; ) {
      before = waiting();
      await this.#clock.sleep(slice_ms);
    }
  }

  /** A commit of so many entries is sent. @returns to be called when it has come to its end */
  sent(entries: number): () => void {
    this.#shared = entries > 1;
    const sent_ms = this.#clock.now_ms();
    return () => {
      this.#commit_ms += (this.#clock.now_ms() - sent_ms - this.#commit_ms) / 4;
    };
  }
}
