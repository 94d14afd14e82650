/**
 * The actors of a shard in memory: a pure function of the log.
 *
 * A live call and a recovery both change an actor only through `apply`, so what a restart brings back is what was
 * there. What has expired is dropped as it is met.
 */
import { CHECKPOINT_PART_BYTES, CLOCK_SKEW_S_MAX, MONITORS_PER_ACTOR_MAX } from "../limits.ts";
import {
  decodeEntry,
  type Entry,
  type KeptRecord,
  type MonitorRecord,
  type NonceRecord,
  type SnapshotLine,
} from "./entry.ts";
import { Replies } from "./replies.ts";

export interface Actor {
  /** JSON text; `undefined` until a turn has set it. */
  state: string | undefined;
  /** The expression that the actor began under, and where its monitor stands. */
  behaviour: readonly [expression: string, state: number] | undefined;
  /** Monitors of protocol caveats that have left their start. */
  readonly monitors: Map<string, { readonly state: number; readonly until_ms: number | null }>;
  readonly replies: Replies;
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
    if (actor.monitors.size + entry.monitors.length > MONITORS_PER_ACTOR_MAX) forgetMonitors(actor, entry.at);
    for (const [id, at, until_ms] of entry.monitors) actor.monitors.set(id, { state: at, until_ms });
    actor.replies.forget(entry.at);
    if (entry.kept !== undefined) {
      const [key, digest, until_ms] = entry.kept;
      actor.replies.set(key, { digest, reply: entry.reply, until_ms });
    }
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
    if ("replies" in line) {
      const kept = this.#actors.get(line.of)?.replies;
      for (const [key, digest, until_ms, reply] of line.replies) kept?.set(key, { digest, until_ms, reply });
      return;
    }
    const { actor: address, state, behaviour, monitors } = line;
    this.#actors.set(address, {
      state: state === undefined ? undefined : JSON.stringify(state),
      behaviour,
      monitors: new Map(monitors.map(([id, at, until_ms]) => [id, { state: at, until_ms }])),
      replies: new Replies(),
    });
  }

  *lines(): Iterable<string> {
    for (const nonces of arrays<NonceRecord>(this.#nonces)) yield `{"nonces":${nonces}}`;
    for (const [address, actor] of this.#actors) {
      yield actorLine(address, actor);
      for (const replies of arrays(keptRecords(actor)))
        yield `{"of":${JSON.stringify(address)},"replies":${replies}}`;
    }
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
  return { state: undefined, behaviour: undefined, monitors: new Map(), replies: new Replies() };
}

function forgetMonitors(actor: Actor, now_ms: number): void {
  for (const [id, { until_ms }] of actor.monitors) {
    if (isOver(until_ms, now_ms)) actor.monitors.delete(id);
  }
}

/** No token passes the monitor's caveat any more, also on a node whose clock is behind. */
export function isOver(until_ms: number | null, now_ms: number): boolean {
  return until_ms !== null && until_ms + CLOCK_SKEW_S_MAX * 1000 <= now_ms;
}

function actorLine(address: string, actor: Actor): string {
  const monitors = [...actor.monitors].map(
    ([id, { state, until_ms }]): MonitorRecord => [id, state, until_ms],
  );
  const line = JSON.stringify({ actor: address, behaviour: actor.behaviour, monitors });
  return actor.state === undefined ? line : `${line.slice(0, -1)},"state":${actor.state}}`;
}

function* keptRecords(actor: Actor): Iterable<KeptRecord> {
  for (const [key, { digest, until_ms, reply }] of actor.replies) yield [key, digest, until_ms, reply];
}

/** The records as JSON arrays, several where one would outgrow a part of a checkpoint. */
function* arrays<T>(records: Iterable<T>): Iterable<string> {
  let texts: string[] = [];
  let length = 0;
  for (const record of records) {
    const text = JSON.stringify(record);
    if (length > 0 && length + text.length > CHECKPOINT_PART_BYTES) {
      yield `[${texts.join(",")}]`;
      texts = [];
      length = 0;
    }
    texts.push(text);
    length += text.length;
  }
  if (length > 0) yield `[${texts.join(",")}]`;
}
