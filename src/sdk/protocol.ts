/**
 * Protocols as types: declare an actor's messages and their order, and TypeScript knows at each point of a program
 * which messages there are, what they take and answer, and what may follow.
 *
 *     const account = protocol(
 *       { open: msg<{ owner: string }, Balance>(), deposit: msg<{ amount: number }, Balance>(), close: msg<void, Balance>() },
 *       seq("open", many("deposit"), "close"),
 *     );
 *     const opened = await account.connect(link).open({ owner: "Ada" });
 *     const { result } = await opened.next.deposit({ amount: 5 });
 *
 * A message that is not enabled is a compile error. The gate enforces the same order whatever a client believes; what
 * the types add is that a program which compiles is not refused for its order. The expression's text is the gate's
 * own language, and compiles under the gate's own bounds.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Protocol } from "../protocol/grammar.ts";
import { printProtocol } from "../protocol/print.ts";
import { Connector } from "./connector.ts";
import type { Later, PlanInputs } from "./plan.ts";
import type {
  After,
  Choice,
  Enabled,
  End,
  Many,
  Message,
  Next,
  Parallel,
  Repeated,
  Sequence,
} from "./protocol-types.ts";
import {
  type CallInputs,
  type CallOptions,
  type Link,
  type MessageSchemas,
  type Planner,
  placeOf,
  sendBatch,
} from "./reference.ts";

export type { Json } from "../json.ts";
export type { Later, OrLater } from "./plan.ts";
export { type TableReference, table } from "./protocol-table.ts";
export type { CallOptions, Link } from "./reference.ts";
export {
  CallRefusedError,
  InvalidValueError,
  OutcomeUnknownError,
  ReferenceUsedError,
} from "./reference-errors.ts";

declare const TYPE: unique symbol;

/** A protocol expression: the gate's tree of it, and its type. */
export interface Expression<Type, Names extends string> {
  readonly protocol: Protocol;
  readonly [TYPE]?: readonly [Type, Names];
}

/** What a combinator takes: a message's name, or another combinator's result. */
export type Part = string | Expression<unknown, string>;

type TypeOf<P> = P extends string ? Message<P> : P extends Expression<infer Type, string> ? Type : never;
type NamesOf<P> = P extends string ? P : P extends Expression<unknown, infer Names> ? Names : never;
type TypesOf<Parts extends readonly Part[]> = { readonly [I in keyof Parts]: TypeOf<Parts[I]> };
type Combined<Type, Parts extends readonly Part[]> = Expression<Type, NamesOf<Parts[number]>>;

function treeOf(part: Part): Protocol {
  return typeof part === "string" ? { kind: "message", name: part } : part.protocol;
}

/** In the grammar's normal form: no operator directly inside itself. */
function infix(kind: "choice" | "shuffle" | "seq", parts: readonly Part[]): { readonly protocol: Protocol } {
  const trees = parts.map(treeOf).flatMap((tree) => (tree.kind === kind ? tree.parts : [tree]));
  const [only] = trees;
  if (only === undefined) return { protocol: { kind: "end" } };
  return { protocol: trees.length === 1 ? only : { kind, parts: trees } };
}

function repeat(part: Part, min: number, max: number): { readonly protocol: Protocol } {
  return { protocol: { kind: "repeat", body: treeOf(part), min, max } };
}

/** One after the other: `a;b`. */
export function seq<const Parts extends readonly Part[]>(
  ...parts: Parts
): Combined<Sequence<TypesOf<Parts>>, Parts> {
  return infix("seq", parts);
}

/** One of them: `a|b`. */
export function or<const Parts extends readonly [Part, ...Part[]]>(
  ...parts: Parts
): Combined<Choice<TypeOf<Parts[number]>>, Parts> {
  return infix("choice", parts);
}

/** Any number of times, none included: `a*`. */
export function many<const P extends Part>(part: P): Combined<Many<TypeOf<P>>, [P]> {
  return repeat(part, 0, Infinity);
}

/** Once or not at all: `a?`. */
export function opt<const P extends Part>(part: P): Combined<Choice<TypeOf<P> | End>, [P]> {
  return repeat(part, 0, 1);
}

/** Between `min` and `max` times: `a{min,max}`. */
export function times<const P extends Part, const Min extends number, const Max extends number>(
  part: P,
  min: Min,
  max: Max,
): Combined<Repeated<TypeOf<P>, Min, Max>, [P]> {
  return repeat(part, min, max);
}

/** Two parts interleaved: `a&b`. */
export function both<const A extends Part, const B extends Part>(
  a: A,
  b: B,
): Combined<Parallel<[TypeOf<A>, TypeOf<B>]>, [A, B]> {
  return infix("shuffle", [a, b]);
}

/** Any number of parts interleaved: `a&b&c`. */
export function bag<const Parts extends readonly Part[]>(
  ...parts: Parts
): Combined<Parallel<TypesOf<Parts>>, Parts> {
  return infix("shuffle", parts);
}

declare const VALUES: unique symbol;

/** A message's types: what the caller gives and what it gets. */
export interface MessageType<Args, Result> extends MessageSchemas {
  readonly [VALUES]?: (args: Args) => Result;
}

/** A message by its TypeScript types alone; the gate checks the values against the policy's schemas. */
export function msg<Args = void, Result = unknown>(): MessageType<Args, Result>;
/** A message by Standard Schema validators: arguments are validated before they are sent, results when they arrive. */
export function msg<A extends StandardSchemaV1 | undefined, R extends StandardSchemaV1 | undefined>(schemas: {
  readonly args?: A;
  readonly result?: R;
}): MessageType<InputOf<A>, OutputOf<R>>;
export function msg(schemas: MessageSchemas = {}): MessageSchemas {
  return schemas;
}

type InputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : void;
type OutputOf<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : unknown;

export type Messages = Readonly<Record<string, MessageSchemas>>;

type ArgsOf<M> = M extends MessageType<infer Args, infer _> ? Args : never;
type ResultOf<M> = M extends MessageType<infer _, infer Result> ? Result : never;

/** An answered call: its result, and the reference to go on with. */
export interface Step<M extends Messages, State, Name extends string> {
  readonly result: ResultOf<M[Name]>;
  readonly next: Reference<M, Next<State, Name>>;
}

declare const STATE: unique symbol;
declare const RESULTS: unique symbol;

/** A batch at one point: the messages that may be added to it, each with what it leads to. */
export type Plan<M extends Messages, State, Results extends readonly unknown[] = []> = {
  readonly [Name in Enabled<State> & string]: (
    ...input: PlanInputs<ArgsOf<M[Name]>>
  ) => PlannedStep<M, Next<State, Name>, readonly [...Results, ResultOf<M[Name]>], ResultOf<M[Name]>>;
};

/** A call of a batch: its result, as it will be, and what may follow. */
export interface PlannedStep<M extends Messages, State, Results extends readonly unknown[], Result> {
  readonly result: Later<Result>;
  readonly next: Plan<M, State, Results>;
  readonly [RESULTS]?: (state: State) => readonly [state: State, results: Results];
}

/** An actor at one point of its protocol. It can be used once; each answered call returns the next one. */
export type Reference<M extends Messages, State> = {
  readonly [Name in Enabled<State> & string]: (
    ...input: CallInputs<ArgsOf<M[Name]>>
  ) => Promise<Step<M, State, Name>>;
} & {
  /** References are alike only at the same point: comparing what follows, step by step, would have no end. */
  readonly [STATE]?: (state: State) => State;
};

/** The reference after these messages: what a function takes that begins in the middle. */
export type ReferenceAfter<P, Word extends readonly string[]> =
  P extends ActorProtocol<infer M, infer State> ? Reference<M, After<State, Word>> : never;

type Undeclared<M, Names> = string extends Names
  ? { readonly error: "message names must be literals" }
  : Exclude<Names, keyof M> extends never
    ? unknown
    : { readonly error: `${Exclude<Names, keyof M> & string} is not declared` };

/**
 * Messages and their order.
 *
 * @throws where the gate would refuse the protocol: it is larger than its bounds, or a name is not one of a message
 */
export function protocol<const M extends Messages, Type, Names extends string>(
  messages: M,
  order: Expression<Type, Names> & Undeclared<M, Names>,
): ActorProtocol<M, Type> {
  return new ActorProtocol(messages, printProtocol(order.protocol));
}

export class ActorProtocol<M extends Messages, Type> extends Connector {
  declare readonly [TYPE]?: readonly [Type, M];

  /**
   * @param done messages that took effect before, through this token or those that it was made from
   * @throws where the token does not admit what the types allow, or `done` is no beginning of the protocol
   */
  connect<const Done extends readonly string[] = []>(
    link: Link,
    ...done: Done
  ): Reference<M, After<Type, Done>> {
    // What the automaton enables is what the type does: the tests compare the two on random expressions.
    return this.begin(link, done) as Reference<M, After<Type, Done>>;
  }

  /**
   * Several messages at once: all of them take effect, one after the other, or none does. It uses the reference up.
   *
   *     const { results, next } = await account.batch(opened, (start) => {
   *       const paid = start.deposit({ amount: 5 });
   *       return paid.next.withdraw({ amount: paid.result.balance });
   *     });
   *
   * @param plan returns the last step. It is asked once, before anything is sent.
   */
  readonly batch = <State, To, Results extends readonly unknown[]>(
    reference: Reference<M, State>,
    plan: (start: Plan<M, State>) => PlannedStep<M, To, Results, unknown>,
    options?: CallOptions,
  ): Promise<{ readonly results: Results; readonly next: Reference<M, To> }> =>
    sendBatch(reference, plan as Planner, options, placeOf(this.batch));
}
