/** An actor type for batches: an account whose messages have arguments, so that they can refer to earlier results. */

import type { Call } from "../../src/actor/shard.ts";
import type { Message, TurnResult } from "../../src/actor/word.ts";
import { utf8 } from "../../src/bytes.ts";
import type { Turn } from "../../src/dispatch/sandbox.ts";
import { type Refusal, refuse } from "../../src/errors.ts";
import { readBatch } from "../../src/request/batch.ts";
import { type BatchCall, batchBody } from "../../src/sdk/batch.ts";
import { must } from "../support/gate.ts";
import { batchOf, TOOK } from "./counter.ts";

export const LEDGER = "open ; (deposit | withdraw | balance | echo)* ; close";

/** Its state tells which turns took effect, in which order. */
export interface Ledger {
  readonly balance: number;
  readonly turns: readonly string[];
}

/** `deposit` and `withdraw` take a number and answer the balance; `echo` answers its arguments. */
export async function ledgerRun({ state, message, args, seed }: Turn): Promise<TurnResult | Refusal> {
  const { balance, turns }: Ledger = state === undefined ? { balance: 0, turns: [] } : JSON.parse(state);
  if (message === "echo") return { ...TOOK, reply: args, state: undefined };
  if (message === "balance") return { ...TOOK, reply: { balance, turns: [...turns] }, state: undefined };
  const amount = message === "deposit" ? Number(args) : message === "withdraw" ? -Number(args) : 0;
  if (!Number.isSafeInteger(amount)) return refuse("schema_violation", "no amount");
  if (balance + amount < 0) return refuse("handler_error", "too little", { handler_code: "too_little" });
  const after: Ledger = { balance: balance + amount, turns: [...turns, seed] };
  return { ...TOOK, reply: { balance: after.balance }, state: JSON.stringify(after) };
}

let turns = 0;

/** Through the SDK's writer and the gate's reader, as a batch arrives. */
export function messagesOf(calls: readonly BatchCall[], run: Message["run"] = ledgerRun): Message[] {
  return must(readBatch(utf8(batchBody(calls)))).map(({ message, args, references }) => {
    const reads = message === "balance" || message === "echo";
    return { name: message, args, references, seed: `s${++turns}`, reads, run };
  });
}

export function ledgerBatch([first, ...rest]: readonly Message[], given: Partial<Call> = {}): Call {
  if (first === undefined) throw new Error("an empty batch");
  return batchOf([first, ...rest], { behaviour: LEDGER, ...given });
}

/** Each of them as a call of its own. */
export function singly(messages: readonly Message[], given: Partial<Call> = {}): Call[] {
  return messages.map((message) => batchOf([message], { behaviour: LEDGER, ...given, batch: false }));
}
