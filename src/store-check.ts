/**
 * Is a store whole? Reads every object and says what is wrong, by key.
 *
 * Checked: checksums of log and checkpoints, that a shard's slots follow its checkpoint without a gap, each behind the
 * seal of its epoch and none of a newer epoch than its owner's, that a checkpoint has every page and record where it is
 * looked for, that handlers are the bytes their hash names, that policies find their handlers, that key rings open.
 * Nothing is written, so it may run beside a node; what that node deletes meanwhile is no problem.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { fromUtf8, toHex } from "./bytes.ts";
import { META_KEY } from "./cluster/format.ts";
import { parseLease } from "./cluster/lease.ts";
import { parseMeta } from "./cluster/meta.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { instrumentedKey, originalKey, type PublishedTenant } from "./publish.ts";
import type { Secret } from "./secret.ts";
import { checkShard, type StoreProblem } from "./shard-check.ts";
import type { Store } from "./store/contract.ts";
import { forEachObject, type Progress } from "./store-walk.ts";
import { openKeyring } from "./token/keyring.ts";

export interface StoreReport {
  readonly objects: number;
  readonly bytes: number;
  readonly problems: readonly StoreProblem[];
}

/** Refusal: `store_unavailable`. */
export async function checkStore(
  store: Store,
  master: Secret,
  progress: Progress,
): Promise<StoreReport | Refusal> {
  const keys = await store.list("");
  if (isRefusal(keys)) return keys;
  const check = new Check(new Set(keys), master);
  const byShard = Map.groupBy(keys.toSorted(), shardOfKey);
  const others = byShard.get(undefined) ?? [];
  let done = 0;
  let bytes = 0;
  /** Of a part of the work, which may be done again. */
  const partly: Progress = (partDone, _, partBytes) =>
    progress(Math.min(done + partDone, keys.length), keys.length, bytes + partBytes);
  const failed = await forEachObject(store, others, partly, (key, body) => {
    bytes += body.length;
    check.object(key, body);
  });
  if (failed !== undefined) return failed;
  const problems = [...check.problems];
  return failed ?? { objects: keys.length, bytes, problems };
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
