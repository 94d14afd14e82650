/**
 * The actors of a shard in memory: a pure function of the log.
 *
 * A live call and a recovery both change an actor only through `apply`, so what a restart brings back is what was
 * there. What has expired is dropped as it is met.
 */
import type { Json } from "../json.ts";
import {
  decodeEntry,
  type Entry,
  type MonitorRecord,
  type NonceRecord,
  type ReplyRecord,
  type SnapshotLine,
} from "./entry.ts";

export interface KeptReply {
  readonly digest: string;
  readonly reply: Json;
  readonly until_ms: number;
}

export interface Actor {
  /** JSON text; `undefined` until a turn has set it. */
  state: string | undefined;
  /** The expression that the actor began under, and where its monitor stands. */
  behaviour: readonly [expression: string, state: number] | undefined;
  /** Monitors of protocol caveats that have left their start. */
  readonly monitors: Map<string, { readonly state: number; readonly until_ms: number | null }>;
  /** By idempotency key, oldest first. */
  readonly replies: Map<string, KeptReply>;
}

export class Actors {
  readonly #actors = new Map<string, Actor>();
  readonly #nonces = new Map<string, number>();

  get count(): number {
    return this.#actors.size;
  }

  /** The actor as it is; one never met has no state and stands at the start of everything. */
  peek(address: string): Actor {
    return this.#actors.get(address) ?? blank();
  }

  apply(entry: Entry, state: string | undefined): void {
    const actor = this.#actors.get(entry.actor) ?? blank();
    this.#actors.set(entry.actor, actor);
    if (state !== undefined) actor.state = state;
    actor.behaviour = entry.behaviour;
    for (const [id, at, until_ms] of entry.monitors) actor.monitors.set(id, { state: at, until_ms });
    if (entry.kept !== undefined) {
      const [key, digest, until_ms] = entry.kept;
      actor.replies.set(key, { digest, reply: entry.reply, until_ms });
    }
    forget(actor, entry.at);
    this.#remember(entry.nonce, entry.at);
  }

  /** From a line of the log. */
  applyText(text: string): void {
    const { state, ...entry } = decodeEntry(text);
    this.apply(entry, state === undefined ? undefined : JSON.stringify(state));
  }

  /** From a line of a checkpoint. */
  restore(text: string): void {
    const line = JSON.parse(text) as SnapshotLine;
    if ("nonces" in line) {
      for (const [key, until_s] of line.nonces) this.#nonces.set(key, until_s);
      return;
    }
    const { actor: address, state, behaviour, monitors, replies } = line;
    this.#actors.set(address, {
      state: state === undefined ? undefined : JSON.stringify(state),
      behaviour,
      monitors: new Map(monitors.map(([id, at, until_ms]) => [id, { state: at, until_ms }])),
      replies: new Map(replies.map(([key, digest, until_ms, reply]) => [key, { digest, until_ms, reply }])),
    });
  }

  *lines(): Iterable<string> {
    yield JSON.stringify({ nonces: [...this.#nonces] } satisfies SnapshotLine);
    for (const [address, actor] of this.#actors) yield snapshotLine(address, actor);
  }

  /** Requests that took effect and must not be taken again. */
  nonces(): Iterable<NonceRecord> {
    return this.#nonces;
  }

  #remember([key, until_s]: NonceRecord, now_ms: number): void {
    this.#nonces.set(key, until_s);
    // Oldest first, and none lives longer than another by more than a minute: the front is what has expired.
    for (const [old, until] of this.#nonces) {
      if (until * 1000 >= now_ms) break;
      this.#nonces.delete(old);
    }
  }
}

function blank(): Actor {
  return { state: undefined, behaviour: undefined, monitors: new Map(), replies: new Map() };
}

function forget(actor: Actor, now_ms: number): void {
  for (const [key, { until_ms }] of actor.replies) {
    if (until_ms >= now_ms) break;
    actor.replies.delete(key);
  }
}

/** Drops the monitors whose caveats no token passes any more. */
export function forgetMonitors(actor: Actor, now_ms: number): void {
  for (const [id, { until_ms }] of actor.monitors) {
    if (until_ms !== null && until_ms <= now_ms) actor.monitors.delete(id);
  }
}

function snapshotLine(address: string, actor: Actor): string {
  const monitors = [...actor.monitors].map(
    ([id, { state, until_ms }]): MonitorRecord => [id, state, until_ms],
  );
  const replies = [...actor.replies].map(
    ([key, { digest, until_ms, reply }]): readonly [...ReplyRecord, Json] => [key, digest, until_ms, reply],
  );
  const line = JSON.stringify({ actor: address, behaviour: actor.behaviour, monitors, replies });
  return actor.state === undefined ? line : `${line.slice(0, -1)},"state":${actor.state}}`;
}
