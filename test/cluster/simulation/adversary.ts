/**
 * What befalls processes, and when: at random, in the moments after something that matters, and for random times, or
 * just until somebody else has come to take their place.
 */
import type { Process } from "./process.ts";
import type { ClusterEvent, Occasion, Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Counted } from "./tally.ts";

/** What it can do to a cluster. */
export interface Hands {
  /** The process that runs on each node now. */
  readonly processAt: (node: number) => Process | undefined;
  readonly processOf: (session: string) => Process | undefined;
  readonly crash: (process: Process) => void;
  readonly drain: (process: Process) => void;
  readonly pause: (process: Process, is: boolean) => void;
  readonly cutFromStore: (process: Process, is: boolean) => void;
  readonly cutFromLeases: (process: Process, is: boolean) => void;
  readonly cutFromEachOther: (a: number, b: number, is: boolean) => void;
  readonly stopStore: (is: boolean) => void;
  /** The store loses a slot, if it has one that it may lose. */
  readonly loseSlot: (shard: number) => void;
}

export interface AdversaryOptions {
  readonly random: Random;
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly hands: Hands;
  readonly count: (what: Counted) => void;
  readonly trace: (what: () => string) => void;
}

export class Adversary {
  readonly #options: AdversaryOptions;
  /** Ends what has silenced a process. */
  readonly #reliefs = new Map<Process, () => void>();
  #ended = false;

  constructor(options: AdversaryOptions) {
    this.#options = options;
  }

  begin(): void {
    const { random, profile, scheduler, hands } = this.#options;
    scheduler.after(random.exponential(profile.event_ms), () => {
      if (this.#ended) return;
      const process = hands.processAt(random.below(profile.nodes));
      if (process !== undefined) this.#befall(random.pick(profile.events), process);
      if (profile.loses && random.chance(0.3)) hands.loseSlot(random.below(profile.shards));
      this.begin();
    });
  }

  /** The faults end; what they have left on its way does not. */
  end(): void {
    const { profile, hands } = this.#options;
    this.#ended = true;
    hands.stopStore(false);
    for (let node = 0; node < profile.nodes; node++) {
      const process = hands.processAt(node);
      if (process !== undefined) {
        hands.cutFromStore(process, false);
        hands.cutFromLeases(process, false);
        hands.pause(process, false);
      }
      for (let other = 0; other < node; other++) hands.cutFromEachOther(node, other, false);
    }
  }

  /** A process has just done such a thing: the worst time to be struck. */
  strike(what: Occasion, by: string): void {
    const { random, profile, scheduler, hands } = this.#options;
    const { strikes, latency_ms } = profile;
    const process = hands.processOf(by);
    if (process === undefined || strikes?.when !== what || !random.chance(strikes.chance)) return;
    const event = random.pick(["pause", "zombie", "zombie", "crash", "cut_store"] as const);
    scheduler.after(random.between(0, random.pick([2, 6])) * latency_ms, () => {
      if (!this.#ended) this.#befall(event, process);
    });
  }

  /** A claim leaves for the store. The owner may come to life in this very moment. */
  challenged(owner: string): void {
    if (this.#options.random.chance(0.3)) this.#relieve(owner, 0);
  }

  /** A shard has been taken. The owner that was may come to life when its successor has gone ahead. */
  overtaken(owner: string): void {
    this.#relieve(owner, this.#options.random.between(0, 1.5));
  }

  /** @param after_ttl when what has silenced the process ends */
  #relieve(session: string, after_ttl: number): void {
    const { profile, scheduler, hands } = this.#options;
    const process = hands.processOf(session);
    const relief = process && this.#reliefs.get(process);
    if (relief !== undefined) scheduler.after(after_ttl * profile.ttl_ms, relief);
  }

  #befall(event: ClusterEvent, process: Process): void {
    const { random, profile, hands, count, trace } = this.#options;
    if (!process.isAlive) return;
    const lasts_ms = profile.ttl_ms * random.pick([0.2, 0.7, 1, 1.3, 2, 3, 5]) * random.between(0.8, 1.2);
    count(event);
    trace(() => `${event} of ${process.session} for ${lasts_ms.toFixed(0)} ms`);
    if (event === "crash") hands.crash(process);
    else if (event === "drain") hands.drain(process);
    else if (event === "wall_jump") process.wallOffset_ms += random.between(-60_000, 60_000);
    else if (event === "cut_nodes") this.#cutNodes(process.node, lasts_ms);
    else if (event === "outage") this.#stopStore(lasts_ms);
    else this.#silence(event, process, lasts_ms);
  }

  #silence(how: "pause" | "zombie" | "cut_store", process: Process, lasts_ms: number): void {
    const { profile, scheduler, hands } = this.#options;
    const silence = how === "cut_store" ? hands.cutFromStore : hands.pause;
    silence(process, true);
    const relieve = (): void => silence(process, false);
    this.#reliefs.set(process, relieve);
    scheduler.after(lasts_ms, relieve);
    if (how !== "zombie") return;
    hands.cutFromLeases(process, true);
    scheduler.after(lasts_ms + profile.ttl_ms, () => hands.cutFromLeases(process, false));
  }

  #cutNodes(node: number, lasts_ms: number): void {
    const { random, profile, scheduler, hands } = this.#options;
    const other = random.below(profile.nodes);
    hands.cutFromEachOther(node, other, true);
    scheduler.after(lasts_ms, () => hands.cutFromEachOther(node, other, false));
  }

  #stopStore(lasts_ms: number): void {
    const { scheduler, hands } = this.#options;
    hands.stopStore(true);
    scheduler.after(lasts_ms, () => hands.stopStore(false));
  }
}
