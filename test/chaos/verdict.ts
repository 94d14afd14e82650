/**
 * What a chaos run must have shown: every actor linearizable, its sums right, everything answered in the end.
 *
 * A run in which nothing went wrong, or nothing went well, proves nothing: it is a problem, too.
 */
import { type AccountInput, accountModel } from "./account-model.ts";
import { definite, type History, type Intent, operationsOf } from "./history.ts";
import { checkLinearizable, type Output } from "./linearizability.ts";

/** The last balance of each actor, asked for when everything else was answered. */
export type FinalAnswers = ReadonlyMap<string, Output>;

export function judgeHistory(history: History, finals: FinalAnswers): string[] {
  const problems: string[] = [];
  for (const [actor, intents] of history.byActor()) {
    const open = intents.filter((intent) => definite(intent) === undefined);
    if (open.length > 0) problems.push(`${actor}: ${open.length} calls were never answered`);
    const found = judgeOrder(intents) ?? judgeSums(intents, finals.get(actor));
    if (found !== undefined) problems.push(`${actor}: ${found}`);
  }
  return problems;
}

function judgeOrder(intents: readonly Intent[]): string | undefined {
  const operations = intents.flatMap(operationsOf);
  const judged = checkLinearizable(accountModel, operations);
  switch (judged.verdict) {
    case "linearizable":
      return undefined;
    case "undecided":
      return `not decided in ${judged.steps} steps whether its ${operations.length} operations are linearizable`;
    case "violated":
      return (
        `not linearizable: ${JSON.stringify(judged.stuck)} is not explained after ${judged.linearized} of ` +
        `${operations.length} operations, the state being ${judged.state}`
      );
    default:
      throw new Error(`no such verdict: ${String(judged satisfies never)}`);
  }
}

/**
 * Nothing acknowledged is lost and nothing happened twice, by arithmetic alone: what was acknowledged adds up to the
 * last balance, or differs from it by calls that were refused after an unclear sending.
 */
function judgeSums(intents: readonly Intent[], final: Output | undefined): string | undefined {
  const answered = (intent: Intent): boolean => definite(intent)?.ending === "acknowledged";
  const closed = intents.find((intent) => intent.input.message === "close" && answered(intent));
  // A closed account answers no more; what it paid out is its last balance.
  const last = closed === undefined ? final : definite(closed)?.answer;
  if (typeof last !== "number") return undefined;
  const acknowledged = intents.filter(answered).reduce((sum, { input }) => sum + signed(input), 0);
  const unclear = intents
    .filter((intent) => operationsOf(intent).some(({ returned }) => returned === undefined))
    .map(({ input }) => signed(input))
    .filter((amount) => amount !== 0);
  let possible = new Set([acknowledged]);
  for (const amount of unclear) possible = possible.union(new Set([...possible].map((sum) => sum + amount)));
  if (possible.has(last)) return undefined;
  return `its last balance is ${last}, but what was acknowledged adds up to ${acknowledged}`;
}

function signed({ message, amount }: AccountInput): number {
  if (message === "deposit") return amount;
  return message === "withdraw" ? -amount : 0;
}

export interface Events {
  /** How often each kind happened. */
  readonly mischief: ReadonlyMap<string, number>;
  /** Faults of the proxy by kind, with `passed`. */
  readonly faults: ReadonlyMap<string, number>;
  /** How long callers waited for a successor, in ms, by how its leader fell silent. */
  readonly failovers: ReadonlyMap<string, readonly number[]>;
  /** How often nodes ended by themselves. */
  readonly stepDowns: number;
}

/** @param kinds of mischief and faults that must have happened for the run to prove anything */
export function judgeEvents(
  history: History,
  slots: readonly string[],
  kinds: readonly string[],
  { mischief, faults }: Events,
): string[] {
  const problems = kinds
    .filter((kind) => !mischief.has(kind) && !faults.has(kind))
    .map((kind) => `no ${kind} happened`);
  for (const slot of slots) {
    const intents = history.intents.filter(({ actor }) => belongsTo(slot, actor));
    if (!intents.some((intent) => definite(intent)?.ending === "acknowledged"))
      problems.push(`nothing of ${slot} was acknowledged`);
  }
  return problems;
}

export function belongsTo(slot: string, actor: string): boolean {
  return actor.startsWith(`account/${slot}-`);
}
