/** Plans for the fault proxy that follow from a seed: which part of the requests meets which fault. */
import type { Fault, Passing, Plan, S3Error } from "./fault-proxy.ts";
import type { Seeded } from "./seeded.ts";

export interface FaultRates {
  /** Uniformly between these. */
  readonly latency_ms: readonly [min: number, max: number];
  /** Probabilities, by fault; together at most 1. What is not named does not happen. */
  readonly faults: Readonly<Partial<Record<Fault["kind"], number>>>;
  /** How late requests, answers and duplicates are: uniformly between these. */
  readonly late_ms: readonly [min: number, max: number];
}

const SERVER_ERRORS: readonly S3Error[] = [
  { status: 500, code: "InternalError" },
  { status: 503, code: "SlowDown" },
];

export const FAULTS = [
  "error_before",
  "error_after",
  "cut_before",
  "cut_after",
  "late_request",
  "late_answer",
  "hang",
  "conflict",
  "duplicate",
  "twice",
] as const satisfies readonly Fault["kind"][];

export function seededPlan(random: Seeded, rates: FaultRates): Plan {
  return (passing) => ({
    latency_ms: random.between(...rates.latency_ms),
    fault: faultOf(random, rates, passing),
  });
}

function faultOf(random: Seeded, rates: FaultRates, { method }: Passing): Fault | undefined {
  let left = random.fraction();
  for (const [name, rate] of Object.entries(rates.faults)) {
    left -= rate;
    if (left >= 0) continue;
    const kind = name as Fault["kind"];
    switch (kind) {
      case "error_before":
      case "error_after":
        return { kind, error: random.pick(SERVER_ERRORS) };
      case "cut_before":
      case "cut_after":
      case "hang":
        return { kind };
      case "late_request":
      case "late_answer":
        return { kind, wait_ms: random.between(...rates.late_ms) };
      // Only to puts: their conditions guard them, and a node never deletes what could be put again.
      case "conflict":
      case "twice":
        return method === "PUT" ? { kind } : undefined;
      case "duplicate":
        return method === "PUT" ? { kind, wait_ms: random.between(...rates.late_ms) } : undefined;
      default:
        throw new Error(`no such fault: ${String(kind satisfies never)}`);
    }
  }
  return undefined;
}
