/**
 * Is a store whole? Reads every object and says what is wrong, by key.
 *
 * Checked: checksums of log and checkpoints, that a shard's slots follow its checkpoint without a gap, each behind the
 * seal of its epoch and none of a newer epoch than its owner's, that a checkpoint has every page and record where it is
 * looked for, that handlers are the bytes their hash names, that policies find their handlers, that key rings open, that
 * no page of a revocation feed is missing or damaged. Nothing is written, so it may run beside a node; what that node deletes meanwhile is no problem.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { fromUtf8, toHex } from "./bytes.ts";
import { CHANGES_KEY, parseChanges } from "./changes.ts";
import { META_KEY } from "./cluster/format.ts";
import { parseLease } from "./cluster/lease.ts";
import { parseMeta } from "./cluster/meta.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { REVOCATIONS_PER_PAGE } from "./limits.ts";
import { instrumentedKey, originalKey, type PublishedTenant } from "./publish.ts";
import type { Secret } from "./secret.ts";
import { checkShard, type StoreProblem } from "./shard-check.ts";
import type { Store } from "./store/contract.ts";
import { forEachObject, type Progress } from "./store-walk.ts";
import { openKeyring } from "./token/keyring.ts";
import { decodePage, pageKey } from "./token/revocation.ts";

const META_NAME = META_KEY.split("/")[1];

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
  const byShard = Map.groupBy(keys.toSorted(), shardNamedBy);
  const others = byShard.get(undefined) ?? [];
  let done = 0;
  let bytes = 0;
  let partBytes = 0;
  /** Of one part of the work after the other; a shard may be read again. */
  const partly: Progress = (partDone, _, read) => {
    partBytes = read;
    progress(Math.min(done + partDone, keys.length), keys.length, bytes + read);
  };
  const check = new Check(new Set(keys), master);
  const failed = await forEachObject(store, others, partly, (key, body) => check.object(key, body));
  if (failed !== undefined) return failed;
  const problems = [...check.problems];
  for (const [shard, some] of byShard) {
    done += shard === undefined ? others.length : 0;
    bytes += partBytes;
    partBytes = 0;
    if (shard === undefined) continue;
    const found = await checkShard(store, shard, partly);
    if (isRefusal(found)) return found;
    problems.push(...found);
    done += some.length;
  }
  return { objects: keys.length, bytes: bytes + partBytes, problems };
}

/** The shard whose objects a key belongs to, if it is one of them. */
function shardNamedBy(key: string): number | undefined {
  const [, name] = /^(?:own|log|ckpt)\/(\d{3,})(?:\/|$)/.exec(key) ?? [];
  return name === undefined ? undefined : Number(name);
}

/** Objects that stand for themselves. */
class Check {
  readonly problems: StoreProblem[] = [];
  readonly #keys: ReadonlySet<string>;
  readonly #master: Secret;

  constructor(keys: ReadonlySet<string>, master: Secret) {
    this.#keys = keys;
    this.#master = master;
  }

  object(key: string, body: Uint8Array): void {
    const [kind = "", ...names] = key.split("/");
    const problem = this.#inspect(kind, names, body);
    if (problem !== undefined) this.problems.push({ key, detail: problem });
  }

  #inspect(kind: string, names: readonly string[], body: Uint8Array): string | undefined {
    const [name = "", part = ""] = names;
    switch (kind) {
      case "meta":
        return name === META_NAME && parseMeta(body) ? undefined : "it is of another version";
      case "node":
        return parseLease(body) ? undefined : "it is no lease of this version";
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
