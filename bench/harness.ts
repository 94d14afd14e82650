/**
 * How a row is measured: both sides in one run, in turn, A B A B …, and the ratio pair by pair.
 *
 * Two numbers from different minutes say little on a shared machine; two that stand next to each other say what
 * their ratio is. A row therefore reports the median of each side, and median, minimum and maximum of the ratio
 * of neighbours. `ratio` is always ours / theirs, in the row's unit; `better` tells which direction is the good one.
 */

export interface Row {
  readonly id: string;
  /** Median of our rounds, in `unit`. */
  readonly ours: number;
  /** Median of the other side's rounds; `null` where there is no other side. */
  readonly theirs: number | null;
  readonly unit: string;
  /** Median of ours / theirs, pair by pair. */
  readonly ratio: number | null;
  readonly ratio_min: number | null;
  readonly ratio_max: number | null;
  readonly rounds: number;
  readonly better: "higher" | "lower";
  /** One line: what was compared with what. */
  readonly what: string;
  /** Further numbers, by name with the unit last. */
  readonly details: Readonly<Record<string, number>>;
  /** Lines for a reader. */
  readonly notes: readonly string[];
}

/** One round of one side: the measured value, in the row's unit. */
export type Measure = () => number | Promise<number>;

export interface Spec {
  readonly id: string;
  readonly unit: string;
  readonly better: Row["better"];
  readonly what: string;
  /** No round begins after so long; `ROUNDS_MIN` rounds are made in any case. */
  readonly seconds: number;
}

/** Fewer have no median worth the name. */
export const ROUNDS_MIN = 3;
const ROUNDS_MAX = 200;
/** One batch of a timed function: long against the clock's grain, short against other work on the machine. */
const BATCH_MS = 15;
const BATCH_CALLS_MAX = 1_000_000;
const WARM_UP_MS = 150;

/** Rounds A B A B … of two sides. */
export async function compare(spec: Spec, ours: Measure, theirs: Measure): Promise<Row> {
  const a: number[] = [];
  const b: number[] = [];
  await repeat(spec.seconds, async () => {
    a.push(await ours());
    b.push(await theirs());
  });
  const ratios = a.map((value, i) => value / (b[i] ?? Number.NaN));
  return {
    ...describe(spec, a),
    theirs: median(b),
    ratio: median(ratios),
    ratio_min: Math.min(...ratios),
    ratio_max: Math.max(...ratios),
  };
}

/** Rounds of several things that have no other side, in turn, so that a slow minute hurts all of them alike. */
export async function measureAll(
  sides: readonly { readonly spec: Spec; readonly measure: Measure }[],
  seconds: number,
): Promise<readonly Row[]> {
  const values = sides.map((): number[] => []);
  await repeat(seconds, async () => {
    for (const [i, { measure }] of sides.entries()) values[i]?.push(await measure());
  });
  return sides.map(({ spec }, i) => describe(spec, values[i] ?? []));
}

async function repeat(seconds: number, round: () => Promise<void>): Promise<void> {
  const end_ms = performance.now() + seconds * 1000;
  for (let i = 0; i < ROUNDS_MAX && (i < ROUNDS_MIN || performance.now() < end_ms); i++) await round();
}

function describe({ id, unit, better, what }: Spec, values: readonly number[]): Row {
  const none = { theirs: null, ratio: null, ratio_min: null, ratio_max: null };
  const rounds = values.length;
  return { id, ours: median(values), ...none, unit, rounds, better, what, details: {}, notes: [] };
}

export function withMore(
  row: Row,
  details: Readonly<Record<string, number>>,
  ...notes: readonly string[]
): Row {
  return { ...row, details: { ...row.details, ...details }, notes: [...row.notes, ...notes] };
}

/** Results end here, so that no compiler may leave out the work that made them. */
let sink: unknown;

/**
 * Microseconds for each call: warmed up, then in batches of a fixed number of calls.
 *
 * @param batch_ms long enough to hold several collections, where the work leaves much garbage
 */
export function timed(work: () => unknown, batch_ms = BATCH_MS): Measure {
  let calls = 0;
  return () => {
    if (calls === 0) calls = callsInBatch(work, batch_ms);
    return (timeOf(work, calls) * 1000) / calls;
  };
}

/** The same for work that has to be awaited, one after the other. */
export function timedAsync(work: () => Promise<unknown>): Measure {
  let calls = 0;
  return async () => {
    if (calls === 0) {
      const end_ms = performance.now() + WARM_UP_MS;
      let warm = 0;
      for (; performance.now() < end_ms; warm++) sink = await work();
      calls = Math.max(1, Math.round((warm * BATCH_MS) / WARM_UP_MS));
    }
    const start_ms = performance.now();
    for (let i = 0; i < calls; i++) sink = await work();
    return ((performance.now() - start_ms) * 1000) / calls;
  };
}

function timeOf(work: () => unknown, calls: number): number {
  const start_ms = performance.now();
  for (let i = 0; i < calls; i++) sink = work();
  return performance.now() - start_ms;
}

/** Warms up with growing batches, until one takes so long and the code has had time to be compiled. */
function callsInBatch(work: () => unknown, batch_ms: number): number {
  const end_ms = performance.now() + Math.max(WARM_UP_MS, 2 * batch_ms);
  let calls = 1;
  while (performance.now() < end_ms) {
    const each_ms = Math.max(timeOf(work, calls) / calls, 1e-6);
    calls = Math.min(BATCH_CALLS_MAX, 10 * calls, Math.max(1, Math.round(batch_ms / each_ms)));
  }
  return calls;
}

/** What keeps the last result alive; read by nothing. */
export function lastResult(): unknown {
  return sink;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** @param share 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}
