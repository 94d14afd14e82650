/**
 * Histories to judge the checker by: of a simulated account that is linearizable by construction, and corrupted ones.
 *
 * Every operation takes effect at one moment between its invocation and its return, and these moments are the order
 * in which the model answers. An operation may remain unanswered and take effect long after, or never.
 */
import type { Seeded } from "../support/seeded.ts";
import { type AccountInput, accountModel } from "./account-model.ts";
import type { Operation, Output } from "./linearizability.ts";

export type AccountOperation = Operation<AccountInput>;

export interface HistoryShape {
  readonly clients: number;
  readonly operations: number;
  /** Which part remains unanswered. */
  readonly unanswered: number;
  readonly closes: boolean;
}

interface Planned {
  readonly input: AccountInput;
  readonly invoked_at: number;
  /** `undefined`: never. */
  readonly effect_at: number | undefined;
  readonly returned_at: number | undefined;
}

const STEP = 10;

export function linearizableHistory(random: Seeded, shape: HistoryShape): AccountOperation[] {
  const planned: Planned[] = [
    { input: { message: "open", amount: 0 }, invoked_at: 0, effect_at: 1, returned_at: 2 },
  ];
  const times = Array.from({ length: shape.clients }, () => random.between(0, STEP));
  for (let count = 1; count < shape.operations; count++) {
    const client = random.below(shape.clients);
    const invoked_at = (times[client] ?? 0) + random.between(0, STEP);
    const effect_at = invoked_at + random.between(0, STEP);
    const returned_at = effect_at + random.between(0, STEP);
    times[client] = returned_at;
    const input = inputOf(random, count, shape);
    planned.push(
      random.chance(shape.unanswered)
        ? { input, invoked_at, effect_at: lateEffect(random, effect_at), returned_at: undefined }
        : { input, invoked_at, effect_at, returned_at },
    );
  }
  return answered(planned);
}

function lateEffect(random: Seeded, effect_at: number): number | undefined {
  return random.chance(0.5) ? effect_at + random.between(0, 10 * STEP) : undefined;
}

function inputOf(random: Seeded, count: number, shape: HistoryShape): AccountInput {
  const weights = { open: 2, deposit: 45, withdraw: 20, balance: 30, close: shape.closes ? 1 : 0 };
  // Distinct amounts: a balance tells much about what came before.
  return { message: random.weighted(weights), amount: count * 1000 + random.below(1000) };
}

/** Lets the model answer in the order of the effects. */
function answered(planned: readonly Planned[]): AccountOperation[] {
  let state = accountModel.initial;
  const history: AccountOperation[] = [];
  for (const { input, invoked_at, returned_at, effect_at } of planned.toSorted(byEffect)) {
    const after = accountModel.step(state, input);
    if (effect_at !== undefined) state = after.state;
    const returned = returned_at === undefined ? undefined : { at: returned_at, output: after.output };
    history.push({ input, invoked_at, returned });
  }
  return history;
}

function byEffect(a: Planned, b: Planned): number {
  return (a.effect_at ?? Infinity) - (b.effect_at ?? Infinity);
}

/** One answered operation gets another output of the same history. */
export function corrupted(random: Seeded, history: readonly AccountOperation[]): AccountOperation[] {
  const outputs = [...new Set(history.flatMap(({ returned }) => returned?.output ?? []))];
  const at = random.pick(history.flatMap(({ returned }, index) => (returned === undefined ? [] : index)));
  const others = outputs.filter((output) => output !== history[at]?.returned?.output);
  return history.with(at, withOutput(history[at], random.pick(others)));
}

/** Two answered operations of which one returned before the other was invoked change places in time. */
export function inverted(random: Seeded, history: readonly AccountOperation[]): AccountOperation[] {
  for (;;) {
    const [a, b] = [random.below(history.length), random.below(history.length)];
    const [first, second] = [history[a], history[b]];
    if (first?.returned === undefined || second?.returned === undefined) continue;
    if (first.returned.at >= second.invoked_at) continue;
    return history.with(a, atTimesOf(first, second)).with(b, atTimesOf(second, first));
  }
}

function withOutput(operation: AccountOperation | undefined, output: Output): AccountOperation {
  if (operation?.returned === undefined) throw new Error("the operation was not answered");
  return { ...operation, returned: { ...operation.returned, output } };
}

function atTimesOf(operation: AccountOperation, other: AccountOperation): AccountOperation {
  if (operation.returned === undefined || other.returned === undefined) throw new Error("not answered");
  const returned = { output: operation.returned.output, at: other.returned.at };
  return { ...operation, invoked_at: other.invoked_at, returned };
}
