/**
 * Protocols in the type system: what may come next, and what remains after it.
 *
 * An expression is a type; a state is the union of the expressions that may be left (Antimirov's partial
 * derivatives), so that alternatives which come to the same are one. Nothing is ever expanded into a table: a step
 * costs about the expression's own size, interleaving of many parts included, and only steps that a program writes
 * down are computed.
 */

export interface End {
  readonly kind: "end";
}

export interface Message<Name extends string> {
  readonly kind: "message";
  readonly name: Name;
}

/** `Parts` is a union. */
export interface Choice<Parts> {
  readonly kind: "choice";
  readonly parts: Parts;
}

export interface Then<Head, Tail> {
  readonly kind: "then";
  readonly head: Head;
  readonly tail: Tail;
}

export interface Many<Body> {
  readonly kind: "many";
  readonly body: Body;
}

/** `Parts` is a tuple: parts run interleaved. */
export interface Together<Parts extends readonly unknown[]> {
  readonly kind: "together";
  readonly parts: Parts;
}

/** Whether it may end here. */
export type Nullable<E> = E extends End
  ? true
  : E extends Then<infer Head, infer Tail>
    ? Nullable<Head> extends true
      ? Nullable<Tail>
      : false
    : E extends Many<unknown>
      ? true
      : E extends Choice<infer Parts>
        ? true extends Nullable<Parts>
          ? true
          : false
        : E extends Together<infer Parts>
          ? false extends Nullable<Parts[number]>
            ? false
            : true
          : false;

/** The messages that may come next, as a union of names. */
export type Enabled<E> =
  E extends Message<infer Name>
    ? Name
    : E extends Then<infer Head, infer Tail>
      ? Enabled<Head> | (Nullable<Head> extends true ? Enabled<Tail> : never)
      : E extends Many<infer Body>
        ? Enabled<Body>
        : E extends Choice<infer Parts>
          ? Enabled<Parts>
          : E extends Together<infer Parts>
            ? Enabled<Parts[number]>
            : never;

/** What may be left after a message; `never` where it is not enabled. */
export type Next<E, Name extends string> =
  E extends Message<infer Own>
    ? [Name] extends [Own]
      ? End
      : never
    : E extends Then<infer Head, infer Tail>
      ? Join<Next<Head, Name>, Tail> | (Nullable<Head> extends true ? Next<Tail, Name> : never)
      : E extends Many<infer Body>
        ? Join<Next<Body, Name>, E>
        : E extends Choice<infer Parts>
          ? Next<Parts, Name>
          : E extends Together<infer Parts>
            ? StepOne<[], Parts, Name, never>
            : never;

type Join<Head, Tail> = Head extends End ? Tail : Then<Head, Tail>;

/**
 * One of the parts takes the step. Of equal parts only the first does: which of them it was makes no difference.
 *
 * @typeParam Seen the parts, boxed, that have taken it in another alternative
 */
type StepOne<
  Done extends readonly unknown[],
  Parts extends readonly unknown[],
  Name extends string,
  Seen,
> = Parts extends readonly [infer Part, ...infer Others]
  ? [Next<Part, Name>] extends [never]
    ? StepOne<[...Done, Part], Others, Name, Seen>
    : Box<Part> extends Seen
      ? StepOne<[...Done, Part], Others, Name, Seen>
      : Replace<Done, Next<Part, Name>, Others> | StepOne<[...Done, Part], Others, Name, Seen | Box<Part>>
  : never;

/** Assignable only to the box of an equal type. */
type Box<T> = (value: T) => T;

type Replace<Left extends readonly unknown[], Part, Right extends readonly unknown[]> = Part extends End
  ? Parallel<[...Left, ...Right]>
  : Parallel<[...Left, Part, ...Right]>;

/** Parts side by side, in the shortest form. */
export type Parallel<Parts extends readonly unknown[]> = Parts extends readonly []
  ? End
  : Parts extends readonly [infer Only]
    ? Only
    : Together<Parts>;

/** Parts one after the other. Built from the end, so that each suffix exists once and a step only goes to it. */
export type Sequence<Parts extends readonly unknown[], Rest = End> = Parts extends readonly [
  ...infer Before,
  infer Last,
]
  ? Sequence<Before, Rest extends End ? Last : Then<Last, Rest>>
  : Rest;

/** `Body` between `Min` and `Max` times. */
export type Repeated<Body, Min extends number, Max extends number> = AtLeast<
  Body,
  Min,
  AtMost<Body, Minus<Max, Min>>
>;

type AtMost<
  Body,
  Max extends number,
  Rest = End,
  Count extends readonly unknown[] = [],
> = Count["length"] extends Max
  ? Rest
  : AtMost<Body, Max, Choice<End | (Rest extends End ? Body : Then<Body, Rest>)>, [...Count, unknown]>;

type AtLeast<
  Body,
  Min extends number,
  Rest,
  Count extends readonly unknown[] = [],
> = Count["length"] extends Min
  ? Rest
  : AtLeast<Body, Min, Rest extends End ? Body : Then<Body, Rest>, [...Count, unknown]>;

type Minus<A extends number, B extends number> =
  Units<A> extends readonly [...Units<B>, ...infer Left] ? Left["length"] & number : never;

type Units<N extends number, Count extends readonly unknown[] = []> = Count["length"] extends N
  ? Count
  : Units<N, [...Count, unknown]>;

/** What may be left after a whole word. */
export type After<E, Word extends readonly string[]> = Word extends readonly [
  infer Name extends string,
  ...infer Others extends readonly string[],
]
  ? After<Next<E, Name>, Others>
  : E;
