/**
 * Becoming: a turn names the behaviour that its actor goes on under (Gordon 2025 has it from Hewitt's actors).
 *
 * It is one of those that the policy declares, and admits nothing that what is left of the current one, after the turn's
 * own message, does not admit: an actor only ever narrows what it is prepared for, so no order that was promised is
 * broken. A turn that would widen it is refused whole.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Automaton } from "../protocol/automaton.ts";
import type { Residual, Violation } from "../protocol/inclusion.ts";
import type { BehaviourRecord } from "./entry.ts";

/** A call, as far as it matters here. */
interface Named {
  readonly message: string;
  readonly reads: boolean;
  /** The behaviours that the policy names. */
  readonly become: ReadonlyMap<string, string>;
}

export interface Narrowing {
  compile(expression: string): Automaton | Refusal;
  /** A word that the inner one admits and what is left of the outer one does not. */
  widening(inner: Automaton, outer: Residual): Violation | Refusal | undefined;
}

/**
 * @param name what the turn became; `undefined` where it became nothing
 * @param now the actor's behaviour after the turn's message
 * @returns the behaviour that the actor goes on under; `handler_invalid`
 */
export function goesOnUnder(
  name: string | undefined,
  { message, reads, become }: Named,
  now: BehaviourRecord,
  protocols: Narrowing,
): BehaviourRecord | Refusal {
  if (name === undefined) return now;
  if (reads) return invalid(`${message} is declared to read only, but the handler became ${shown(name)}`);
  const expression = become.get(name);
  if (expression === undefined) {
    const known = [...become.keys()].join(", ") || "nothing";
    return invalid(`the handler became ${shown(name)}, which the policy does not name; it names ${known}`);
  }
  const [inner, outer] = [protocols.compile(expression), protocols.compile(now[0])];
  if (isRefusal(inner)) return inner;
  if (isRefusal(outer)) return outer;
  const wider = protocols.widening(inner, { automaton: outer, state: now[1] });
  if (wider === undefined) return [expression, 0, name];
  const why = isRefusal(wider) ? wider.detail : describe(wider);
  return invalid(`the handler became ${name} (${expression}), which is no narrower: ${why}`);
}

function describe({ word, enabled }: Violation): string {
  const messages = word.map(({ message }) => message);
  const before = messages.slice(0, -1).join(", ") || "nothing";
  return `after ${before} it admits ${messages.at(-1)}, where the actor was prepared for ${enabled.join(", ") || "nothing"}`;
}

const shown = (name: string): string => JSON.stringify(name);

function invalid(detail: string): Refusal {
  return refuse("handler_invalid", detail);
}
