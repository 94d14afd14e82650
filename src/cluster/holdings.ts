/**
 * The shards that this node owns: taking one, and giving one up.
 *
 * Taking and giving up are single-flight for each shard. A shard that cannot be opened stops alone: the others serve,
 * and it is tried again after a while.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { SHARD_RETRY_MS } from "../limits.ts";
import { type LogOptions, openLog, type ShardLog } from "./log.ts";
import type { Owner } from "./owners.ts";
import { type Owned, readOwnership } from "./ownership.ts";
import type { Records } from "./records.ts";

export interface HoldingsOptions extends Omit<LogOptions, "shard" | "onStepDown" | "onCheckpointFailed"> {
  /** A fresh history for a shard that is about to be recovered. */
  readonly records: (shard: number) => Records;
  /** The shard is mine and recovered. */
  readonly opened: (shard: number, log: ShardLog, records: Records) => void;
  /** It is mine no longer, or could not be opened. */
  readonly closed: (shard: number, why: Refusal) => void;
  /** It goes on without a checkpoint, and its log grows. */
  readonly checkpointFailed?: (shard: number, why: Refusal) => void;
  /** What `own/{shard}` says. */
  readonly tell: (shard: number, owner: Owner) => void;
}

export class Holdings {
  readonly #options: HoldingsOptions;
  readonly #mine = new Map<number, ShardLog>();
  readonly #busy = new Map<number, Promise<undefined>>();
  readonly #failed = new Map<number, { readonly why: Refusal; readonly until_ms: number }>();

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  get(shard: number): ShardLog | undefined {
    return this.#mine.get(shard);
  }

  get shards(): ReadonlyMap<number, ShardLog> {
    return this.#mine;
  }

  /** While the shard is being taken or handed over: resolves when that is done. */
  busy(shard: number): Promise<undefined> | undefined {
    return this.#busy.get(shard);
  }

  /** Why the shard could not be opened, until it is tried again. */
  failure(shard: number): Refusal | undefined {
    const failed = this.#failed.get(shard);
    return failed !== undefined && this.#options.clock.now_ms() < failed.until_ms ? failed.why : undefined;
  }

  /** Reads who owns the shard. Refusal: `store_unavailable`. */
  async look(shard: number): Promise<Owned | undefined | Refusal> {
    const found = await readOwnership(this.#options.store, shard);
    if (found !== undefined && !isRefusal(found)) this.#options.tell(shard, found.ownership);
    return found;
  }

  /**
   * Takes the shard unless somebody who lives owns it.
   * @param isFree asks whether the owner that is on record may be deposed
   * @returns nothing where it is mine now or somebody else's; a refusal where it cannot be opened
   */
  take(shard: number, isFree: (session: string) => Promise<boolean | Refusal>): Promise<Refusal | undefined> {
    return this.#exclusively(shard, async () => {
      if (this.#mine.has(shard)) return undefined;
      // Told again, not begun again: who asks often must not put the next try off.
      const failed = this.failure(shard);
      if (failed !== undefined) return failed;
      const refusal = await this.#take(shard, isFree);
      if (refusal?.code !== "store_unavailable") return refusal;
      this.#fail(shard, refusal);
      this.#options.closed(shard, refusal);
      return refusal;
    });
  }

  /** Gives the shard up, once all that was taken is durable. */
  handOver(shard: number): Promise<Refusal | undefined> {
    return this.#exclusively(shard, async () => {
      const log = this.#mine.get(shard);
      if (log === undefined) return undefined;
      const failed = await log.handOver();
      if (failed === undefined) this.#options.tell(shard, { session: null, epoch: log.epoch });
      if (log.ended !== undefined) this.#close(shard, log.ended);
      return failed;
    });
  }

  async #take(
    shard: number,
    isFree: (session: string) => Promise<boolean | Refusal>,
  ): Promise<Refusal | undefined> {
    const found = await this.look(shard);
    if (isRefusal(found)) return found;
    const owner = found?.ownership.session ?? null;
    const free = owner === null || owner === this.#options.session || (await isFree(owner));
    if (free !== true) return free === false ? undefined : free;
    return this.#open(shard, found);
  }

  async #open(shard: number, found: Owned | undefined): Promise<Refusal | undefined> {
    const { records: fresh, opened, checkpointFailed } = this.#options;
    const records = fresh(shard);
    const onStepDown = (why: Refusal): void => this.#close(shard, why);
    const onCheckpointFailed = (why: Refusal): void => checkpointFailed?.(shard, why);
    const options = { ...this.#options, shard, onStepDown, onCheckpointFailed };
    // A bug in reading one shard's history must not end the others.
    const log = await openLog(options, found, records).catch((error: unknown) => brokenBy(shard, error));
    if (isRefusal(log)) {
      // Somebody else was faster: that is no failure.
      return log.code === "not_leader" ? void (await this.look(shard)) : log;
    }
    if (log.ended !== undefined) return log.ended;
    this.#mine.set(shard, log);
    this.#options.tell(shard, { session: this.#options.session, epoch: log.epoch });
    opened(shard, log, records);
    return undefined;
  }

  #close(shard: number, why: Refusal): void {
    if (!this.#mine.delete(shard)) return;
    // To open it again at once would lead to the same place.
    if (why.facts.damaged !== undefined) this.#fail(shard, why);
    this.#options.closed(shard, why);
  }

  #fail(shard: number, why: Refusal): void {
    this.#failed.set(shard, { why, until_ms: this.#options.clock.now_ms() + SHARD_RETRY_MS });
  }

  /** One after the other for each shard. */
  async #exclusively(shard: number, work: () => Promise<Refusal | undefined>): Promise<Refusal | undefined> {
    for (let busy = this.#busy.get(shard); busy !== undefined; busy = this.#busy.get(shard)) await busy;
    const working = work().finally(() => this.#busy.delete(shard));
    this.#busy.set(
      shard,
      working.then(() => undefined),
    );
    return working;
  }
}

/** Named, but not quoted: the message of an exception may hold data. */
function brokenBy(shard: number, error: unknown): Refusal {
  const name = error instanceof Error ? error.name : "an exception";
  return refuse("store_unavailable", `opening shard ${shard} ended with ${name}`);
}
