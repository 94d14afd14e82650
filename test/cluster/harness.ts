/** A log whose history is a list of texts: what is appended, checkpointed and recovered can be compared as it is. */
import { decodeObject, type LogObject, logKey } from "../../src/cluster/format.ts";
import { type LogOptions, openLog, type ShardLog, type Snapshot } from "../../src/cluster/log.ts";
import { type Ownership, readOwnership } from "../../src/cluster/ownership.ts";
import type { Sink } from "../../src/cluster/recovery.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";

export const SHARD = 7;

export class History implements Sink, Snapshot {
  readonly entries: string[] = [];
  /** How many of the entries came out of a checkpoint. */
  restored = 0;

  restore(line: string): void {
    this.restored++;
    this.entries.push(line);
  }

  apply(entry: string): void {
    this.entries.push(entry);
  }

  lines(): Iterable<string> {
    return this.entries;
  }
}

/** One incarnation of a node. */
export class Incarnation {
  readonly history = new History();
  readonly stepDowns: Refusal[] = [];
  #log: ShardLog | undefined;

  get log(): ShardLog {
    if (this.#log === undefined) throw new Error("the log is not open");
    return this.#log;
  }

  async open(store: Store, session: string, options: Partial<LogOptions> = {}): Promise<this | Refusal> {
    let nonces = 0;
    const log = await openLog(
      {
        store,
        shard: SHARD,
        session,
        nonce: () => `${session}-${++nonces}`,
        breathe: async () => {},
        onStepDown: (why) => this.stepDowns.push(why),
        ...options,
      },
      this.history,
    );
    if (isRefusal(log)) return log;
    this.#log = log;
    return this;
  }

  /** As the shard does it: first in memory, then in the log. */
  append(entry: string): Promise<Refusal | undefined> {
    this.history.apply(entry);
    return this.log.append(entry);
  }

  /** One commit each. */
  async appendEach(...entries: readonly string[]): Promise<void> {
    for (const entry of entries) {
      const failed = await this.append(entry);
      if (failed !== undefined) throw new Error(failed.detail);
    }
  }
}

let sessions = 0;

/** Opens the shard for a new session, or throws. */
export async function opened(store: Store, options: Partial<LogOptions> = {}): Promise<Incarnation> {
  const incarnation = await new Incarnation().open(store, `s${++sessions}`, options);
  if (isRefusal(incarnation)) throw new Error(incarnation.detail);
  return incarnation;
}

/** Opens the shard where that must be refused. */
export async function refusedOpening(store: Store): Promise<Refusal> {
  const incarnation = await new Incarnation().open(store, `s${++sessions}`);
  if (!isRefusal(incarnation)) throw new Error("the shard was opened");
  return incarnation;
}

/** The history that the next owner finds. */
export async function recovered(store: Store): Promise<readonly string[]> {
  return (await opened(store)).history.entries;
}

/** The log's objects by slot. */
export async function slots(store: Store): Promise<Map<number, LogObject>> {
  const keys = await store.list(logKey(SHARD, 0).slice(0, -20));
  if (isRefusal(keys)) throw new Error(keys.detail);
  const objects = new Map<number, LogObject>();
  for (const key of keys.toSorted()) {
    const found = await store.get(key);
    if (found === undefined || isRefusal(found)) throw new Error(`${key} cannot be read`);
    const object = decodeObject(found.body);
    if (typeof object === "string") throw new Error(`${key} ${object}`);
    objects.set(Number(key.slice(-20)), object);
  }
  return objects;
}

export async function ownership(store: Store): Promise<Ownership> {
  const owned = await readOwnership(store, SHARD);
  if (owned === undefined || isRefusal(owned)) throw new Error("nobody owns the shard");
  return owned.ownership;
}

/** `["<name>0", "<name>1", …]`: entries, told apart. */
export function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => JSON.stringify(`${name}${i}`));
}

/** Lets everything run that can run without the store. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
