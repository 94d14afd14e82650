/**
 * The actors of a shard: a function of its log, of which only what is used stays in memory.
 *
 * An actor is in memory, or it is its record in the last checkpoint and the entries after it (recovery reads no
 * record; the first call does), or only its record. Which of the three makes no difference to any call. Nothing
 * leaves memory that is not in a checkpoint.
 */
import type { Capture, ReadRecord, Records } from "../cluster/records.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { ACTOR_IDLE_MS, ACTORS_BYTES_MAX } from "../limits.ts";
import { joined, type Stretch } from "../stretches.ts";
import { type Actor, bytesOf, take } from "./actor.ts";
import { Captured, type Source } from "./capture.ts";
import { type Delivery, decodeLine, type Entry, isDelivery, type NonceRecord } from "./entry.ts";
import { arrays, readRecord } from "./record.ts";

interface Held {
  readonly actor: Actor;
  bytes: number;
  /** `undefined`: since the last look at what may leave. */
  called_ms: number | undefined;
  /** Calls that are at work on it. */
  calls: number;
}

export class Actors implements Records {
  /** In memory, the least recently called first. */
  readonly #held = new Map<string, Held>();
  readonly #loading = new Map<string, Promise<Actor | Refusal>>();
  /** Entries after the last checkpoint of actors that are not in memory, as text. */
  readonly #overlays = new Map<string, string[]>();
  readonly #nonces = new Map<string, number>();
  #forgottenNonces: readonly Stretch[] = [];
  /** How many sends wait in each actor's outbox, in memory or not; none where none do. */
  readonly #outboxes = new Map<string, number>();
  /** Since the last capture; what that one holds is durable only when it is settled. */
  #changed = new Set<string>();
  #captured: Captured | undefined;
  /** How many checkpoints have become durable. */
  #checkpoints = 0;
  /** Of the last entry. */
  #at_ms = 0;
  #bytes = 0;

  /** Actors in memory. */
  get count(): number {
    return this.#held.size;
  }

  /** About what they take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The actor where it is in memory; this counts as a call of it. */
  get(address: string): Actor | undefined {
    const held = this.#held.get(address);
    if (held === undefined) return undefined;
    this.#held.delete(address);
    this.#held.set(address, held);
    held.called_ms = undefined;
    return held.actor;
  }

  /**
   * Brings the actor into memory. A refusal is that of the read, and changes nothing.
   *
   * @param read must read the checkpoint that was last settled as durable
   */
  load(address: string, read: ReadRecord): Promise<Actor | Refusal> {
    const actor = this.get(address);
    if (actor !== undefined) return Promise.resolve(actor);
    const loading =
      this.#loading.get(address) ??
      this.#load(address, read).finally(() => {
        this.#loading.delete(address);
      });
    this.#loading.set(address, loading);
    return loading;
  }

  /** The actor is in memory, and stays there until the work is done. */
  async keep<T>(address: string, work: () => Promise<T>): Promise<T> {
    const held = this.#held.get(address);
    if (held === undefined) throw new Error(`${address} is not in memory`);
    held.calls++;
    try {
      return await work();
    } finally {
      held.calls--;
    }
  }

  async #load(address: string, read: ReadRecord): Promise<Actor | Refusal> {
    for (;;) {
      const checkpoints = this.#checkpoints;
      const lines = await read(address);
      // A checkpoint became durable meanwhile: the read may have met the old one, and the entries are in the new one.
      if (checkpoints !== this.#checkpoints) continue;
      if (isRefusal(lines)) return lines;
      const actor = readRecord(address, lines, this.#overlays.get(address));
      // They are in the actor now, and would only take room.
      this.#overlays.delete(address);
      const bytes = bytesOf(actor);
      this.#held.set(address, { actor, bytes, called_ms: undefined, calls: 0 });
      this.#bytes += bytes;
      return actor;
    }
  }

  /**
   * The effect of a call, or of a delivery, on an actor in memory.
   *
   * @param state the new one; `undefined` where the turn left it as it was
   */
  change(entry: Entry | Delivery, state: string | undefined): void {
    const held = this.#held.get(entry.actor);
    if (held === undefined) throw new Error(`${entry.actor} is not in memory`);
    this.#captured?.keep(entry.actor);
    take(held.actor, entry, state);
    const bytes = bytesOf(held.actor);
    this.#bytes += bytes - held.bytes;
    held.bytes = bytes;
    this.#note(entry);
  }

  apply(text: string): void {
    const entry = decodeLine(text);
    // Behind the back of who has read the record, or captured it, the entry would be lost.
    if (this.#held.has(entry.actor) || this.#captured !== undefined)
      throw new Error(`the history of ${entry.actor} is in use before all of it is known`);
    const overlay = this.#overlays.get(entry.actor);
    if (overlay === undefined) this.#overlays.set(entry.actor, [text]);
    else overlay.push(text);
    this.#note(entry);
  }

  restore(line: string): void {
    const { nonces = [], forgotten = [], outboxes = [] } = JSON.parse(line) as CommonLine;
    for (const [key, until_s] of nonces) this.#nonces.set(key, until_s);
    for (const stretch of forgotten) this.#forgottenNonces = joined(this.#forgottenNonces, stretch);
    for (const [address, sends] of outboxes) this.#outboxes.set(address, sends);
  }

  /** Actors with sends that are not delivered. */
  get sending(): Iterable<string> {
    return this.#outboxes.keys();
  }

  /** Requests that took effect and must not be taken again. */
  nonces(): Iterable<NonceRecord> {
    return this.#nonces;
  }

  /** The times until which other such requests could have been taken, of which nobody knows more. */
  get forgottenNonces(): readonly Stretch[] {
    return this.#forgottenNonces;
  }

  /**
   * Which of them may be forgotten only a monotonic clock knows, and the log has none. So the leader says it, and those
   * that recovery finds are all kept until then.
   *
   * @param isRemembered whether the leader still remembers the nonce
   */
  forgetNonces(isRemembered: (key: string) => boolean): void {
    // In the order in which they were taken; after a recovery about so, and one that stays holds up others for a while.
    for (const [key, until_s] of this.#nonces) {
      if (isRemembered(key)) return;
      this.#nonces.delete(key);
      this.#forgottenNonces = joined(this.#forgottenNonces, [until_s, until_s]);
    }
  }

  capture(): Capture {
    if (this.#captured !== undefined) throw new Error("the last capture is not settled");
    const forgotten = `{"nonces":[],"forgotten":${JSON.stringify(this.#forgottenNonces)}}`;
    const nonces = [...arrays<NonceRecord>(this.#nonces)].map((array) => `{"nonces":${array}}`);
    const outboxes = [...arrays(this.#outboxes)].map((array) => `{"outboxes":${array}}`);
    const common = [...(this.#forgottenNonces.length === 0 ? [] : [forgotten]), ...nonces, ...outboxes];
    const sources = new Map([...this.#changed].map((key) => [key, this.#source(key)]));
    const captured = new Captured(common, sources, this.#at_ms, (durable) => {
      this.#settle(captured, durable);
    });
    this.#captured = captured;
    this.#changed = new Set();
    return captured;
  }

  #source(key: string): Source {
    const held = this.#held.get(key);
    return held === undefined ? { entries: [...(this.#overlays.get(key) ?? [])] } : { actor: held.actor };
  }

  #settle(captured: Captured, durable: boolean): void {
    if (captured !== this.#captured) throw new Error("a capture is settled twice");
    this.#captured = undefined;
    if (durable) this.#checkpoints++;
    for (const key of captured.changed) {
      if (durable) this.#overlays.delete(key);
      else this.#changed.add(key);
    }
  }

  /**
   * Lets actors leave memory: those that were not called for a while, and, while all take too much, the least recently
   * called. Only what the last checkpoint holds may leave, and nothing that a call is at work on.
   *
   * @param now_ms monotonic
   */
  evict(now_ms: number, bytes_max = ACTORS_BYTES_MAX): void {
    for (const [address, held] of this.#held) {
      held.called_ms ??= now_ms;
      const leaves = this.#bytes > bytes_max || now_ms - held.called_ms >= ACTOR_IDLE_MS;
      if (!leaves || held.calls > 0) continue;
      if (this.#changed.has(address) || this.#captured?.has(address) === true) continue;
      this.#held.delete(address);
      this.#bytes -= held.bytes;
    }
  }

  /** What every entry leaves with the shard. */
  #note(entry: Entry | Delivery): void {
    this.#changed.add(entry.actor);
    this.#at_ms = entry.at;
    const sent = isDelivery(entry) ? -1 : (entry.sends?.length ?? 0);
    const sending = (this.#outboxes.get(entry.actor) ?? 0) + sent;
    if (sending > 0) this.#outboxes.set(entry.actor, sending);
    else this.#outboxes.delete(entry.actor);
    if (isDelivery(entry)) return;
    const [key, until_s] = entry.nonce;
    this.#nonces.set(key, until_s);
  }
}

/** A line of a checkpoint that belongs to no actor. */
interface CommonLine {
  readonly nonces?: readonly NonceRecord[];
  readonly forgotten?: readonly Stretch[];
  readonly outboxes?: readonly (readonly [address: string, sends: number])[];
}
