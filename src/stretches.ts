/**
 * Stretches of time, few and sorted: what can still be said of many moments when each of them is no longer known.
 *
 * They only grow. What is joined says more than was put in, never less.
 */
import { REPLAY_STRETCHES_MAX, REQUEST_LIFE_S_MAX } from "./limits.ts";

/** Seconds since the epoch, both inclusive. */
export type Stretch = readonly [from_s: number, to_s: number];

export function isWithin(stretches: readonly Stretch[], second: number): boolean {
  return stretches.some(([from, to]) => from <= second && second <= to);
}

/** Those that lie close together become one; of too many, the two earliest do: the clock seldom goes back that far. */
export function joined(stretches: readonly Stretch[], [from, to]: Stretch): readonly Stretch[] {
  const around = stretches.find(([start, end]) => start <= from && to <= end);
  if (around !== undefined) return stretches;
  const apart = stretches.filter(
    ([start, end]) => end + REQUEST_LIFE_S_MAX < from || to + REQUEST_LIFE_S_MAX < start,
  );
  const near = stretches.filter((stretch) => !apart.includes(stretch));
  const merged = bounds([...near, [from, to]]);
  const all = [...apart, merged].toSorted(([one], [other]) => one - other);
  return all.length <= REPLAY_STRETCHES_MAX ? all : [bounds(all.slice(0, 2)), ...all.slice(2)];
}

function bounds(stretches: readonly Stretch[]): Stretch {
  return [Math.min(...stretches.map(([from]) => from)), Math.max(...stretches.map(([, to]) => to))];
}
