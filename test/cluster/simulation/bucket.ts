/**
 * The store that all processes of a simulation share. Each operation is one step; how it gets there is the network's
 * business. An etag is the bytes themselves: equal bytes have equal etags, as in S3.
 */
import type { PutCondition, PutOutcome, StoredObject } from "../../../src/store/contract.ts";

/** Told of what has been done. Whoever sent it may be long dead. */
export interface Observer {
  put(key: string, body: Uint8Array, before: StoredObject | undefined, by: string): void;
  deleted(key: string, by: string): void;
  listed(prefix: string, by: string): void;
}

export class Bucket {
  readonly #objects = new Map<string, StoredObject>();
  /** Keys by the folder that they stand in. */
  readonly #folders = new Map<string, Set<string>>();
  readonly #observer: Observer;

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  put(key: string, body: Uint8Array, condition: PutCondition, by: string): PutOutcome {
    const before = this.#objects.get(key);
    if ("ifMatch" in condition && before?.etag !== condition.ifMatch) return { outcome: "conflict" };
    if ("ifNoneMatch" in condition && before !== undefined) return { outcome: "conflict" };
    const etag = Buffer.from(body).toString("latin1");
    this.#objects.set(key, { body, etag });
    const folder = this.#folders.get(folderOf(key));
    if (folder === undefined) this.#folders.set(folderOf(key), new Set([key]));
    else folder.add(key);
    this.#observer.put(key, body, before, by);
    return { outcome: "done", etag };
  }

  delete(key: string, by: string): void {
    if (!this.#objects.delete(key)) return;
    this.#folders.get(folderOf(key))?.delete(key);
    this.#observer.deleted(key, by);
  }

  /** The store loses an object: nobody did it, so nobody is told. */
  lose(key: string): void {
    this.#objects.delete(key);
    this.#folders.get(folderOf(key))?.delete(key);
  }

  /** @param prefix ends a folder */
  list(prefix: string, by: string): readonly string[] {
    this.#observer.listed(prefix, by);
    return [...(this.#folders.get(folderOf(prefix)) ?? [])];
  }
}

/** `node/`, `own/`, or the folder of one shard in `log/` and `ckpt/`. */
function folderOf(key: string): string {
  const first = key.indexOf("/") + 1;
  const isOfShard = key.startsWith("log/") || key.startsWith("ckpt/");
  return key.slice(0, isOfShard ? key.indexOf("/", first) + 1 : first);
}
