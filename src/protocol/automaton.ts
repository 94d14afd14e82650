/**
 * Protocols compiled: expression → derivatives → minimal automaton.
 *
 * State numbers are canonical: breadth first from the start, messages in sorted order, over the minimal automaton.
 * They depend on the language alone, not on how its text is written nor on how this file computes them. They are
 * stored with the actors, so this is a promise to data on disk: a release that numbers otherwise moves monitors.
 * No state is dead: a message is admitted exactly if some continuation completes the protocol (Gordon 2025).
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_STATES_MAX, PROTOCOL_WORK_MAX } from "../limits.ts";
import { Budget } from "./budget.ts";
import { type Gradient, type Node, NodeTable } from "./derivative.ts";
import { type Protocol, parseProtocol } from "./grammar.ts";
import { minimize, type Table } from "./minimize.ts";
import { PackedTable } from "./packed.ts";

/** A minimal deterministic automaton. State 0 is the start. A number that is no state admits nothing. */
export interface Automaton {
  /** The messages that occur in some word of the language, sorted. */
  readonly alphabet: readonly string[];
  readonly stateCount: number;
  /** @returns the state after the message, or `undefined` where it is not admitted. */
  next(state: number, message: string): number | undefined;
  /** @returns the messages admitted in a state, sorted. */
  enabled(state: number): readonly string[];
  /** Whether the protocol may end here. Nothing enforces that it does: what is admitted is closed under prefixes. */
  accepting(state: number): boolean;
  /** What the transition table takes. */
  readonly sizeBytes: number;
}

/** @returns the automaton, or `malformed_request`: the column of an error, or the bound that was passed. */
export function compileProtocol(
  protocol: string | Protocol,
  budget = new Budget(PROTOCOL_WORK_MAX),
): Automaton | Refusal {
  const parsed = typeof protocol === "string" ? parseProtocol(protocol) : protocol;
  if (isRefusal(parsed)) return parsed;
  const gradients = explore(parsed, budget);
  return isRefusal(gradients) ? gradients : canonical(tabulate(gradients));
}

type States = ReadonlyMap<Node, Gradient>;

/** All derivatives of the protocol by words, each with its own gradient; the protocol itself comes first. */
function explore(protocol: Protocol, budget: Budget): States | Refusal {
  const nodes = new NodeTable(budget);
  const states = new Map<Node, Gradient>();
  const found = new Set([nodes.from(protocol)]);
  for (const state of found) {
    const gradient = nodes.gradient(state);
    if (nodes.exhausted) return tooLarge(`takes more than ${PROTOCOL_WORK_MAX} steps to compile`);
    states.set(state, gradient);
    for (const rest of gradient.values()) found.add(rest);
    if (found.size > PROTOCOL_STATES_MAX) return tooLarge(`has more than ${PROTOCOL_STATES_MAX} states`);
  }
  return states;
}

function tooLarge(what: string): Refusal {
  const advice = "interleave fewer parts with '&', or repeat less with {m,n}";
  return refuse("malformed_request", `the protocol ${what}: ${advice}`);
}

export interface LetteredTable extends Table {
  /** The message of each column. */
  readonly alphabet: readonly string[];
}

function tabulate(states: States): LetteredTable {
  const messages = new Set<string>();
  for (const gradient of states.values()) for (const message of gradient.keys()) messages.add(message);
  const alphabet = [...messages].toSorted();
  const columns = new Map(alphabet.map((message, column) => [message, column]));
  const rows = new Map([...states.keys()].map((state, row) => [state, row]));
  const table = blankTable(alphabet, states.size);
  for (const [state, gradient] of states) {
    const row = rows.get(state) ?? 0;
    table.accepting[row] = state.nullable ? 1 : 0;
    for (const [message, rest] of gradient)
      table.targets[row * table.width + (columns.get(message) ?? 0)] = rows.get(rest) ?? -1;
  }
  return table;
}

export function blankTable(alphabet: readonly string[], stateCount: number): LetteredTable {
  const width = alphabet.length;
  const targets = new Int16Array(stateCount * width).fill(-1);
  return { alphabet, width, stateCount, targets, accepting: new Uint8Array(stateCount) };
}

/** Merges equivalent states and numbers the classes, breadth first from the start. */
export function canonical(table: LetteredTable): Automaton {
  const { width, targets } = table;
  const classOf = minimize(table);
  const minimal = blankTable(table.alphabet, new Set(classOf).size);
  const numbers = new Map<number, number>();
  /** One state of each class found so far, in order of the classes' numbers: the queue of the search. */
  const samples: number[] = [];
  function numberOf(state: number): number {
    const known = numbers.get(classOf[state] ?? 0);
    if (known !== undefined) return known;
    const number = samples.push(state) - 1;
    numbers.set(classOf[state] ?? 0, number);
    return number;
  }
  numberOf(0);
  for (const [number, sample] of samples.entries()) {
    minimal.accepting[number] = table.accepting[sample] ?? 0;
    for (let column = 0; column < width; column++) {
      const target = targets[sample * width + column] ?? -1;
      if (target >= 0) minimal.targets[number * width + column] = numberOf(target);
    }
  }
  return new TableAutomaton(minimal);
}

class TableAutomaton implements Automaton {
  readonly alphabet: readonly string[];
  readonly stateCount: number;
  readonly sizeBytes: number;
  readonly #columns: ReadonlyMap<string, number>;
  /** A column for each message, and one more that holds something where the protocol may end. */
  readonly #cells: PackedTable;

  constructor(table: LetteredTable) {
    const { alphabet, width, stateCount, targets, accepting } = table;
    this.alphabet = alphabet;
    this.stateCount = stateCount;
    this.#columns = new Map(alphabet.map((message, column) => [message, column]));
    const cells = Array.from({ length: stateCount }, (_, state) => [
      ...targets.subarray(state * width, (state + 1) * width),
      accepting[state] === 1 ? 0 : -1,
    ]);
    this.#cells = new PackedTable(cells.flat(), width + 1, stateCount);
    this.sizeBytes = this.#cells.sizeBytes;
  }

  next(state: number, message: string): number | undefined {
    const column = this.#columns.get(message);
    if (column === undefined) return undefined;
    // Nothing is held outside the table, and nothing is not admitted: a damaged state number fails closed.
    const target = this.#cells.get(state, column);
    return target < 0 ? undefined : target;
  }

  enabled(state: number): readonly string[] {
    return this.alphabet.filter((message) => this.next(state, message) !== undefined);
  }

  accepting(state: number): boolean {
    return this.#cells.get(state, this.alphabet.length) >= 0;
  }
}
