/** A node's shards without its gate: real actors, log and checkpoints, on a store and a clock of the test's. */
import type { Incoming } from "../../src/cluster/forward.ts";
import { Courier } from "../../src/courier.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { createProtocolCache } from "../../src/protocol/cache.ts";
import { Shards, type ShardsOptions } from "../../src/shards.ts";
import { ReplayWindow } from "../../src/signature/replay.ts";
import type { Store } from "../../src/store/contract.ts";
import { callOf, type Given, NOW_MS } from "../actor/counter.ts";
import { TestClock } from "../cluster/clock.ts";
import { random } from "./gate.ts";
import { VAULT } from "./vault.ts";

const FOREVER_MS = 1e12;

let sessions = 0;

/** Alone, with one shard, and a checkpoint after each commit, unless told. */
export class ShardsNode {
  readonly session = `s${++sessions}`;
  readonly clock: TestClock;
  readonly events: string[] = [];
  readonly replays: ReplayWindow;
  readonly shards: Shards;

  constructor(
    store: Store,
    { clock = new TestClock(), ...options }: Partial<ShardsOptions> & { clock?: TestClock } = {},
  ) {
    let nonces = 0;
    this.clock = clock;
    this.replays = options.replays ?? new ReplayWindow();
    this.shards = new Shards({
      store,
      clock,
      session: this.session,
      nonce: () => `${this.session}-${++nonces}`,
      breathe: async () => {},
      window: 1,
      checkpointLogBytesMin: 1,
      url: `http://${this.session}`,
      authorities: [],
      process: this.session,
      isGone: () => false,
      shardCount: 1,
      ttl_ms: 10_000,
      wallTime: () => new Date(NOW_MS).toISOString(),
      lost: () => {},
      protocols: createProtocolCache(),
      replays: this.replays,
      send: async () => ({ failed: "unsent" }),
      courier: new Courier({
        vault: VAULT,
        ask: async () => new Response(null),
        url: "http://here",
        wall_ms: () => NOW_MS,
        random,
      }),
      event: (event, shard, detail) => this.events.push(`${event} ${shard}: ${detail}`),
      ...options,
    });
  }

  async start(): Promise<this> {
    const failed = await this.shards.start();
    if (failed !== undefined) throw new Error(failed.detail);
    return this;
  }

  /** The refusal; another node's answer; or the reply. */
  async ask(
    message: string,
    given: Given = {},
    incoming: Partial<Incoming> = {},
    deadline_ms = FOREVER_MS,
  ): Promise<Refusal | Response | { readonly reply: unknown }> {
    const request = new Request(`http://here/v1/t/account/1/${message}`, { method: "POST" });
    const whole = { request, body: new Uint8Array(), hops: 0, more: {}, admit: () => undefined, ...incoming };
    return this.shards.call(callOf(message, given), whole, deadline_ms);
  }

  /** The code of a refusal, or `done`. */
  async call(message: string, given: Given = {}, deadline_ms = FOREVER_MS): Promise<string> {
    const outcome = await this.ask(message, given, {}, deadline_ms);
    return isRefusal(outcome) ? outcome.code : "done";
  }

  /** Hands over and goes. */
  async leave(): Promise<void> {
    await this.shards.drain();
    await this.shards.leave();
  }
}
