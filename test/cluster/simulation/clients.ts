/**
 * Who calls the cluster: through any node, again and again until there is an answer, sometimes with a key that was
 * answered long ago.
 */
import type { Answer } from "../../../src/actor/shard.ts";
import { shardOf } from "../../../src/cluster/pages.ts";
import { isRefusal, type Refusal } from "../../../src/errors.ts";
import { addressOf, type Message, type Operation } from "./accounts.ts";
import type { Node } from "./node.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export interface ClientsOptions {
  readonly random: Random;
  readonly profile: Profile;
  readonly scheduler: Scheduler;
  readonly living: () => readonly Node[];
  readonly isCalm: () => boolean;
}

export class Clients {
  readonly #options: ClientsOptions;
  readonly #actors: readonly (readonly string[])[];
  /** Operations with a key, for those who ask again. */
  readonly #keyed: Operation[] = [];
  #operations = 0;
  #ended = false;

  constructor(options: ClientsOptions) {
    this.#options = options;
    const { shards, actorsPerShard } = options.profile;
    this.#actors = actorsByShard(shards, actorsPerShard);
  }

  actorsOf(shard: number): readonly string[] {
    return this.#actors[shard] ?? [];
  }

  begin(): void {
    const { clients, ttl_ms } = this.#options.profile;
    for (let i = 0; i < clients; i++)
      this.#later(this.#options.random.between(0, ttl_ms), () => void this.#client());
  }

  end(): void {
    this.#ended = true;
  }

  /**
   * Calls each shard through each node until it is answered.
   * @returns what is not answered yet
   */
  probe(
    nodes: number,
    nodeAt: (index: number) => Node | undefined,
    isSound: (shard: number) => boolean,
  ): ReadonlySet<string> {
    const waiting = new Set<string>();
    for (let shard = 0; shard < this.#actors.length; shard++) {
      for (let node = 0; node < nodes; node++) {
        const name = `shard ${shard} through node ${node}`;
        if (!isSound(shard)) continue;
        waiting.add(name);
        void this.#probe(shard, () => nodeAt(node)).then(() => waiting.delete(name));
      }
    }
    return waiting;
  }

  async #probe(shard: number, nodeAt: () => Node | undefined): Promise<void> {
    const operation = this.#operation(shard);
    while (!this.#ended && !isFinal(await this.#send(operation, nodeAt()))) await this.#pause(0.1);
  }

  async #client(): Promise<void> {
    const { random, profile, living } = this.#options;
    /** Of a TTL: so that calls come until the faults end. */
    const pace = profile.chaos_ms / profile.operationsPerClient / profile.ttl_ms;
    for (let i = 0; i < profile.operationsPerClient && !this.#ended; i++) {
      const again = this.#keyed.length > 0 && random.chance(0.15);
      const operation = again ? random.pick(this.#keyed) : this.#operation(random.below(this.#actors.length));
      const patience = random.below(8);
      for (let attempt = 0; attempt < patience && !this.#ended; attempt++) {
        const nodes = living();
        const outcome = await this.#send(operation, nodes.length > 0 ? random.pick(nodes) : undefined);
        // Without a key, whoever does not know must not ask again.
        if (isFinal(outcome) || !operation.keyed) break;
        await this.#pause(0.3);
      }
      // Calls come in bursts.
      await this.#pause(random.pick([0, 0, 0.01, 4 * pace]));
    }
  }

  #operation(shard: number): Operation {
    const { random } = this.#options;
    const messages: readonly Message[] = ["add", "add", "take"];
    const operation: Operation = {
      id: `o${++this.#operations}`,
      shard,
      actor: random.pick(this.actorsOf(shard)),
      message: random.pick(messages),
      ordered: random.chance(0.2),
      declined: random.chance(0.2),
      keyed: random.chance(0.8),
      sends: this.#sends(),
      attempts: 0,
    };
    if (operation.keyed && !operation.declined) this.#keyed.push(operation);
    return operation;
  }

  #sends(): readonly string[] {
    const { random, profile } = this.#options;
    if (!profile.sends || !random.chance(0.3)) return [];
    const few = this.#actors.slice(0, 3).flat();
    return Array.from({ length: 1 + random.below(3) }, () => random.pick(few));
  }

  /** @returns `undefined` where there is no answer. */
  #send(operation: Operation, node: Node | undefined): Promise<Answer | Refusal | undefined> {
    const { random, profile, isCalm } = this.#options;
    const deadline_ms = 2 * profile.ttl_ms;
    return new Promise((resolve) => {
      const ask = async (asked: Node): Promise<void> => {
        const outcome = await asked.handle(operation, deadline_ms);
        if (isCalm() || !random.chance(0.02)) this.#later(random.between(0, 2), () => resolve(outcome));
      };
      this.#later(1.3 * deadline_ms, () => resolve(undefined));
      this.#later(random.between(0, 2), () => {
        if (node === undefined || !node.process.isAlive) return resolve(undefined);
        node.process.wake(() => void ask(node));
      });
    });
  }

  /** @param share of a TTL, at most */
  #pause(share: number): Promise<void> {
    const { random, profile } = this.#options;
    return new Promise((resolve) => {
      this.#later(random.between(0.001, share * profile.ttl_ms), resolve);
    });
  }

  #later(ms: number, run: () => void): void {
    this.#options.scheduler.after(ms, () => {
      this.#options.scheduler.woke = true;
      run();
    });
  }
}

/** Something that asking again would not change. */
function isFinal(outcome: Answer | Refusal | undefined): boolean {
  if (outcome === undefined) return false;
  return !isRefusal(outcome) || outcome.code === "handler_error" || outcome.code === "out_of_order";
}

/** Actors of each of the shards. */
function actorsByShard(shards: number, each: number): readonly (readonly string[])[] {
  const actors: string[][] = Array.from({ length: shards }, () => []);
  let missing = shards;
  for (let i = 0; missing > 0; i++) {
    const actor = `counter/${i}`;
    const own = actors[shardOf(addressOf(actor), shards)];
    if (own === undefined || own.length >= each) continue;
    if (own.push(actor) === each) missing--;
  }
  return actors;
}
