/**
 * A process as the machine sees it: it runs only in events that reach it. One that is paused keeps them for later; for
 * one that is dead nothing happens any more. What it has sent is on its way whatever becomes of it.
 */
import type { Clock } from "../../../src/cluster/clock.ts";
import type { Scheduler } from "./scheduler.ts";

export interface ProcessOptions {
  readonly scheduler: Scheduler;
  readonly session: string;
  readonly node: number;
  readonly machine: number;
  /** How fast its clocks run; 1 is right. */
  readonly rate: number;
  readonly offset_ms: number;
}

/** Why a process does not see the store. */
type Blindness = "paused" | "cut" | "outage" | "leases";

export class Process implements Clock {
  readonly session: string;
  readonly node: number;
  readonly machine: number;
  readonly rate: number;
  /** How far off the wall clock is. It jumps. */
  wallOffset_ms = 0;
  readonly #scheduler: Scheduler;
  readonly #offset_ms: number;
  #alive = true;
  #backlog: (() => void)[] = [];
  readonly #blind = new Set<Blindness>();
  #seeing_ms = 0;
  #changed_ms: number;
  #gaps = 0;

  constructor({ scheduler, session, node, machine, rate, offset_ms }: ProcessOptions) {
    this.#scheduler = scheduler;
    this.session = session;
    this.node = node;
    this.machine = machine;
    this.rate = rate;
    this.#offset_ms = offset_ms;
    this.#changed_ms = scheduler.now_ms;
  }

  get isAlive(): boolean {
    return this.#alive;
  }

  get isPaused(): boolean {
    return this.#blind.has("paused");
  }

  now_ms(): number {
    return this.#offset_ms + this.rate * this.#scheduler.now_ms;
  }

  wall_ms(): number {
    return 1_767_225_600_000 + Math.floor(this.now_ms() - this.#offset_ms + this.wallOffset_ms);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#scheduler.after(Math.max(0, ms) / this.rate, () => this.wake(resolve));
    });
  }

  /** Something reaches it in this moment. */
  wake(run: () => void): void {
    if (!this.#alive) return;
    if (this.isPaused) {
      this.#backlog.push(run);
      return;
    }
    this.#scheduler.woke = true;
    run();
  }

  pause(): void {
    this.blind("paused", true);
  }

  resume(): void {
    this.blind("paused", false);
    for (const run of this.#backlog.splice(0)) this.#scheduler.after(0, () => this.wake(run));
  }

  end(): void {
    this.#alive = false;
    this.#backlog = [];
  }

  blind(why: Blindness, is: boolean): void {
    if (this.#blind.has(why) === is) return;
    this.#sum();
    if (is) this.#blind.add(why);
    else this.#blind.delete(why);
    this.#gaps++;
  }

  /** How long it has been able to look at the store, by the true time, and how often that has changed. */
  get sight(): { readonly seeing_ms: number; readonly gaps: number } {
    this.#sum();
    return { seeing_ms: this.#seeing_ms, gaps: this.#gaps };
  }

  #sum(): void {
    if (this.#blind.size === 0) this.#seeing_ms += this.#scheduler.now_ms - this.#changed_ms;
    this.#changed_ms = this.#scheduler.now_ms;
  }
}
