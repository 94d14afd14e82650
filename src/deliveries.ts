/**
 * Sends on their way: whoever leads a shard delivers what its actors have sent, until each has its final answer.
 *
 * A send is an ordinary request, signed with its sender's key, and passes the whole gate like any other. It leaves when the
 * entry that sent it is durable; to one receiver the next one leaves when it is durable that the one before was answered.
 * A delivery whose answer was lost is repeated, and the receiver, who knows its number, takes it once. What can be refused
 * for good is refused once, and reported.
 */
import type { Send } from "./actor/outbox.ts";
import type { Shard } from "./actor/shard.ts";
import type { Clock } from "./cluster/clock.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import type { Few } from "./few.ts";
import { SEND_BACKOFF_MS_MAX, SEND_BACKOFF_MS_MIN, SEND_LIFETIME_MS } from "./limits.ts";

export interface DeliveriesOptions {
  readonly shard: Pick<Shard, "receivers" | "nextSend" | "delivered">;
  /** Shared by all shards of the node: callers must not wait behind what actors send, nor one tenant behind another. */
  readonly few: Few;
  /**
   * Asks the receiver once.
   * @returns `done`, or the code of a refusal for good; or the refusal of an attempt that may be repeated
   */
  readonly attempt: (address: string, send: Send) => Promise<string | Refusal>;
  readonly clock: Clock;
  /** ms since the epoch. */
  readonly wall_ms: () => number;
  /** The shard is no longer led here. */
  readonly ended: () => boolean;
  /** What will not be delivered. */
  readonly report: (event: "send_refused" | "send_given_up" | "send_failed", detail: string) => void;
}

export class Deliveries {
  readonly #options: DeliveriesOptions;
  /** Sender and receiver that are served now; whether there is something new since. */
  readonly #lanes = new Map<string, { again: boolean }>();

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** @param address an actor, `tenant/type/id`, with something in its outbox */
  look(address: string): void {
    this.#look(address).catch((error) => this.#failed(address, error));
  }

  async #look(address: string): Promise<void> {
    const receivers = await this.#retried(address, () => this.#options.shard.receivers(address));
    for (const receiver of receivers ?? []) this.#open(address, receiver);
  }

  #open(address: string, receiver: string): void {
    const key = `${address} ${receiver}`;
    const open = this.#lanes.get(key);
    if (open !== undefined) {
      open.again = true;
      return;
    }
    const lane = { again: false };
    this.#lanes.set(key, lane);
    this.#serve(address, receiver)
      .catch((error) => this.#failed(address, error))
      .finally(() => {
        this.#lanes.delete(key);
        if (lane.again && !this.#options.ended()) this.#open(address, receiver);
      });
  }

  /** One after the other, until there is nothing left or the shard is somebody else's. */
  async #serve(address: string, receiver: string): Promise<void> {
    const { shard, wall_ms } = this.#options;
    for (;;) {
      const next = await this.#retried(address, () => shard.nextSend(address, receiver));
      if (next === undefined) return;
      const outcome = await this.#retried(address, () => this.#attempt(address, next));
      if (outcome === undefined) return;
      const [number] = next.record;
      const done = await this.#retried(
        address,
        async () => (await shard.delivered(address, wall_ms(), [number, outcome])) ?? true,
      );
      if (done === undefined) return;
      this.#report(address, next, outcome);
    }
  }

  /**
   * Does it again, after longer and longer pauses, until it is not refused.
   * @returns `undefined` where the shard was lost meanwhile
   */
  async #retried<T>(address: string, work: () => Promise<T | Refusal>): Promise<T | undefined> {
    const { clock, ended, few } = this.#options;
    const tenant = address.slice(0, address.indexOf("/"));
    let pause_ms = SEND_BACKOFF_MS_MIN;
    while (!ended()) {
      const outcome = await few.run(tenant, work);
      if (!isRefusal(outcome)) return outcome;
      await clock.sleep(pause_ms);
      pause_ms = Math.min(2 * pause_ms, SEND_BACKOFF_MS_MAX);
    }
    return undefined;
  }

  async #attempt(address: string, send: Send): Promise<string | Refusal> {
    const { attempt, wall_ms } = this.#options;
    return wall_ms() - send.at_ms > SEND_LIFETIME_MS ? "given_up" : attempt(address, send);
  }

  #report(address: string, { record: [number, , receiver, message] }: Send, outcome: string): void {
    if (outcome === "done") return;
    const event = outcome === "given_up" ? "send_given_up" : "send_refused";
    this.#options.report(event, `${address} send ${number} to ${receiver} ${message}: ${outcome}`);
  }

  /** A bug: said by its name, never by its data. The outbox stays as it is, for who leads next. */
  #failed(address: string, error: unknown): void {
    this.#options.report(
      "send_failed",
      `${address}: ${error instanceof Error ? error.name : "not an Error"}`,
    );
  }
}
