/**
 * What one actor keeps for caveats, by the root of the tokens that they belong to: monitors and counts.
 *
 * Whoever holds a token can attenuate new caveats into being. So each root, which only the tenant can mint, has its
 * share: who has used it up is refused, and nobody else is. A state counts until its caveat can no longer pass, and
 * leaves memory soon after.
 */
import { type Refusal, type RefusalFacts, refuse } from "../errors.ts";
import { CLOCK_SKEW_S_MAX } from "../limits.ts";

export interface Passing {
  /** ms since the epoch; `null` where no caveat before it expires. */
  readonly until_ms: number | null;
}

/** Past this many, those that are over are looked for whenever there are twice as many as are not. */
const FORGET_SIZE_MIN = 16;

export class PerRoot<S extends Passing> {
  readonly #roots = new Map<string, Map<string, S>>();
  #size = 0;
  #forgetSize = FORGET_SIZE_MIN;

  get size(): number {
    return this.#size;
  }

  get(root: string, id: string): S | undefined {
    return this.#roots.get(root)?.get(id);
  }

  /** @param state `undefined` where it is again like one never seen */
  set(root: string, id: string, state: S | undefined): void {
    const own = this.#roots.get(root) ?? new Map<string, S>();
    const before = own.size;
    if (state === undefined) own.delete(id);
    else own.set(id, state);
    this.#size += own.size - before;
    if (own.size > 0) this.#roots.set(root, own);
    else this.#roots.delete(root);
  }

  /** Those of a root, or of all roots, that are not over. */
  left(root: string | undefined, now_ms: number): readonly S[] {
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
  [Symbol.iterator](): Iterator<[root: string, states: ReadonlyMap<string, S>]> {
    return this.#roots[Symbol.iterator]();
  }

  /** What is not over, as records: `[root, [[id, …], …]]`. */
  *records<R>(
    now_ms: number,
    record: (id: string, state: S) => R,
  ): Iterable<readonly [string, readonly R[]]> {
    for (const [root, own] of this.#roots) {
      const left = [...own].filter(([, { until_ms }]) => !isOver(until_ms, now_ms));
      if (left.length > 0) yield [root, left.map(([id, state]) => record(id, state))];
    }
  }

  *#all(): Iterable<S> {
    for (const own of this.#roots.values()) yield* own.values();
  }
}

const SKEW_MS = CLOCK_SKEW_S_MAX * 1000;

/** No token passes the caveat any more, also on a node whose clock is behind. */
export function isOver(until_ms: number | null, now_ms: number): boolean {
  return until_ms !== null && until_ms + SKEW_MS <= now_ms;
}

export interface Share {
  readonly perRoot: number;
  readonly perActor: number;
  /** What is shared, in a sentence: "the actor has 9 …". */
  readonly what: string;
}

/**
 * Why a root may not have so many more, where it may not: its share of the actor is used up, or the actor's room is.
 *
 * @param added how many that are not there yet
 */
export function crowded(
  states: PerRoot<Passing>,
  root: string,
  added: number,
  { perRoot, perActor, what }: Share,
  now_ms: number,
): Refusal | undefined {
  if (added === 0) return undefined;
  const full = (size: number, max: number, of: string | undefined, detail: string): Refusal | undefined => {
    if (size + added <= max) return undefined;
    const left = states.left(of, now_ms);
    return left.length + added <= max ? undefined : refuse("quota_exceeded", detail, room(left, now_ms));
  };
  return (
    full(
      states.sizeOf(root),
      perRoot,
      root,
      `this token and all that share its root have ${perRoot} ${what} on this actor, ` +
        "and may have no more: use one that has begun, or wait until some of their tokens have expired",
    ) ??
    full(
      states.size,
      perActor,
      undefined,
      `the actor has ${perActor} ${what}, of all tokens together, and may have no more`,
    )
  );
}

/** When one of them will be over, where it is known. */
function room(states: readonly Passing[], now_ms: number): RefusalFacts {
  let first_ms = Infinity;
  for (const { until_ms } of states) first_ms = Math.min(first_ms, until_ms ?? Infinity);
  return first_ms === Infinity ? {} : { retry_after_ms: first_ms + SKEW_MS - now_ms };
}
