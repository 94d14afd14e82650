/**
 * Protocols as tables: what `postern types` writes from a policy, for protocols too large to read as expressions.
 *
 * The states are the automaton's own, so a step is one look-up in a type and costs nothing, however large the table.
 */
import { Connector } from "./connector.ts";
import type { Later, PlanInputs } from "./plan.ts";
import {
  type CallInputs,
  type CallOptions,
  type Link,
  type Planner,
  placeOf,
  sendBatch,
} from "./reference.ts";

/** Each message's types. */
type TableMessages<M> = { readonly [Name in keyof M]: { readonly args: unknown; readonly result: unknown } };

declare const STATE: unique symbol;
declare const RESULTS: unique symbol;

/** An actor in one state: the messages that are enabled there, each leading to the next state. */
export type TableReference<M extends TableMessages<M>, Table, State extends keyof Table> = {
  readonly [Name in keyof Table[State] & keyof M]: (...input: CallInputs<M[Name]["args"]>) => Promise<{
    readonly result: M[Name]["result"];
    readonly next: TableReference<M, Table, Table[State][Name] & keyof Table>;
  }>;
} & { readonly [STATE]?: (state: State) => State };

/** A batch in one state of the actor, as `Plan` is in `protocol.ts`. */
export type TablePlan<
  M extends TableMessages<M>,
  Table,
  State extends keyof Table,
  Results extends readonly unknown[] = [],
> = {
  readonly [Name in keyof Table[State] & keyof M]: (
    ...input: PlanInputs<M[Name]["args"]>
  ) => TableStep<
    M,
    Table,
    Table[State][Name] & keyof Table,
    readonly [...Results, M[Name]["result"]],
    M[Name]["result"]
  >;
};

export interface TableStep<
  M extends TableMessages<M>,
  Table,
  State extends keyof Table,
  Results extends readonly unknown[],
  Result,
> {
  readonly result: Later<Result>;
  readonly next: TablePlan<M, Table, State, Results>;
  readonly [RESULTS]?: (state: State) => readonly [state: State, results: Results];
}

type AfterWord<Table, State extends keyof Table, Word extends readonly string[]> = Word extends readonly [
  infer Name extends keyof Table[State],
  ...infer Others extends readonly string[],
]
  ? AfterWord<Table, Table[State][Name] & keyof Table, Others>
  : State;

class TableProtocol<M extends TableMessages<M>, Table extends { readonly 0: unknown }> extends Connector {
  /**
   * @param done messages that took effect before, through this token or those that it was made from
   * @throws where the token does not admit what the types allow, or `done` is no beginning of the protocol
   */
  connect<const Done extends readonly string[] = []>(
    link: Link,
    ...done: Done
  ): TableReference<M, Table, AfterWord<Table, 0, Done>> {
    return this.begin(link, done) as TableReference<M, Table, AfterWord<Table, 0, Done>>;
  }

  /** Several messages at once, as `ActorProtocol` has it. */
  readonly batch = <State extends keyof Table, To extends keyof Table, Results extends readonly unknown[]>(
    reference: TableReference<M, Table, State>,
    plan: (start: TablePlan<M, Table, State>) => TableStep<M, Table, To, Results, unknown>,
    options?: CallOptions,
  ): Promise<{ readonly results: Results; readonly next: TableReference<M, Table, To> }> =>
    sendBatch(reference, plan as Planner, options, placeOf(this.batch));
}

/** The expression that the table was made of. */
export function table<M extends TableMessages<M>, Table extends { readonly 0: unknown }>(
  text: string,
): TableProtocol<M, Table> {
  return new TableProtocol<M, Table>({}, text);
}
