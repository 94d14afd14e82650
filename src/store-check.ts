/**
 * Is a store whole? Reads every object and says what is wrong, by key.
 *
 * Checked: checksums of log and checkpoints, that a shard's slots follow its checkpoint without a gap and none is of
 * a newer epoch than its owner's, that handlers are the bytes their hash names, that policies find their handlers, that
 * key rings open, that no page of a revocation feed is missing or damaged. Nothing is written, so it may run beside a node; what that node deletes meanwhile is no problem.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { fromUtf8, toHex } from "./bytes.ts";
import { CHANGES_KEY, parseChanges } from "./changes.ts";
import { decodeObject, logKey, manifestKey, ownKey } from "./cluster/format.ts";
import type { Ownership } from "./cluster/ownership.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { REVOCATIONS_PER_PAGE, STORE_READS_AT_ONCE } from "./limits.ts";
import { instrumentedKey, originalKey, type PublishedTenant } from "./publish.ts";
import type { Secret } from "./secret.ts";
import type { Store } from "./store/contract.ts";
import { openKeyring } from "./token/keyring.ts";
import { decodePage, pageKey } from "./token/revocation.ts";

export interface StoreProblem {
  readonly key: string;
  readonly detail: string;
}

export interface StoreReport {
  readonly objects: number;
  readonly bytes: number;
  readonly problems: readonly StoreProblem[];
}

/** How far a long work over a store has come. */
export type Progress = (done: number, total: number, bytes: number) => void;

/** Refusal: `store_unavailable`. */
export async function checkStore(
  store: Store,
  master: Secret,
  progress: Progress,
): Promise<StoreReport | Refusal> {
  const keys = await store.list("");
  if (isRefusal(keys)) return keys;
  const check = new Check(new Set(keys), master);
  const failed = await forEachObject(store, keys.toSorted(), progress, (key, body) =>
    check.object(key, body),
  );
  if (failed !== undefined) return failed;
  check.shards();
  return { objects: keys.length, bytes: check.bytes, problems: check.problems };
}

/** Reads the objects, a few at a time, in about the order of their keys. @returns the first refusal, if any. */
export async function forEachObject(
  store: Store,
  keys: readonly string[],
  progress: Progress,
  visit: (key: string, body: Uint8Array) => void | Promise<Refusal | void>,
): Promise<Refusal | undefined> {
  let next = 0;
  let done = 0;
  let bytes = 0;
  let failed: Refusal | undefined;
  const reader = async (): Promise<void> => {
    for (let key = keys[next++]; key !== undefined && failed === undefined; key = keys[next++]) {
      const found = await store.get(key);
      // Absent by now: a node at work has collected it.
      const refused = isRefusal(found) ? found : found && (await visit(key, found.body));
      if (refused) failed ??= refused;
      bytes += isRefusal(found) ? 0 : (found?.body.length ?? 0);
      progress(++done, keys.length, bytes);
    }
  };
  await Promise.all(Array.from({ length: STORE_READS_AT_ONCE }, reader));
  return failed;
}

class Check {
  bytes = 0;
  readonly problems: StoreProblem[] = [];
  readonly #keys: ReadonlySet<string>;
  readonly #master: Secret;
  readonly #owned = new Map<number, Ownership>();
  /** The epoch that wrote a slot, by shard and sequence number. */
  readonly #slots = new Map<number, Map<number, number>>();

  constructor(keys: ReadonlySet<string>, master: Secret) {
    this.#keys = keys;
    this.#master = master;
  }

  object(key: string, body: Uint8Array): void {
    this.bytes += body.length;
    const [kind = "", ...names] = key.split("/");
    const problem = this.#inspect(kind, names, body);
    if (problem !== undefined) this.problems.push({ key, detail: problem });
  }

  #inspect(kind: string, names: readonly string[], body: Uint8Array): string | undefined {
    const [name = "", part = ""] = names;
    switch (kind) {
      case "log":
        return this.#slot(Number(name), Number(part), body);
      case "ckpt": {
        const decoded = decodeObject(body);
        return typeof decoded === "string" ? `it ${decoded}` : undefined;
      }
      case "own":
        return this.#ownership(Number(name), body);
      case "keys":
        return openKeyring(body, name, this.#master) ? undefined : "it does not open with this master key";
      case "policy":
        return this.#policy(body);
      case "revoked":
        return this.#page(name, part, body);
      case CHANGES_KEY:
        return parseChanges(body) ? undefined : "it is no list of changes of this version";
      case "handler":
        return checkHandler(name, part, body, this.#keys);
      case "probe":
        return undefined;
      default:
        return "it is no object of this version";
    }
  }

  #slot(shard: number, seq: number, body: Uint8Array): string | undefined {
    const decoded = decodeObject(body);
    if (typeof decoded === "string") return `it ${decoded}`;
    const slots = this.#slots.get(shard) ?? new Map<number, number>();
    slots.set(seq, decoded.header.epoch);
    this.#slots.set(shard, slots);
    return undefined;
  }

  #ownership(shard: number, body: Uint8Array): string | undefined {
    const ownership = parse(body) as Ownership | undefined;
    if (ownership === undefined || !Number.isSafeInteger(ownership.epoch)) return "it is no ownership record";
    this.#owned.set(shard, ownership);
    return undefined;
  }

  #policy(body: Uint8Array): string | undefined {
    const document = parse(body) as PublishedTenant | undefined;
    if (document?.v !== 1) return "it is no published policy of this version";
    const missing = Object.values(document.handlers)
      .flatMap((hash) => [originalKey(hash), instrumentedKey(hash, document.pass)])
      .find((key) => !this.#keys.has(key));
    return missing === undefined ? undefined : `it needs ${missing}, which is missing`;
  }

  #page(tenant: string, name: string, body: Uint8Array): string | undefined {
    const page = Number(name);
    const decoded = decodePage(body, tenant, page);
    if (typeof decoded === "string") return `it ${decoded}`;
    // Readers end at the first page that is not there or not full.
    const isLast = !this.#keys.has(pageKey(tenant, page + 1));
    if (!isLast && decoded.entries.length < REVOCATIONS_PER_PAGE)
      return "it is not full, but another follows";
    const isReached = page === 0 || this.#keys.has(pageKey(tenant, page - 1));
    return isReached ? undefined : `it needs ${pageKey(tenant, page - 1)}, which is missing`;
  }

  /** What only all objects of a shard together can show. */
  shards(): void {
    for (const shard of this.#slots.keys()) {
      if (!this.#owned.has(shard)) this.problems.push({ key: ownKey(shard), detail: "it is missing" });
    }
    for (const [shard, ownership] of this.#owned) {
      const { checkpoint } = ownership;
      if (checkpoint !== null) this.#require(manifestKey(shard, checkpoint.id));
      this.#sequence(shard, checkpoint?.seq ?? 0, ownership.epoch);
    }
  }

  #require(key: string): void {
    if (!this.#keys.has(key)) this.problems.push({ key, detail: "it is missing" });
  }

  #sequence(shard: number, checkpoint: number, epoch: number): void {
    const slots = this.#slots.get(shard) ?? new Map<number, number>();
    let last = checkpoint;
    for (const seq of slots.keys()) last = Math.max(last, seq);
    for (let seq = checkpoint + 1; seq <= last; seq++) {
      const written = slots.get(seq);
      if (written === undefined) this.#require(logKey(shard, seq));
      else if (written > epoch)
        this.problems.push({ key: logKey(shard, seq), detail: "its epoch is above that of the owner" });
    }
  }
}

function checkHandler(
  hash: string,
  file: string,
  body: Uint8Array,
  keys: ReadonlySet<string>,
): string | undefined {
  if (file === "original.wasm")
    return toHex(sha256(body)) === hash ? undefined : "its bytes are not what its name says";
  if (!keys.has(originalKey(hash))) return "its original is missing";
  return WebAssembly.validate(new Uint8Array(body)) ? undefined : "it is not a valid module";
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(body) ?? "");
  } catch {
    return undefined;
  }
}
