/**
 * Simulated time: events one after the other, the earliest first, and among those of one moment in the order in which
 * they were planned. Between two events everything runs that waits for no event.
 */

interface Event {
  readonly at_ms: number;
  readonly order: number;
  readonly run: () => void;
}

export class Scheduler {
  /** The one true time. No process knows it. */
  now_ms = 0;
  /** Set by an event that may have woken code that waited. */
  woke = false;
  /** A binary heap. */
  readonly #events: Event[] = [];
  #planned = 0;

  after(delay_ms: number, run: () => void): void {
    const event = { at_ms: this.now_ms + delay_ms, order: this.#planned++, run };
    let at = this.#events.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#events[parent] as Event;
      if (!isEarlier(event, above)) break;
      this.#events[at] = above;
      at = parent;
    }
    this.#events[at] = event;
  }

  /** Runs what is planned until that moment. `stop` is asked after each event. */
  async runUntil(at_ms: number, stop: () => boolean): Promise<void> {
    for (let next = this.#events[0]; next !== undefined && next.at_ms <= at_ms; next = this.#events[0]) {
      this.#removeFirst();
      this.now_ms = next.at_ms;
      this.woke = false;
      next.run();
      if (this.woke) await quiet();
      if (stop()) return;
    }
    if (Number.isFinite(at_ms)) this.now_ms = at_ms;
  }

  #removeFirst(): void {
    const last = this.#events.pop() as Event;
    const count = this.#events.length;
    if (count === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      const right = child + 1;
      if (right < count && isEarlier(this.#events[right] as Event, this.#events[child] as Event))
        child = right;
      if (!isEarlier(this.#events[child] as Event, last)) break;
      this.#events[at] = this.#events[child] as Event;
      at = child;
    }
    this.#events[at] = last;
  }
}

function isEarlier(a: Event, b: Event): boolean {
  return a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.order < b.order);
}

/** All that can run runs: promises that wait for each other only. */
function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
