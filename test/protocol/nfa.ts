/**
 * The second oracle: nondeterministic automata put together from the parts of a protocol, after Thompson (1968), with
 * the product of two automata for interleaving. No derivatives, no similarity, no determinisation; a word is
 * followed through all states at once. It shares no code with src/protocol but the type of the tree.
 */
import type { Protocol } from "../../src/protocol/grammar.ts";

/** States are 0 to `moves.length - 1`; every state lies on some way from `start` to `final`. */
export interface Nfa {
  readonly start: number;
  readonly final: number;
  /** For each state where each message, or `""` for no message, leads. */
  readonly moves: readonly (readonly (readonly [message: string, to: number])[])[];
}

/** How many states `nfaOf` makes: a product of five parts of ten states has 100,000. */
export function sizeOf(protocol: Protocol): number {
  switch (protocol.kind) {
    case "end":
    case "message":
      return 2;
    case "seq":
      return protocol.parts.map(sizeOf).reduce((sum, size) => sum + size);
    case "choice":
      return protocol.parts.map(sizeOf).reduce((sum, size) => sum + size + 2);
    case "shuffle":
      return protocol.parts.map(sizeOf).reduce((size, other) => size * other);
    case "repeat":
  }
  const { min, max, body } = protocol;
  return 1 + min * sizeOf(body) + (max === Infinity ? sizeOf(body) + 2 : (max - min) * (sizeOf(body) + 1));
}

export function nfaOf(protocol: Protocol): Nfa {
  switch (protocol.kind) {
    case "end":
      return { start: 0, final: 1, moves: [[["", 1]], []] };
    case "message":
      return { start: 0, final: 1, moves: [[[protocol.name, 1]], []] };
    case "seq":
      return protocol.parts.map(nfaOf).reduce(then);
    case "choice":
      return protocol.parts.map(nfaOf).reduce(either);
    case "shuffle":
      return protocol.parts.map(nfaOf).reduce(product);
    case "repeat":
  }
  return times(nfaOf(protocol.body), protocol.min, protocol.max);
}

const NOTHING: Nfa = { start: 0, final: 0, moves: [[]] };

function times(body: Nfa, min: number, max: number): Nfa {
  const required = Array.from({ length: min }, () => body).reduce(then, NOTHING);
  if (max === Infinity) return then(required, star(body));
  const optional = { ...body, moves: withMove(body.moves, body.start, body.final) };
  // A body that its own moves lead back into must not be left by its start: an optional copy has a new start.
  return Array.from({ length: max - min }, () => then(NOTHING, optional)).reduce(then, required);
}

function star(body: Nfa): Nfa {
  const back = withMove(withMove(body.moves, body.final, body.start), body.start, body.final);
  return then(then(NOTHING, { ...body, moves: back }), NOTHING);
}

function then(left: Nfa, right: Nfa): Nfa {
  const shift = left.moves.length;
  const moves = [...left.moves, ...shifted(right, shift)];
  return {
    start: left.start,
    final: right.final + shift,
    moves: withMove(moves, left.final, right.start + shift),
  };
}

function either(left: Nfa, right: Nfa): Nfa {
  const shift = left.moves.length;
  const [start, final] = [shift + right.moves.length, shift + right.moves.length + 1];
  let moves: Nfa["moves"] = [
    ...left.moves,
    ...shifted(right, shift),
    [
      ["", left.start],
      ["", right.start + shift],
    ],
    [],
  ];
  moves = withMove(withMove(moves, left.final, final), right.final + shift, final);
  return { start, final, moves };
}

/** Either side moves while the other stays. */
function product(left: Nfa, right: Nfa): Nfa {
  const width = right.moves.length;
  const moves = left.moves.flatMap((lefts, l) =>
    right.moves.map((rights, r) => [
      ...lefts.map(([message, to]) => [message, to * width + r] as const),
      ...rights.map(([message, to]) => [message, l * width + to] as const),
    ]),
  );
  return { start: left.start * width + right.start, final: left.final * width + right.final, moves };
}

function shifted(nfa: Nfa, shift: number): Nfa["moves"] {
  return nfa.moves.map((moves) => moves.map(([message, to]) => [message, to + shift]));
}

function withMove(moves: Nfa["moves"], from: number, to: number): Nfa["moves"] {
  return moves.with(from, [...(moves[from] ?? []), ["", to]]);
}

export type States = ReadonlySet<number>;

/** All states that are reached without a message. */
export function closure(nfa: Nfa, states: Iterable<number>): States {
  const reached = new Set(states);
  for (const state of reached)
    for (const [message, to] of nfa.moves[state] ?? []) if (message === "") reached.add(to);
  return reached;
}

export function begin(nfa: Nfa): States {
  return closure(nfa, [nfa.start]);
}

/** No state at all: the message is not admitted, because every state of the automaton leads on to its final one. */
export function follow(nfa: Nfa, states: States, message: string): States {
  const next: number[] = [];
  for (const state of states)
    for (const [label, to] of nfa.moves[state] ?? []) if (label === message) next.push(to);
  return closure(nfa, next);
}
