/** How the values of caveats are read: times and counts. Each has one strict form. */
import { RATE_PERIOD_MS_MAX } from "../limits.ts";

/** Calls that take effect, counted for each actor. */
export interface Count {
  readonly most: number;
  /** In any stretch of time as long as this; without it, ever. */
  readonly period_ms?: number;
}

/** RFC 3339 with the offset Z or ±hh:mm, seconds required. Hour 24 is ISO 8601's, not RFC 3339's. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T(?!24)\d{2}:\d{2}:\d{2}(\.\d{1,3})?(Z|[+-]\d{2}:\d{2})$/;

/** ms since the epoch. A date that does not exist (February 30) is not read. */
export function readTime(value: string): number | undefined {
  if (!RFC3339.test(value)) return undefined;
  const ms = Date.parse(value);
  if (Number.isNaN(ms)) return undefined;
  const day = Date.parse(`${value.slice(0, 10)}T00:00:00Z`);
  return new Date(day).toISOString().startsWith(value.slice(0, 10)) ? ms : undefined;
}

/** A whole number from 1 to 999,999,999. */
export function readUses(value: string): Count | undefined {
  return /^[1-9]\d{0,8}$/.test(value) ? { most: Number(value) } : undefined;
}

const UNITS_MS = new Map([
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** `10/m`, `5/30s`. @returns a clause where the period is too long */
export function readRate(value: string): Count | string | undefined {
  const [, most = "", times = "1", unit = ""] = /^([1-9]\d{0,8})\/([1-9]\d{0,3})?([smhd])$/.exec(value) ?? [];
  const unit_ms = UNITS_MS.get(unit);
  if (unit_ms === undefined) return undefined;
  const period_ms = Number(times) * unit_ms;
  return period_ms <= RATE_PERIOD_MS_MAX
    ? { most: Number(most), period_ms }
    : `its period is longer than ${RATE_PERIOD_MS_MAX / 86_400_000} days`;
}
