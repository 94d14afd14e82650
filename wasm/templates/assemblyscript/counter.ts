/** Counts up to a million. The state is `{count}`; both messages answer it. */
import { fail, Outcome, replyAndStore, Turn } from "../lib/handler";
import { View, Writer } from "../lib/json";

export { pn_alloc } from "../lib/handler";

const COUNT_MAX: i64 = 1_000_000;

export function pn_handle(ptr: i32, length: i32): i64 {
  return handle(new Turn(ptr, length)).write();
}

function handle(turn: Turn): Outcome {
  const count = integerOf(turn.state, "count") + integerOf(turn.args, "amount");
  if (count > COUNT_MAX) return fail("full", `the counter goes up to ${COUNT_MAX}`);
  const state = new Writer().integer("count", count);
  return replyAndStore(state, state);
}

/** 0 where there is none. */
function integerOf(value: View | null, name: string): i64 {
  if (value === null) return 0;
  const member = value.member(name);
  return member === null ? 0 : member.integer(0);
}
