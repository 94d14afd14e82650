/** A log whose history is a list of texts: what is appended, checkpointed and recovered can be compared as it is. */

import { utf8 } from "../../src/bytes.ts";
import {
  decodeObject,
  decodeSlot,
  type LogObject,
  logPrefix,
  manifestKey,
  partKey,
  type SlotHeader,
  slotOf,
} from "../../src/cluster/format.ts";
import { type LogOptions, openLog, type ShardLog } from "../../src/cluster/log.ts";
import { type Ownership, readOwnership } from "../../src/cluster/ownership.ts";
import type { Manifest } from "../../src/cluster/pages.ts";
import type { Capture, ReadRecord, Records } from "../../src/cluster/records.ts";
import { crc32 } from "../../src/crc32.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { CHECKPOINT_SLOT_BYTES } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { TestClock } from "./clock.ts";

export const SHARD = 7;
/** A checkpoint every four slots or so. */
export const SMALL = { checkpointLogBytesMin: 3 * CHECKPOINT_SLOT_BYTES };

/** An entry that no history takes. */
export const MISFIT = '"misfit"';

const KEYS = Array.from({ length: 8 }, (_, i) => `key/${i}`);
/** The record that an entry changes. */
const keyOf = (entry: string): string => KEYS[crc32(utf8(entry)) % KEYS.length] ?? "";

/** Each record holds its entries, with their places in the history. */
export class History implements Records {
  /** How many of the entries came out of a checkpoint. */
  restored = 0;
  /** The key of a record that a checkpoint cannot write, as one whose entries do not follow on it. */
  misfit = "";
  #count = 0;
  /** What the last durable checkpoint does not hold. */
  readonly #tails = new Map<string, string[]>();
  #capturing = false;

  restore(line: string): void {
    this.restored = (JSON.parse(line) as { count: number }).count;
    this.#count = this.restored;
  }

  apply(entry: string): void {
    if (entry === MISFIT) throw new Error("it is of another version");
    const key = keyOf(entry);
    const tail = this.#tails.get(key) ?? [];
    tail.push(`${this.#count++} ${entry}`);
    this.#tails.set(key, tail);
  }

  capture(): Capture {
    if (this.#capturing) throw new Error("the capture before is not settled");
    this.#capturing = true;
    const tails = new Map([...this.#tails].map(([key, tail]) => [key, [...tail]]));
    return {
      common: [JSON.stringify({ count: this.#count })],
      changed: [...tails.keys()],
      lines: (key, before) => {
        if (key === this.misfit) throw new Error("it does not fit");
        return [...before, ...(tails.get(key) ?? [])];
      },
      settle: (durable) => {
        if (!this.#capturing) throw new Error("a capture is settled twice");
        this.#capturing = false;
        if (!durable) return;
        for (const [key, { length }] of tails) {
          const left = this.#tails.get(key)?.slice(length) ?? [];
          if (left.length > 0) this.#tails.set(key, left);
          else this.#tails.delete(key);
        }
      },
    };
  }

  /** The whole history: throws where an entry is missing or twice there. */
  async entries(read: ReadRecord): Promise<readonly string[]> {
    const entries: string[] = [];
    let found = 0;
    for (const key of KEYS) {
      const lines = await read(key);
      if (isRefusal(lines)) throw new Error(lines.detail);
      for (const line of [...lines, ...(this.#tails.get(key) ?? [])]) {
        const at = line.indexOf(" ");
        entries[Number(line.slice(0, at))] = line.slice(at + 1);
        found++;
      }
    }
    if (found !== this.#count || entries.length !== found || entries.includes(undefined as never))
      throw new Error(`of ${this.#count} entries ${found} are there: ${entries.join(",")}`);
    return entries;
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
    const found = await readOwnership(store, SHARD);
    if (isRefusal(found)) return found;
    const log = await openLog(
      {
        store,
        shard: SHARD,
        session,
        clock: new TestClock(),
        nonce: () => `${session}-${++nonces}`,
        breathe: async () => {},
        window: 1,
        leaseIsValid: () => true,
        onStepDown: (why) => this.stepDowns.push(why),
        ...options,
      },
      found,
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

  /** One commit each, and nothing goes on in the background. */
  async appendQuietly(...entries: readonly string[]): Promise<void> {
    for (const entry of entries) {
      await this.appendEach(entry);
      await this.log.idle();
    }
  }

  /** The history as this node has it. */
  entries(): Promise<readonly string[]> {
    return this.history.entries((key) => this.log.record(key));
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
  return (await opened(store)).entries();
}

/** The log's objects by slot, in order. */
export async function slots(store: Store): Promise<Map<number, LogObject<SlotHeader>>> {
  const objects = new Map<number, LogObject<SlotHeader>>();
  for (const key of (await keysOf(store, logPrefix(SHARD))).toSorted()) {
    const found = await store.get(key);
    if (found === undefined || isRefusal(found)) throw new Error(`${key} cannot be read`);
    const object = decodeSlot(found.body);
    if (typeof object === "string") throw new Error(`${key} ${object}`);
    objects.set(slotOf(key), object);
  }
  return objects;
}

/** How many entries each data slot holds, in order. */
export async function groupSizes(store: Store): Promise<number[]> {
  const objects = [...(await slots(store)).values()];
  return objects.filter(({ header }) => header.kind === "entries").map(({ lines }) => lines.length);
}

export async function keysOf(store: Store, prefix: string): Promise<readonly string[]> {
  const keys = await store.list(prefix);
  if (isRefusal(keys)) throw new Error(keys.detail);
  return keys;
}

export async function ownership(store: Store): Promise<Ownership> {
  const owned = await readOwnership(store, SHARD);
  if (owned === undefined || isRefusal(owned)) throw new Error("nobody owns the shard");
  return owned.ownership;
}

/** Where the checkpoint that counts has its manifest. */
export async function currentManifest(store: Store): Promise<string> {
  const { checkpoint } = await ownership(store);
  if (checkpoint === null) throw new Error("there is no checkpoint");
  return manifestKey(SHARD, checkpoint.id);
}

/** What the checkpoint that counts has: its manifest, and the keys of all its objects. */
export async function checkpointObjects(
  store: Store,
): Promise<{ manifest: Manifest; keys: readonly string[] }> {
  const { checkpoint } = await ownership(store);
  const key = await currentManifest(store);
  const found = await store.get(key);
  if (checkpoint === null || found === undefined || isRefusal(found))
    throw new Error("there is no checkpoint");
  const object = decodeObject(found.body);
  if (typeof object === "string") throw new Error(`${key} ${object}`);
  const manifest = JSON.parse(object.lines[0] ?? "") as Manifest;
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  const pages = manifest.pages.flatMap((page, number) =>
    page === null ? [] : numbers(page.parts).map((part) => partKey(SHARD, page.id, number, part)),
  );
  const common = numbers(manifest.common).map((part) => partKey(SHARD, checkpoint.id, "common", part));
  return { manifest, keys: [key, ...common, ...pages].toSorted() };
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
