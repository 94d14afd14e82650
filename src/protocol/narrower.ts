/**
 * Where one protocol is narrower than the rest of another: there an actor that lives under the other may go on under
 * it, and is prepared for no message that it was not prepared for anyway.
 *
 * Asked at `apply` for every state that the other can be in, and by the gate for the one that an actor is in: its
 * policy may have changed since it began. The gate's question is bounded as tightly as a compilation, and what takes
 * longer is refused at `apply` already.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { PROTOCOL_BECOME_WORK_MAX, PROTOCOL_INCLUSION_WORK_MAX } from "../limits.ts";
import type { Automaton } from "./automaton.ts";
import { Budget } from "./budget.ts";
import { findViolation, fresh, type Residual, type Violation } from "./inclusion.ts";

/** @returns a shortest word that the inner one admits and the rest of the outer one does not; `malformed_request` */
export function findWidening(inner: Automaton, outer: Residual): Violation | Refusal | undefined {
  return bounded(inner, outer, new Budget(PROTOCOL_BECOME_WORK_MAX));
}

function bounded(inner: Automaton, outer: Residual, budget: Budget): Violation | Refusal | undefined {
  const found = findViolation([fresh(inner)], [outer], budget);
  if (!budget.exhausted) return found;
  return refuse(
    "malformed_request",
    `it takes more than ${PROTOCOL_BECOME_WORK_MAX} steps to compare: give it fewer states`,
  );
}

/** One of an actor's behaviours, by its name in the policy. */
export interface NamedBehaviour {
  readonly name: string;
  readonly automaton: Automaton;
}

/** Where an actor can become what: from which behaviour, and after a shortest word from that one's start. */
export interface Entrance {
  readonly from: string;
  readonly after: readonly string[];
}

/**
 * @param first what the actor begins under
 * @param others what it may become
 * @returns an entrance of each of them that can be reached at all; `malformed_request` where that takes too long
 */
export function findEntrances(
  first: NamedBehaviour,
  others: readonly NamedBehaviour[],
  total = new Budget(PROTOCOL_INCLUSION_WORK_MAX),
): ReadonlyMap<string, Entrance> | Refusal {
  const entrances = new Map<string, Entrance>();
  const reached = [first];
  for (const { name: from, automaton } of reached) {
    for (const other of others) {
      if (entrances.has(other.name)) continue;
      for (const [state, after] of shortestWords(automaton)) {
        const budget = new Budget(PROTOCOL_BECOME_WORK_MAX);
        const found = bounded(other.automaton, { automaton, state }, budget);
        if (isRefusal(found)) return refuse(found.code, `${other.name} and ${from}: ${found.detail}`);
        if (!total.spend(budget.spent))
          return refuse(
            "malformed_request",
            `the behaviours take more than ${PROTOCOL_INCLUSION_WORK_MAX} steps to compare: name fewer, or give them fewer states`,
          );
        if (found !== undefined || entrances.has(other.name)) continue;
        entrances.set(other.name, { from, after });
        reached.push(other);
      }
    }
  }
  return entrances;
}

/** A shortest word to each state, breadth first. */
function shortestWords(automaton: Automaton): ReadonlyMap<number, readonly string[]> {
  const words = new Map<number, readonly string[]>([[0, []]]);
  for (const [state, word] of words) {
    for (const message of automaton.enabled(state)) {
      const to = automaton.next(state, message);
      if (to !== undefined && !words.has(to)) words.set(to, [...word, message]);
    }
  }
  return words;
}
