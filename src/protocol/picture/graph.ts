/** An automaton as what a picture shows: states, and one edge for all messages that lead from one to another. */
import type { Automaton } from "../automaton.ts";

export interface State {
  readonly number: number;
  /** The protocol may end here. */
  readonly accepting: boolean;
  /** Messages after which it is still here, sorted. */
  readonly loops: readonly string[];
  /** The protocol stands here. */
  readonly current: boolean;
}

/** Never from a state to itself, and at most one from one state to another. */
export interface Edge {
  readonly from: number;
  readonly to: number;
  /** Sorted; at least one. */
  readonly messages: readonly string[];
}

export interface Graph {
  /** By number; all can be reached from the first. */
  readonly states: readonly State[];
  /** By `from`, then in the order in which the messages lead away. */
  readonly edges: readonly Edge[];
}

/** @param current where the protocol stands: its start, unless messages were sent */
export function graphOf(automaton: Automaton, current = 0): Graph {
  const states: State[] = [];
  const edges: Edge[] = [];
  for (let number = 0; number < automaton.stateCount; number++) {
    const messages = new Map<number, string[]>();
    for (const message of automaton.enabled(number)) {
      const to = automaton.next(number, message) ?? number;
      messages.set(to, [...(messages.get(to) ?? []), message]);
    }
    const accepting = automaton.accepting(number);
    states.push({ number, accepting, loops: messages.get(number) ?? [], current: number === current });
    messages.delete(number);
    for (const [to, all] of messages) edges.push({ from: number, to, messages: all });
  }
  return { states, edges };
}
