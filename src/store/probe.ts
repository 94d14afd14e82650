/**
 * Whether a store keeps its promises, found out by writing to it: many "S3-compatible" servers ignore conditions.
 *
 * A node must not trust a store that lets two writers win, because its log would fork without a trace (law 6). So
 * before a store is used, every condition is tried once with an answer that must be yes and once with no, and then by
 * racers, all below a random key of `probe/`. What the probe cannot show: a server whose race is lost rarely.
 */
import { toHex, utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PROBE_RACERS, PROBE_ROUNDS } from "../limits.ts";
import type { PutCondition, Store } from "./contract.ts";
import { type Settled, settledPut } from "./settle.ts";

const ABSENT = { ifNoneMatch: "*" } as const satisfies PutCondition;

/** @returns why the store must not be used: `store_unavailable`, with the promise that it broke. */
export async function probeStore(
  store: Store,
  random: (length: number) => Uint8Array,
): Promise<Refusal | undefined> {
  const probe = new Probe(store, random);
  const problem =
    (await probe.conditions()) ?? (await probe.racingCreations()) ?? (await probe.racingUpdates());
  await probe.cleanUp();
  return problem;
}

class Probe {
  readonly #store: Store;
  readonly #random: (length: number) => Uint8Array;
  readonly #prefix: string;
  readonly #keys: string[] = [];

  constructor(store: Store, random: (length: number) => Uint8Array) {
    this.#store = store;
    this.#random = random;
    this.#prefix = `probe/${toHex(random(16))}/`;
  }

  /** One writer: what must pass passes, what must not does not, and what was written is there. */
  async conditions(): Promise<Refusal | undefined> {
    const [key, absent, first, second] = [this.#key(), this.#key(), this.#body(), this.#body()];
    // A store that cannot be reached is told at once by a read; a put would be patient.
    const before = await this.#store.get(key);
    if (isRefusal(before)) return refuse("store_unavailable", `the store cannot be probed: ${before.detail}`);
    const created = await this.#put(key, first, ABSENT);
    if (created.outcome !== "won") return refused(created, "it refuses to create a key that is absent");
    const found = await this.#holds(key, first, created.etag);
    if (found !== undefined) return found;
    const again = await this.#put(key, this.#body(), ABSENT);
    if (again.outcome !== "lost") return refused(again, "it ignores If-None-Match");

    const updated = await this.#put(key, second, { ifMatch: created.etag });
    if (updated.outcome !== "won") return refused(updated, "it refuses an If-Match that matches");
    const stale = await this.#put(key, this.#body(), { ifMatch: created.etag });
    if (stale.outcome !== "lost") return refused(stale, "it ignores If-Match");
    const nothing = await this.#put(absent, this.#body(), { ifMatch: updated.etag });
    if (nothing.outcome !== "lost") return refused(nothing, "it ignores If-Match where the key is absent");
    return (await this.#holds(key, second, updated.etag)) ?? (await this.#lists(key, absent));
  }

  async racingCreations(): Promise<Refusal | undefined> {
    for (let round = 0; round < PROBE_ROUNDS; round++) {
      const problem = await this.#race(this.#key(), ABSENT, "If-None-Match");
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  async racingUpdates(): Promise<Refusal | undefined> {
    for (let round = 0; round < PROBE_ROUNDS; round++) {
      const key = this.#key();
      const created = await this.#put(key, this.#body(), ABSENT);
      if (created.outcome !== "won") return refused(created, "it refuses to create a key that is absent");
      const problem = await this.#race(key, { ifMatch: created.etag }, "If-Match");
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** What could not be deleted is a few bytes under a key that nobody will name again. */
  async cleanUp(): Promise<void> {
    await Promise.all(this.#keys.map((key) => this.#store.delete(key)));
  }

  async #race(key: string, condition: PutCondition, header: string): Promise<Refusal | undefined> {
    const bodies = Array.from({ length: PROBE_RACERS }, () => this.#body());
    const puts = await Promise.all(bodies.map((body) => this.#put(key, body, condition)));
    const unclear = puts.find(({ outcome }) => outcome === "unknown");
    if (unclear !== undefined) return refused(unclear, "");
    const [winner, another] = puts.flatMap((put, i) =>
      put.outcome === "won" ? [{ etag: put.etag, body: bodies[i] ?? new Uint8Array() }] : [],
    );
    if (winner === undefined) return unfit(`of ${PROBE_RACERS} who race with ${header}, nobody wins`);
    if (another !== undefined) return unfit(`of ${PROBE_RACERS} who race with ${header}, several win`);
    return this.#holds(key, winner.body, winner.etag);
  }

  async #holds(key: string, body: Uint8Array, etag: string): Promise<Refusal | undefined> {
    const found = await this.#store.get(key);
    if (isRefusal(found)) return found;
    if (found === undefined || toHex(found.body) !== toHex(body))
      return unfit("a read does not find what was written");
    return found.etag === etag ? undefined : unfit("a read shows another ETag than the write did");
  }

  /** Recovery tells a lost slot from a free one by the list. */
  async #lists(present: string, absent: string): Promise<Refusal | undefined> {
    const keys = await this.#store.list(this.#prefix);
    if (isRefusal(keys)) return keys;
    const right = keys.includes(present) && !keys.includes(absent);
    return right ? undefined : unfit("a list does not show what was written");
  }

  #key(): string {
    const key = `${this.#prefix}${this.#keys.length}`;
    this.#keys.push(key);
    return key;
  }

  #body(): Uint8Array {
    return utf8(toHex(this.#random(16)));
  }

  #put(key: string, body: Uint8Array, condition: PutCondition): Promise<Settled> {
    return settledPut(this.#store, key, body, condition);
  }
}

function refused(settled: Settled, broken: string): Refusal {
  return settled.outcome === "unknown"
    ? refuse("store_unavailable", `the store cannot be probed: ${settled.reason}`)
    : unfit(broken);
}

function unfit(broken: string): Refusal {
  return refuse("store_unavailable", `the store cannot be used, because ${broken}`);
}
