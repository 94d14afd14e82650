/**
 * Keeps a node's tenants up with the store: what is published, rotated or revoked is in force within 2 s.
 *
 * A node looks at `changes` once a second and reads the tenants that it names; every 30 s it reads all, should a
 * writer have died before it said what it had changed. No tenant waits for another. A tenant is replaced whole, or its
 * last good version stays; but what it has revoked must be known: a node that cannot have learned of a revocation
 * for 30 s refuses the calls that it might concern (law 1).
 */
import { CHANGES_KEY, changedSince, parseChanges } from "./changes.ts";
import { isRefusal, type Refusal, refuse } from "./errors.ts";
import { CHANGES_POLL_MS, FULL_PASS_MS, STALENESS_MS_MAX, STORE_READS_AT_ONCE } from "./limits.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Store } from "./store/contract.ts";
import type { Tenant, TenantDirectory } from "./tenants.ts";

export interface FollowerOptions {
  readonly store: Store;
  readonly directory: TenantDirectory;
  /** The same that the directory asks. */
  readonly quarantine: Quarantine;
  /** Monotonic. */
  readonly now_ms: () => number;
  /** ms since the epoch: which revocations have long expired. */
  readonly wall_ms: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** What could not be read: once when it begins, not at every look. */
  readonly problem: (detail: string) => void;
}

/** How far one tenant has been read. */
interface Followed {
  /** Set while a change of its revocations may be unread: they are known as of this moment. */
  knownAsOf_ms: number | undefined;
  reading: Promise<void> | undefined;
  /** Something changed since the reading under way began. */
  again: boolean;
  /** Why the last reading failed. */
  problem: string | undefined;
}

export class Follower {
  readonly #options: FollowerOptions;
  readonly #directory: TenantDirectory;
  readonly #followed = new Map<string, Followed>();
  /** Changes up to this one were noticed. */
  #count = 0;
  #etag: string | undefined;
  /** Nothing that changed before this moment went unnoticed. */
  #lookedAt_ms = -Infinity;
  #passedAt_ms = -Infinity;
  #passing: Promise<void> | undefined;
  #problem: string | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#directory = options.directory;
  }

  /** The tenants served now. */
  get names(): readonly string[] {
    return this.#directory.names;
  }

  /** How long ago this node last knew of every change. */
  get age_ms(): number {
    return this.#options.now_ms() - this.#lookedAt_ms;
  }

  /** The same of one tenant. */
  ageOf_ms(name: string): number {
    return this.#options.now_ms() - this.#asOf_ms(name);
  }

  #asOf_ms(name: string): number {
    return Math.min(this.#followed.get(name)?.knownAsOf_ms ?? Infinity, this.#lookedAt_ms);
  }

  /** Refusals: `no_such_tenant`; `store_unavailable` where it is not known what the tenant has revoked. */
  tenant(name: string): Tenant | Refusal {
    const tenant = this.#directory.get(name);
    if (tenant === undefined) return refuse("no_such_tenant", `there is no tenant ${name}`);
    return this.#refuseStale(this.#asOf_ms(name)) ?? tenant;
  }

  /** `store_unavailable` where the node has not learned for too long what changed. */
  stale(): Refusal | undefined {
    return this.#refuseStale(this.#lookedAt_ms);
  }

  #refuseStale(asOf_ms: number): Refusal | undefined {
    if (this.#options.now_ms() - asOf_ms <= STALENESS_MS_MAX) return undefined;
    return refuse(
      "store_unavailable",
      `this node could not learn for ${STALENESS_MS_MAX / 1000} s what was revoked, so it refuses until it can`,
    );
  }

  /** Reads everything for the first time. @returns what could not be read. */
  async start(): Promise<readonly string[]> {
    await this.look();
    await this.pass();
    const problems = [this.#problem, ...[...this.#followed.values()].map(({ problem }) => problem)];
    return problems.filter((problem) => problem !== undefined);
  }

  /** Looks once a second until it is told to end. A bug in one look must not end the following. */
  async run(ended: () => boolean): Promise<void> {
    for (;;) {
      await this.#options.sleep(CHANGES_POLL_MS);
      if (ended()) return;
      await this.look().catch((error: unknown) => this.#failed(String(error)));
      // Beside the looks: reading all may take longer than a change may stay unnoticed.
      if (this.#options.now_ms() - this.#passedAt_ms >= FULL_PASS_MS) void this.pass();
    }
  }

  /** One look: one read, and then the tenants that changed, for which it does not wait. */
  async look(): Promise<void> {
    const sent_ms = this.#options.now_ms();
    const found = await this.#options.store.get(CHANGES_KEY);
    if (isRefusal(found)) return this.#failed(found.detail);
    if (found?.etag !== this.#etag) {
      const changes = found && parseChanges(found.body);
      if (found !== undefined && changes === undefined)
        return this.#failed(`the object ${CHANGES_KEY} is damaged; the next publication replaces it`);
      const unread = await this.#readQuarantine();
      if (unread !== undefined) return this.#failed(unread.detail);
      const changed = changes && changedSince(this.#count, changes);
      if (changed === undefined) this.#missed();
      else for (const name of changed) if (this.#directory.serves(name)) this.#changed(name);
      this.#count = changes?.count ?? 0;
      this.#etag = found?.etag;
    }
    for (const [name, { problem }] of this.#followed) if (problem !== undefined) void this.#bring(name);
    this.#lookedAt_ms = sent_ms;
    this.#problem = undefined;
  }

  /** Reads every tenant anew, a few at a time; what changes meanwhile is read beside it. Never rejects. */
  pass(): Promise<void> {
    this.#passing ??= this.#passOnce()
      .catch((error: unknown) => this.#failed(String(error)))
      .finally(() => {
        this.#passing = undefined;
      });
    return this.#passing;
  }

  /** When everything that is being read has been read. */
  async settled(): Promise<void> {
    await this.#passing;
    for (const { reading } of this.#followed.values()) await reading;
  }

  async #passOnce(): Promise<void> {
    this.#passedAt_ms = this.#options.now_ms();
    // First of all: what is in quarantine must not run, not once.
    const unread = await this.#readQuarantine();
    if (unread !== undefined) return this.#failed(unread.detail);
    const published = await this.#directory.published();
    if (isRefusal(published)) return this.#failed(published.detail);
    const names = published.values();
    const reader = async (): Promise<void> => {
      for (const name of names) await this.#bring(name);
    };
    await Promise.all(Array.from({ length: STORE_READS_AT_ONCE }, reader));
  }

  #readQuarantine(): Promise<Refusal | undefined> {
    return this.#options.quarantine.read(this.#options.store);
  }

  /** It cannot be told which tenants changed: it may be any, and new ones. The next pass reads them. */
  #missed(): void {
    for (const followed of this.#followed.values()) {
      followed.knownAsOf_ms ??= this.#lookedAt_ms;
      followed.again = true;
    }
    this.#passedAt_ms = -Infinity;
  }

  #changed(name: string): void {
    this.#follow(name).knownAsOf_ms ??= this.#lookedAt_ms;
    void this.#bring(name);
  }

  #follow(name: string): Followed {
    const known = this.#followed.get(name);
    if (known !== undefined) return known;
    const followed: Followed = {
      knownAsOf_ms: -Infinity,
      reading: undefined,
      again: false,
      problem: undefined,
    };
    this.#followed.set(name, followed);
    return followed;
  }

  /** Readings of one tenant follow each other, so that an older one never replaces a newer. Never rejects. */
  #bring(name: string): Promise<void> {
    const followed = this.#follow(name);
    followed.again = true;
    followed.reading ??= this.#read(name, followed);
    return followed.reading;
  }

  async #read(name: string, followed: Followed): Promise<void> {
    while (followed.again) {
      followed.again = false;
      const asOf_ms = this.#lookedAt_ms;
      const unread = await this.#attempt(() =>
        this.#directory.readRevocations(name, this.#options.wall_ms()),
      );
      if (unread !== undefined) followed.knownAsOf_ms ??= asOf_ms;
      else if (!followed.again) followed.knownAsOf_ms = undefined;
      // In this order, so that no tenant is served before its revocations were asked for.
      const unchanged = await this.#attempt(() => this.#directory.read(name));
      const problem = unread ?? unchanged;
      if (problem !== undefined && problem !== followed.problem) this.#options.problem(problem);
      followed.problem = problem;
    }
    // In the same step as the last look at `again`: whoever asks later starts a new reading.
    followed.reading = undefined;
  }

  /** @returns why it failed, be it a bug: what is damaged in the store stops its own tenant only. */
  async #attempt(read: () => Promise<Refusal | undefined>): Promise<string | undefined> {
    try {
      return (await read())?.detail;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #failed(detail: string): void {
    if (detail !== this.#problem) this.#options.problem(detail);
    this.#problem = detail;
  }
}
