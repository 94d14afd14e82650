/** Members of a cluster on one store and one clock, in this process; their shards hold texts (`History`). */
import { NODE_PREFIX, nodeKey } from "../../src/cluster/format.ts";
import { type LeaseRecord, parseLease } from "../../src/cluster/lease.ts";
import type { ShardLog } from "../../src/cluster/log.ts";
import { Member, type MemberOptions, type Place } from "../../src/cluster/member.ts";
import { readOwnership } from "../../src/cluster/ownership.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Store } from "../../src/store/contract.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { type Hooks, intercept, SILENT, unclear } from "../store/intercept.ts";
import { TestClock } from "./clock.ts";
import { History, keysOf } from "./harness.ts";

export const TTL_MS = 10_000;
export const SHARDS = 8;
/** After a TTL, and looks at other nodes' leases before and behind it. */
export const TAKEOVER_MS = 1.2 * TTL_MS;

export class TestMember {
  readonly session: string;
  readonly member: Member;
  readonly open = new Map<number, { readonly log: ShardLog; readonly history: History }>();
  readonly stopped: string[] = [];
  readonly lost: Refusal[] = [];
  hooks: Hooks = {};
  #isCut = false;

  constructor(cluster: Cluster, session: string, options: Partial<MemberOptions> = {}) {
    this.session = session;
    let nonces = 0;
    this.member = new Member({
      store: intercept(cluster.store, {
        get: (key, next) => (this.#isCut ? later(SILENT) : (this.hooks.get?.(key, next) ?? next())),
        put: (key, next, ...more) =>
          this.#isCut ? unclear() : (this.hooks.put?.(key, next, ...more) ?? next()),
        delete: (key, next) => (this.#isCut ? later("unknown") : (this.hooks.delete?.(key, next) ?? next())),
        list: (prefix, next) => (this.#isCut ? later(SILENT) : (this.hooks.list?.(prefix, next) ?? next())),
      }),
      clock: cluster.clock,
      session,
      nonce: () => `${session}-${++nonces}`,
      breathe: async () => {},
      window: 1,
      url: `http://${session}`,
      authorities: [],
      process: session,
      isGone: () => false,
      shardCount: SHARDS,
      ttl_ms: TTL_MS,
      wallTime: () => "2026-01-01T00:00:00Z",
      records: () => new History(),
      opened: (shard, log, records) => this.open.set(shard, { log, history: records as History }),
      closed: (shard, why) => {
        if (!this.open.delete(shard)) this.stopped.push(why.detail);
      },
      lost: (why) => this.lost.push(why),
      ...options,
    });
  }

  /** From now on the store answers it nothing, or it does again. */
  cut(isCut = true): void {
    this.#isCut = isCut;
  }

  /** Refusal, as `start` says it. */
  start(): Promise<Refusal | undefined> {
    return this.member.start();
  }

  get shards(): number[] {
    return [...this.open.keys()].toSorted((a, b) => a - b);
  }

  /** Appends an entry to a shard that is open here. */
  async append(shard: number, entry: string): Promise<Refusal | undefined> {
    const { log, history } = this.open.get(shard) ?? {};
    if (log === undefined) throw new Error(`shard ${shard} is not open at ${this.session}`);
    history?.apply(entry);
    return log.append(entry);
  }

  /** The history of a shard that is open here. */
  async entries(shard: number): Promise<readonly string[]> {
    const { log, history } = this.open.get(shard) ?? {};
    if (log === undefined || history === undefined) throw new Error(`shard ${shard} is not open`);
    return history.entries((key) => log.record(key));
  }
}

async function later<T>(value: T): Promise<T> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  return value;
}

export class Cluster {
  readonly store: Store = memoryStore();
  readonly clock = new TestClock();
  readonly members: TestMember[] = [];

  add(session: string, options: Partial<MemberOptions> = {}): TestMember {
    const member = new TestMember(this, session, options);
    this.members.push(member);
    return member;
  }

  /** A new member, started. */
  async join(session: string, options: Partial<MemberOptions> = {}): Promise<TestMember> {
    const member = this.add(session, options);
    const failed = await member.start();
    if (failed !== undefined) throw new Error(failed.detail);
    await member.member.settled();
    return member;
  }

  pass(ms: number): Promise<void> {
    return this.clock.pass(ms);
  }

  /** Sessions at which each shard is open. */
  get leaders(): string[][] {
    return Array.from({ length: SHARDS }, (_, shard) =>
      this.members.filter(({ open }) => open.has(shard)).map(({ session }) => session),
    );
  }

  /** Who owns each shard, as the store has it. */
  async owners(): Promise<(string | null | undefined)[]> {
    const owners = Array.from({ length: SHARDS }, async (_, shard) => {
      const owned = await readOwnership(this.store, shard);
      if (isRefusal(owned)) throw new Error(owned.detail);
      return owned?.ownership.session;
    });
    return Promise.all(owners);
  }

  async sessions(): Promise<string[]> {
    const keys = await keysOf(this.store, NODE_PREFIX);
    return keys.map((key) => key.slice(NODE_PREFIX.length)).toSorted();
  }

  async lease(session: string): Promise<LeaseRecord | undefined> {
    const found = await this.store.get(nodeKey(session));
    return found === undefined || isRefusal(found) ? undefined : parseLease(found.body);
  }
}

/** The session where a call belongs, or the code of the refusal. */
export function placed(place: Place | Refusal): string {
  if (isRefusal(place)) return place.code;
  return place === "here" ? "here" : place.session;
}
