/** All clients of a run: they call while it lasts, settle what is open after it, and look at what is left at the end. */
import { type AccountInput, isRead } from "./account-model.ts";
import { CarefulClient, type ClientOptions } from "./careful-client.ts";
import { definite, type History, type Intent } from "./history.ts";
import type { Output } from "./linearizability.ts";
import { READS, Slot, WRITES } from "./slot.ts";
import { belongsTo } from "./verdict.ts";

export interface CrewSize {
  readonly slots: number;
  readonly clientsPerSlot: number;
}

/** Replies are kept for ten minutes: well within, a repeated key must not count again. */
const KEPT_MS = 5 * 60_000;
/** Calls of one actor that are repeated at the end. */
const REPEATED_MAX = 20;

export class Crew {
  readonly slots: readonly string[];
  readonly #teams: readonly { readonly slot: Slot; readonly clients: readonly CarefulClient[] }[];
  readonly #history: History;
  readonly #now_ms: () => number;

  constructor({ slots, clientsPerSlot }: CrewSize, options: ClientOptions) {
    this.#history = options.history;
    this.#now_ms = options.now_ms;
    this.#teams = Array.from({ length: slots }, (_, index) => ({
      slot: new Slot(`chaos-${index + 1}`, index % 2 === 0 ? WRITES : READS),
      clients: Array.from(
        { length: clientsPerSlot },
        () => new CarefulClient({ ...options, random: options.random.fork() }),
      ),
    }));
    this.slots = this.#teams.map(({ slot }) => slot.name);
  }

  async work(isOver: () => boolean): Promise<void> {
    await this.#all((client, slot) => client.work(slot, isOver));
  }

  async settle(isOver: () => boolean): Promise<void> {
    await this.#all((client) => client.settle(isOver));
  }

  /** The balance of every actor, or why it tells none. */
  async finalAnswers(isOver: () => boolean): Promise<ReadonlyMap<string, Output>> {
    const answers = new Map<string, Output>();
    await this.#eachActor(async (client, slot, actor) => {
      const intent = slot.intent(BALANCE, actor);
      this.#history.record(intent);
      const answered = await client.ask(intent, isOver);
      if (answered !== undefined) answers.set(actor, answered.answer);
    });
    return answers;
  }

  /** Repeats the last acknowledged changes under their keys. @returns what was not answered as it was at first */
  async repeat(isOver: () => boolean): Promise<string[]> {
    const since = this.#now_ms() - KEPT_MS;
    const problems: string[] = [];
    await this.#eachActor(async (client, _slot, actor, intents) => {
      const acknowledged = intents
        .filter((intent) => isAcknowledgedAfter(since, intent))
        .slice(-REPEATED_MAX);
      for (const intent of acknowledged) {
        const before = definite(intent);
        const after = await client.ask({ ...intent, attempts: [] }, isOver);
        if (after?.answer === before?.answer) continue;
        problems.push(
          `${actor}: ${intent.input.message} under the key ${intent.key} was answered ${before?.answer}, and ` +
            `${after?.answer ?? "nothing"} when it was repeated`,
        );
      }
    });
    return problems;
  }

  async close(): Promise<void> {
    await this.#all((client) => client.close());
  }

  async #all(act: (client: CarefulClient, slot: Slot) => Promise<unknown>): Promise<void> {
    await Promise.all(this.#teams.flatMap(({ slot, clients }) => clients.map((client) => act(client, slot))));
  }

  /** Actors of one slot after the other, all slots at once. */
  async #eachActor(
    act: (client: CarefulClient, slot: Slot, actor: string, intents: readonly Intent[]) => Promise<void>,
  ): Promise<void> {
    const actors = [...this.#history.byActor()];
    await Promise.all(
      this.#teams.map(async ({ slot, clients: [client] }) => {
        if (client === undefined) return;
        for (const [actor, intents] of actors)
          if (belongsTo(slot.name, actor)) await act(client, slot, actor, intents);
      }),
    );
  }
}

const BALANCE: AccountInput = { message: "balance", amount: 0 };

function isAcknowledgedAfter(since: number, intent: Intent): boolean {
  const answered = definite(intent);
  return answered?.ending === "acknowledged" && answered.ended_at > since && !isRead(intent.input);
}
