/**
 * The demo tenant's `account` as a pure step function: what a caller must be told, whatever nodes fail behind it.
 *
 * It holds the policy's behaviour `open ; (deposit | withdraw | balance)* ; close` and the handler's books.
 */
import type { Model, Output, State } from "./linearizability.ts";

export const MESSAGES = ["open", "deposit", "withdraw", "balance", "close"] as const;

export interface AccountInput {
  readonly message: (typeof MESSAGES)[number];
  /** Of a deposit or a withdrawal: a whole number above 0. */
  readonly amount: number;
}

/** Nothing of it is kept: sent again under its key, it is answered anew. */
export function isRead({ message }: AccountInput): boolean {
  return message === "balance";
}

/** What a refusal by state answers; everything else answers the balance. */
export const OUT_OF_ORDER = "out_of_order";
export const HANDLER_ERROR = "handler_error";

/** An open account is its balance. */
const NEW = "new";
const CLOSED = "closed";

export const accountModel: Model<AccountInput> = {
  initial: NEW,
  step(state, { message, amount }) {
    if (typeof state !== "number")
      return state === NEW && message === "open" ? answer(0, 0) : answer(state, OUT_OF_ORDER);
    switch (message) {
      case "open":
        return answer(state, OUT_OF_ORDER);
      case "balance":
        return answer(state, state);
      case "close":
        return answer(CLOSED, state);
      case "withdraw":
        return amount > state ? answer(state, HANDLER_ERROR) : answer(state - amount, state - amount);
      case "deposit":
        return state + amount > Number.MAX_SAFE_INTEGER
          ? answer(state, HANDLER_ERROR)
          : answer(state + amount, state + amount);
      default:
        throw new Error(`the account has no message ${String(message satisfies never)}`);
    }
  },
};

function answer(state: State, output: Output): { state: State; output: Output } {
  return { state, output };
}
