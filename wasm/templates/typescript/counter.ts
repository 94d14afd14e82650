/** Counts up to a million. The state is `{count}`; both messages answer it. */
interface Turn {
  /** What the last turn answered as its state; null at first. */
  readonly state: { readonly count: number } | null;
  readonly message: "add" | "read";
  /** Checked against the message's schema before. */
  readonly args: { readonly amount?: number };
  /** Capabilities that this turn may use, as `{"$cap": id}` in JSON; `sends` beside the reply name them (handler.wit). */
  readonly caps: readonly { readonly id: number; readonly actor: string }[];
  /** Milliseconds since the epoch. Date.now() and Math.random() follow the turn, too. */
  readonly now: number;
  readonly seed: string;
  readonly actor: string;
}

const COUNT_MAX = 1_000_000;

export function handle({ state, args }: Turn) {
  const count = (state?.count ?? 0) + (args.amount ?? 0);
  if (count > COUNT_MAX) return { error: { code: "full", detail: `the counter goes up to ${COUNT_MAX}` } };
  return { reply: { count }, state: { count } };
}
