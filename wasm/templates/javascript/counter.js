/** Counts up to a million. The state is `{count}`, null at first; both messages answer it. */
const COUNT_MAX = 1_000_000;

export function handle({ state, args }) {
  const count = (state?.count ?? 0) + (args.amount ?? 0);
  if (count > COUNT_MAX) return { error: { code: "full", detail: `the counter goes up to ${COUNT_MAX}` } };
  return { reply: { count }, state: { count } };
}
