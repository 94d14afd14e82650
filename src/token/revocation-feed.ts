/**
 * A tenant's revocations in the store: pages, to which entries are only ever added.
 *
 * A page that is full never changes again; the last one grows under `If-Match`, and the next is created under
 * `If-None-Match`. So two writers never lose each other's entry, a place in the feed names one entry for ever, a
 * node starts by reading one object for every 512 revocations, and one that follows reads one object for each change.
 * One object for each revocation would need a list to find them and compaction to start from them.
 *
 * Each tenant has a feed of its own: what is damaged in one, or long, is no other tenant's affair.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import {
  CHANGE_ATTEMPTS_MAX,
  REVOCATIONS_PER_PAGE,
  REVOCATIONS_PER_TENANT_MAX,
  STORE_READS_AT_ONCE,
} from "../limits.ts";
import type { PutCondition, Store, StoredObject } from "../store/contract.ts";
import { settledPut } from "../store/settle.ts";
import { decodePage, encodePage, type Page, pageKey, type Revocation, RevocationSet } from "./revocation.ts";

/** Follows one feed. Readings come one after another: whoever holds it sees to that. */
export class RevocationFeed {
  readonly revoked = new RevocationSet();
  readonly #store: Store;
  readonly #tenant: string;
  /** The last page, as far as it was read; `undefined` where it was not there yet. */
  #last: { readonly etag: string; readonly page: Page } | undefined;
  #page = 0;

  constructor(store: Store, tenant: string) {
    this.#store = store;
    this.#tenant = tenant;
  }

  /** Takes in what was added since the last reading. What is known stays known, whatever the store says later. */
  async read(now_ms: number): Promise<Refusal | undefined> {
    this.revoked.forget(now_ms);
    for (let width = 1; ; width = Math.min(2 * width, STORE_READS_AT_ONCE)) {
      const keys = Array.from({ length: width }, (_, i) => pageKey(this.#tenant, this.#page + i));
      // In parallel, because a long feed must not delay a start; most end with their first page.
      for (const found of await Promise.all(keys.map((key) => this.#store.get(key)))) {
        if (isRefusal(found)) return found;
        const more = this.#take(found, now_ms);
        if (more !== true) return more;
      }
    }
  }

  /** How a further entry is to be written, after a reading. */
  next(entry: Revocation): { readonly page: Page; readonly condition: PutCondition } {
    const before = this.#last;
    const entries = [...(before?.page.entries ?? []), entry];
    return {
      page: { tenant: this.#tenant, page: this.#page, entries },
      condition: before === undefined ? { ifNoneMatch: "*" } : { ifMatch: before.etag },
    };
  }

  /** @returns whether there may be a further page, because this one is full */
  #take(found: StoredObject | undefined, now_ms: number): true | Refusal | undefined {
    const known = this.#last?.page.entries ?? [];
    if (found === undefined) return known.length === 0 ? undefined : this.#damaged("is missing");
    if (found.etag === this.#last?.etag) return undefined;
    const page = decodePage(found.body, this.#tenant, this.#page);
    if (typeof page === "string") return this.#damaged(page);
    // Somebody restored an old store: what was revoked since must not come back to life unnoticed.
    if (!continues(page.entries, known)) return this.#damaged("has lost entries that were in it before");
    for (const entry of page.entries.slice(known.length)) this.revoked.add(entry, now_ms);
    if (page.entries.length < REVOCATIONS_PER_PAGE) {
      this.#last = { etag: found.etag, page };
      return undefined;
    }
    this.#last = undefined;
    this.#page++;
    return true;
  }

  #damaged(why: string): Refusal {
    return refuse("store_unavailable", `the object ${pageKey(this.#tenant, this.#page)} ${why}`);
  }
}

function continues(entries: readonly Revocation[], known: readonly Revocation[]): boolean {
  return known.every(({ kind, value }, i) => entries[i]?.kind === kind && entries[i].value === value);
}

/**
 * Adds an entry, unless it is in force already: revoking twice is harmless.
 *
 * @returns whether it was added. Refusals: `store_unavailable`, `quota_exceeded`.
 */
export async function appendRevocation(
  store: Store,
  tenant: string,
  entry: Revocation,
  { now_ms, nonce }: { readonly now_ms: number; readonly nonce: () => string },
): Promise<boolean | Refusal> {
  const feed = new RevocationFeed(store, tenant);
  for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
    const unread = await feed.read(now_ms);
    if (unread !== undefined) return unread;
    if (feed.revoked.covers(entry)) return false;
    if (feed.revoked.size >= REVOCATIONS_PER_TENANT_MAX && !["kid", "tenant"].includes(entry.kind))
      return refuse(
        "quota_exceeded",
        `tenant ${tenant} has ${REVOCATIONS_PER_TENANT_MAX} revocations in force: rotate its key and revoke the old kid instead`,
      );
    const { page, condition } = feed.next(entry);
    const body = encodePage(page, nonce());
    const put = await settledPut(store, pageKey(tenant, page.page), body, condition);
    if (put.outcome === "won") return true;
    if (put.outcome === "unknown")
      return refuse(
        "store_unavailable",
        `whether it was revoked is not known: ${put.reason}; revoking again is harmless`,
      );
  }
  return refuse("store_unavailable", "it was not revoked: too many others revoke at the same moment");
}

/** Where an entry stands; it does not move. */
export interface Place {
  readonly page: number;
  readonly index: number;
}

/** Up to `limit` entries from a place on, and the place of the first one behind them. Refusal: `store_unavailable`. */
export async function listRevocations(
  store: Store,
  tenant: string,
  from: Place,
  limit: number,
): Promise<{ readonly entries: readonly (Revocation & Place)[]; readonly more: boolean } | Refusal> {
  const entries: (Revocation & Place)[] = [];
  for (let { page, index } = from; ; page++, index = 0) {
    const found = await store.get(pageKey(tenant, page));
    if (isRefusal(found)) return found;
    if (found === undefined) return { entries, more: false };
    const decoded = decodePage(found.body, tenant, page);
    if (typeof decoded === "string")
      return refuse("store_unavailable", `the object ${pageKey(tenant, page)} ${decoded}`);
    for (const [at, entry] of decoded.entries.entries()) {
      if (at < index) continue;
      if (entries.length === limit) return { entries, more: true };
      entries.push({ ...entry, page, index: at });
    }
  }
}
