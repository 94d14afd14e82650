/**
 * The monitors of one actor that have left their start, by the root of the tokens that they belong to.
 *
 * Whoever holds a token can attenuate new monitors into being. So each root, which only the tenant can mint, has its
 * share: who has used it up is refused, and nobody else is. A monitor counts until its caveat can no longer pass, and
 * leaves memory soon after.
 */
import { type Refusal, type RefusalFacts, refuse } from "../errors.ts";
import { CLOCK_SKEW_S_MAX, MONITORS_PER_ACTOR_MAX, MONITORS_PER_ROOT_MAX } from "../limits.ts";
import type { MonitorRecord } from "./entry.ts";

export interface MonitorState {
  readonly state: number;
  /** ms since the epoch; `null` where no caveat before it expires. */
  readonly until_ms: number | null;
  /** Digest of the token that moved it last. */
  readonly by: string;
}

/** Past this many, those that are over are looked for whenever there are twice as many as are not. */
const FORGET_SIZE_MIN = 16;

export class Monitors {
  readonly #roots = new Map<string, Map<string, MonitorState>>();
  #size = 0;
  #forgetSize = FORGET_SIZE_MIN;

  get size(): number {
    return this.#size;
  }

  get(root: string, id: string): MonitorState | undefined {
    return this.#roots.get(root)?.get(id);
  }

  /** One that has come back to its start is like one never seen. */
  set(root: string, id: string, monitor: MonitorState): void {
    const own = this.#roots.get(root) ?? new Map<string, MonitorState>();
    const before = own.size;
    if (monitor.state === 0) own.delete(id);
    else own.set(id, monitor);
    this.#size += own.size - before;
    if (own.size > 0) this.#roots.set(root, own);
    else this.#roots.delete(root);
  }

  /** Those of a root, or of all roots, that are not over. */
  left(root: string | undefined, now_ms: number): readonly MonitorState[] {
    const all = root === undefined ? this.#all() : (this.#roots.get(root)?.values() ?? []);
    return [...all].filter(({ until_ms }) => !isOver(until_ms, now_ms));
  }

  /** Those of a root, some of which may be over. */
  sizeOf(root: string): number {
    return this.#roots.get(root)?.size ?? 0;
  }

  /** Lets go of those that are over, now and then. */
  forget(now_ms: number): void {
    if (this.#size < this.#forgetSize) return;
    for (const [root, own] of this.#roots) {
      for (const [id, { until_ms }] of own) if (isOver(until_ms, now_ms) && own.delete(id)) this.#size--;
      if (own.size === 0) this.#roots.delete(root);
    }
    this.#forgetSize = Math.max(FORGET_SIZE_MIN, 2 * this.#size);
  }

  /** By root. */
  [Symbol.iterator](): Iterator<[root: string, monitors: ReadonlyMap<string, MonitorState>]> {
    return this.#roots[Symbol.iterator]();
  }

  *#all(): Iterable<MonitorState> {
    for (const own of this.#roots.values()) yield* own.values();
  }
}

const SKEW_MS = CLOCK_SKEW_S_MAX * 1000;

/** No token passes the monitor's caveat any more, also on a node whose clock is behind. */
export function isOver(until_ms: number | null, now_ms: number): boolean {
  return until_ms !== null && until_ms + SKEW_MS <= now_ms;
}

/**
 * Why a root may not have these monitors as well, where it may not: its share of the actor is used up, or the actor's
 * room is.
 */
export function crowded(
  monitors: Monitors,
  root: string,
  records: readonly MonitorRecord[],
  now_ms: number,
): Refusal | undefined {
  const added = records.filter(([id, state]) => state !== 0 && monitors.get(root, id) === undefined).length;
  if (added === 0) return undefined;
  const full = (size: number, max: number, of: string | undefined, detail: string): Refusal | undefined => {
    if (size + added <= max) return undefined;
    const left = monitors.left(of, now_ms);
    return left.length + added <= max ? undefined : refuse("quota_exceeded", detail, room(left, now_ms));
  };
  return (
    full(
      monitors.sizeOf(root),
      MONITORS_PER_ROOT_MAX,
      root,
      `this token and all that share its root have ${MONITORS_PER_ROOT_MAX} protocols in progress on this actor, ` +
        "and may have no more: use one that has begun, or wait until some of their tokens have expired",
    ) ??
    full(
      monitors.size,
      MONITORS_PER_ACTOR_MAX,
      undefined,
      `the actor has ${MONITORS_PER_ACTOR_MAX} protocols in progress, of all tokens together, and may have no more`,
    )
  );
}

/** When one of them will be over, where it is known. */
function room(monitors: readonly MonitorState[], now_ms: number): RefusalFacts {
  let first_ms = Infinity;
  for (const { until_ms } of monitors) first_ms = Math.min(first_ms, until_ms ?? Infinity);
  return first_ms === Infinity ? {} : { retry_after_ms: first_ms + SKEW_MS - now_ms };
}
