/**
 * What a message asks of the node that serves it, from the automata of its monitors (DESIGN section 5).
 *
 * A message that is a self-loop in every state of every monitor is admitted whatever was sent before, and moves
 * nothing: nobody needs to know where the monitors stand. All classes are of automata whose states can all be
 * reached, as `compileProtocol` makes them. More monitors only ever ask for more.
 */
import type { Automaton } from "./automaton.ts";

/**
 * From least to most that it asks: `free` is admitted always and moves nothing; `stays` is admitted now and then and
 * moves nothing; `steps` moves some monitor somewhere; `never` is admitted nowhere.
 */
export type OrderClass = "free" | "stays" | "steps" | "never";

const CLASSES: readonly OrderClass[] = ["free", "stays", "steps", "never"];

/**
 * @param automata of all monitors that a call must pass; without any, nothing holds a message back
 * @param become what the first of them may be replaced by: the behaviours that the actor may become
 */
export function orderClass(
  automata: readonly Automaton[],
  message: string,
  become: readonly Automaton[] = [],
): OrderClass {
  const worst = automata.map((automaton, index) =>
    CLASSES.indexOf(classIn(index === 0 ? [automaton, ...become] : [automaton], message)),
  );
  return CLASSES[Math.max(0, ...worst)] ?? "never";
}

/** In all states of all of them together: which of them is in force is not known. */
function classIn(automata: readonly Automaton[], message: string): OrderClass {
  let loops = 0;
  let moves = 0;
  let states = 0;
  for (const automaton of automata) {
    states += automaton.stateCount;
    for (let state = 0; state < automaton.stateCount; state++) {
      const to = automaton.next(state, message);
      if (to === state) loops++;
      else if (to !== undefined) moves++;
    }
  }
  if (moves > 0) return "steps";
  if (loops === states) return "free";
  return loops > 0 ? "stays" : "never";
}

/** What is known of a message besides its order. */
export interface MessageFacts {
  /** It may not change the state. */
  readonly reads: boolean;
  /** The actor has no state: there is nothing to read either. */
  readonly stateless: boolean;
}

export interface MessageClass {
  readonly order: OrderClass;
  /** Must the node that owns the actor serve it? Where not, any node may. */
  readonly owner: boolean;
  /** Can it change anything that must be durable before the answer? */
  readonly writes: boolean;
}

export function messageClass(
  automata: readonly Automaton[],
  message: string,
  { reads, stateless }: MessageFacts,
  become: readonly Automaton[] = [],
): MessageClass {
  const order = orderClass(automata, message, become);
  if (order === "never") return { order, owner: false, writes: false };
  return { order, owner: order !== "free" || !stateless, writes: order === "steps" || !(reads || stateless) };
}
