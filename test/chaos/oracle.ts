/**
 * Linearizability by its definition, for a handful of operations: every order of all answered operations and any of
 * the unanswered ones, judged as a whole. No pruning and no memory, so that it shares no mistake with the checker.
 */
import type { Model, Operation } from "./linearizability.ts";

export function isLinearizable<Input>(model: Model<Input>, history: readonly Operation<Input>[]): boolean {
  const answered = history.filter(({ returned }) => returned !== undefined);
  const unanswered = history.filter(({ returned }) => returned === undefined);
  return subsets(unanswered).some((effective) =>
    permutations([...answered, ...effective]).some(
      (order) => keepsRealTime(order) && isExplained(model, order),
    ),
  );
}

function keepsRealTime<Input>(order: readonly Operation<Input>[]): boolean {
  return order.every((operation, place) =>
    order
      .slice(place + 1)
      .every(({ returned }) => returned === undefined || returned.at >= operation.invoked_at),
  );
}

function isExplained<Input>(model: Model<Input>, order: readonly Operation<Input>[]): boolean {
  let state = model.initial;
  for (const { input, returned } of order) {
    const after = model.step(state, input);
    if (returned !== undefined && returned.output !== after.output) return false;
    ({ state } = after);
  }
  return true;
}

function subsets<T>(values: readonly T[]): T[][] {
  const [first, ...rest] = values;
  if (first === undefined) return [[]];
  return subsets(rest).flatMap((subset) => [subset, [first, ...subset]]);
}

function permutations<T>(values: readonly T[]): T[][] {
  if (values.length === 0) return [[]];
  return values.flatMap((value, at) =>
    permutations(values.toSpliced(at, 1)).map((permutation) => [value].concat(permutation)),
  );
}
