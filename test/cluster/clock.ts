/** A clock that goes on only when a test says so. */
import type { Clock } from "../../src/cluster/clock.ts";

interface Sleeper {
  readonly until_ms: number;
  readonly wake: () => void;
}

export class TestClock implements Clock {
  #now_ms = 1_000_000;
  #sleepers: Sleeper[] = [];

  now_ms(): number {
    return this.#now_ms;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      this.#sleepers.push({ until_ms: this.#now_ms + ms, wake });
    });
  }

  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Wakes who sleeps until then, one after the other, each when all that follows from the one before is done. */
  async pass(ms: number): Promise<void> {
    const until_ms = this.#now_ms + ms;
    for (;;) {
      await settled();
      const next = this.#sleepers.toSorted((a, b) => a.until_ms - b.until_ms)[0];
      if (next === undefined || next.until_ms > until_ms) break;
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
      this.#now_ms = Math.max(this.#now_ms, next.until_ms);
      next.wake();
    }
    this.#now_ms = until_ms;
    await settled();
  }

  /** A pause of the process: time goes by, and nothing happens. */
  jump(ms: number): void {
    this.#now_ms += ms;
  }
}

/** Everything has run that needs no clock. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
