/**
 * What changed up to one moment, for a checkpoint that is written while calls go on.
 *
 * Nothing is written out at the moment itself, so no call waits for it: an actor's lines are made when they are asked
 * for, or just before it changes again.
 */
import type { Capture } from "../cluster/records.ts";
import type { Actor } from "./actor.ts";
import { readRecord, writeRecord } from "./record.ts";

/** An actor in memory, entries whose record has not been read, or lines that are made already. */
export type Source =
  | { readonly actor: Actor }
  | { readonly entries: readonly string[] }
  | { readonly lines: readonly string[] };

export class Captured implements Capture {
  readonly common: readonly string[];
  readonly #sources: Map<string, Source>;
  readonly #now_ms: number;
  readonly #onSettled: (durable: boolean) => void;

  constructor(
    common: readonly string[],
    sources: Map<string, Source>,
    now_ms: number,
    onSettled: (durable: boolean) => void,
  ) {
    this.common = common;
    this.#sources = sources;
    this.#now_ms = now_ms;
    this.#onSettled = onSettled;
  }

  get changed(): readonly string[] {
    return [...this.#sources.keys()];
  }

  has(key: string): boolean {
    return this.#sources.has(key);
  }

  lines(key: string, before: readonly string[]): readonly string[] {
    const source = this.#sources.get(key);
    if (source === undefined) throw new Error(`${key} has not changed`);
    if ("lines" in source) return source.lines;
    const actor = "actor" in source ? source.actor : readRecord(key, before, source.entries);
    return writeRecord(key, actor, this.#now_ms);
  }

  /** The actor is about to change. */
  keep(key: string): void {
    const source = this.#sources.get(key);
    if (source !== undefined && "actor" in source)
      this.#sources.set(key, { lines: writeRecord(key, source.actor, this.#now_ms) });
  }

  settle(durable: boolean): void {
    this.#onSettled(durable);
  }
}
