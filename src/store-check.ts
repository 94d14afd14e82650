/**
 * Is a store whole? Reads every object and says what is wrong, by key.
 *
 * Checked: that every object is the one that was written (checksums, hashes, seals of key rings), and that each finds
 * what it needs: a policy its handlers and keys, a tenant that has changed its policy, a page of revocations the one
 * before it, a shard's slots and pages each other (`shard-check.ts`). Nothing is written, so it may run beside a node;
 * what that node deletes meanwhile is no problem.
 */
import { CHANGES_KEY, type Changes, parseChanges } from "./changes.ts";
import { META_KEY } from "./cluster/format.ts";
import { parseLease } from "./cluster/lease.ts";
import { parseMeta } from "./cluster/meta.ts";
import { isRefusal, type Refusal } from "./errors.ts";
import { REVOCATIONS_PER_PAGE } from "./limits.ts";
import { hashOf, moduleKey, type PublishedTenant, parsePublished, policyKey } from "./publish.ts";
import { parseQuarantine, QUARANTINE_KEY } from "./quarantine.ts";
import type { Secret } from "./secret.ts";
import { checkShard, type StoreProblem } from "./shard-check.ts";
import type { Store } from "./store/contract.ts";
import { forEachObject, type Progress } from "./store-walk.ts";
import { keyringKey, openTenantKeys } from "./token/keyring.ts";
import { decodePage, pageKey } from "./token/revocation.ts";

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
  byShard.delete(undefined);
  let done = 0;
  let bytes = 0;
  let partBytes = 0;
  /** Of one part of the work after the other; a shard may be read again. */
  const partly: Progress = (partDone, _, read) => {
    partBytes = read;
    progress(Math.min(done + partDone, keys.length), keys.length, bytes + read);
  };
  const check = new Check(new Set(keys), master, byShard.size > 0);
  const failed = await forEachObject(store, others, partly, (key, body) => check.object(key, body));
  if (failed !== undefined) return failed;
  const problems = check.end();
  for (const [shard, some] of [[undefined, others] as const, ...byShard]) {
    if (shard !== undefined) {
      const found = await checkShard(store, shard, partly);
      if (isRefusal(found)) return found;
      problems.push(...found);
    }
    done += some.length;
    bytes += partBytes;
    partBytes = 0;
  }
  progress(keys.length, keys.length, bytes);
  return { objects: keys.length, bytes, problems };
}

/** The shard whose objects a key belongs to, if it is one of them. */
function shardNamedBy(key: string): number | undefined {
  const [, name] = /^(?:own|log|ckpt)\/(\d{3,})(?:\/|$)/.exec(key) ?? [];
  return name === undefined ? undefined : Number(name);
}

const MISSING = "it is missing";
const DAMAGED = "it is damaged or of another version";

/** Everything but the shards. */
class Check {
  readonly #problems: StoreProblem[] = [];
  readonly #keys: ReadonlySet<string>;
  readonly #master: Secret;
  /** Whether there are shards, for which what all nodes agree on must be there. */
  readonly #isServed: boolean;
  /** Objects that others need, and that are not there. */
  readonly #missing = new Map<string, string>();

  constructor(keys: ReadonlySet<string>, master: Secret, isServed: boolean) {
    this.#keys = keys;
    this.#master = master;
    this.#isServed = isServed;
  }

  object(key: string, body: Uint8Array): void {
    const [kind = "", ...names] = key.split("/");
    const problem = this.#inspect(key, kind, names, body);
    if (problem !== undefined) this.#problems.push({ key, detail: problem });
  }

  /** What was found, once every object was looked at. */
  end(): StoreProblem[] {
    if (this.#isServed) this.#need(META_KEY, "the shards");
    const missing = [...this.#missing].map(([key, by]) => ({ key, detail: `${MISSING}: ${by} need it` }));
    return [...this.#problems, ...missing];
  }

  #need(key: string, by: string): void {
    if (!this.#keys.has(key)) this.#missing.set(key, by);
  }

  #inspect(key: string, kind: string, names: readonly string[], body: Uint8Array): string | undefined {
    const [name = "", part = ""] = names;
    switch (kind) {
      case "meta":
        return key === META_KEY && parseMeta(body) ? undefined : DAMAGED;
      case "node":
        return parseLease(body) ? undefined : DAMAGED;
      case "keys":
        return openTenantKeys(body, name, this.#master)
          ? undefined
          : "it is damaged, or does not open with this master key";
      case "policy":
        return this.#policy(name, parsePublished(body));
      case "revoked":
        return this.#page(name, part, body);
      case "handler":
        return key === moduleKey(hashOf(body)) ? undefined : "its bytes are not what its name says";
      case CHANGES_KEY:
        return this.#changes(parseChanges(body));
      case QUARANTINE_KEY:
        return parseQuarantine(body) ? undefined : DAMAGED;
      case "probe":
        return undefined;
      default:
        return "it is no object of this version";
    }
  }

  #policy(tenant: string, document: PublishedTenant | undefined): string | undefined {
    if (document === undefined) return DAMAGED;
    if (document.policy.tenant !== tenant) return `it is the policy of ${document.policy.tenant}`;
    this.#need(keyringKey(tenant), `tokens of ${tenant}`);
    for (const { original, instrumented } of Object.values(document.handlers))
      for (const hash of [original, instrumented]) this.#need(moduleKey(hash), `handlers of ${tenant}`);
    return undefined;
  }

  /** A tenant that has changed was published before. */
  #changes(changes: Changes | undefined): string | undefined {
    for (const tenant of changes?.recent ?? []) this.#need(policyKey(tenant), `nodes that serve ${tenant}`);
    return changes === undefined ? DAMAGED : undefined;
  }

  #page(tenant: string, name: string, body: Uint8Array): string | undefined {
    const page = Number(name);
    const decoded = decodePage(body, tenant, page);
    // Readers end at the first page that is not there or not full.
    if (page > 0) this.#need(pageKey(tenant, page - 1), `the pages behind it`);
    if (typeof decoded === "string") return `it ${decoded}`;
    const isLast = !this.#keys.has(pageKey(tenant, page + 1));
    return !isLast && decoded.entries.length < REVOCATIONS_PER_PAGE
      ? "it is not full, but another follows"
      : undefined;
  }
}
