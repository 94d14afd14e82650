/** Durations as people write them: `500ms`, `30s`, `15m`, `8h`, `7d`. */
const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** @returns `undefined` where the text is no duration */
export function parseDuration(given: string): number | undefined {
  const [, amount, unit] = /^(\d{1,6})(ms|[smhd])$/.exec(given) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  return Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
}
