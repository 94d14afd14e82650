/**
 * What a shard has in its store, in memory: the last checkpoint's records and the entries after it, in place of pages
 * and slots. One write at a time; an epoch that is raised ends every log of a lower one.
 */
import type { Actor } from "../../src/actor/actor.ts";
import { Actors } from "../../src/actor/actors.ts";
import type { EntryLog } from "../../src/actor/shard.ts";
import type { Capture } from "../../src/cluster/records.ts";
import { isRefusal, type Refusal, refuse } from "../../src/errors.ts";

export class Shelf {
  epoch = 0;
  common: readonly string[] = [];
  records: ReadonlyMap<string, readonly string[]> = new Map();
  /** After the checkpoint. */
  entries: readonly string[] = [];

  /** As recovery does it: the common lines, then the entries, and no record. */
  recover(): Actors {
    const actors = new Actors();
    for (const line of this.common) actors.restore(line);
    for (const entry of this.entries) actors.apply(entry);
    return actors;
  }

  readonly read = async (key: string): Promise<readonly string[]> => this.records.get(key) ?? [];

  /** @param length how many of the entries the capture holds */
  keep(capture: Capture, length: number): void {
    const records = new Map(this.records);
    for (const key of capture.changed) {
      const lines = capture.lines(key, this.records.get(key) ?? []);
      if (lines.length === 0) records.delete(key);
      else records.set(key, lines);
    }
    this.records = records;
    this.common = capture.common;
    this.entries = this.entries.slice(length);
    capture.settle(true);
  }

  /** A checkpoint in one step. */
  checkpoint(actors: Actors): void {
    this.keep(actors.capture(), this.entries.length);
  }
}

/** The log of one owner of the shelf. */
export class ShelfLog implements EntryLog {
  /** From now on writes end without an answer. */
  cut = false;
  readonly writes = new Gate();
  readonly confirmations = new Gate();
  readonly #shelf: Shelf;
  readonly #epoch: number;
  #last: Promise<Refusal | undefined> = Promise.resolve(undefined);
  #ended: Refusal | undefined;

  constructor(shelf: Shelf) {
    this.#shelf = shelf;
    this.#epoch = ++shelf.epoch;
  }

  get ended(): Refusal | undefined {
    return this.#ended;
  }

  append(entry: string): Promise<Refusal | undefined> {
    this.#last = this.#write(entry, this.#last);
    return this.#last;
  }

  async settled(): Promise<Refusal | undefined> {
    return (await this.#last) ?? this.#ended;
  }

  async confirm(): Promise<Refusal | undefined> {
    await this.confirmations.passed();
    return this.#deposed();
  }

  async #write(entry: string, before: Promise<unknown>): Promise<Refusal | undefined> {
    await before;
    await this.writes.passed();
    if (this.cut) this.#ended ??= refuse("outcome_unknown", "the store did not say");
    this.#ended ??= this.#deposed();
    if (this.#ended === undefined) this.#shelf.entries = [...this.#shelf.entries, entry];
    return this.#ended;
  }

  #deposed(): Refusal | undefined {
    return this.#epoch === this.#shelf.epoch
      ? undefined
      : refuse("not_leader", "another node has taken the shard");
  }
}

/** Lets through what asks, or holds it until it is opened again. */
export class Gate {
  #closed: PromiseWithResolvers<void> | undefined;

  close(): void {
    this.#closed ??= Promise.withResolvers();
  }

  open(): void {
    this.#closed?.resolve();
    this.#closed = undefined;
  }

  async passed(): Promise<void> {
    await this.#closed?.promise;
  }
}

export async function loaded(actors: Actors, address: string, read = new Shelf().read): Promise<Actor> {
  const actor = await actors.load(address, read);
  if (isRefusal(actor)) throw new Error(actor.detail);
  return actor;
}

/** What a checkpoint would write of actors that were never in one, without writing it. */
export function changesOf(actors: Actors): {
  readonly common: readonly string[];
  readonly records: Readonly<Record<string, readonly string[]>>;
} {
  const capture = actors.capture();
  const records = Object.fromEntries(capture.changed.map((key) => [key, capture.lines(key, [])]));
  capture.settle(false);
  return { common: capture.common, records };
}

/** Lets everything run that need not wait for the outside. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
