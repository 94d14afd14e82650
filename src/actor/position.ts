/**
 * Where an actor stands for one token: which messages it may send now, and which only later.
 *
 * A message is left out where some monitor can never admit it again, whoever moves it: the token cannot send it.
 */
import type { Automaton } from "../protocol/automaton.ts";
import type { Monitor, MonitorStates } from "../protocol/monitor.ts";

export interface Position {
  /** The actor has begun: it has a state, or its behaviour has left the start. */
  readonly exists: boolean;
  /** The name of the behaviour that it has become; `undefined` where it lives under the first one. */
  readonly become: string | undefined;
  /** Each message that may be sent now or later, with the monitors that do not admit it yet: none where it may be now. */
  readonly messages: ReadonlyMap<string, readonly Monitor[]>;
}

/** @param names the messages that the actor knows and the token allows at all */
export function messagesFrom(
  monitors: readonly Monitor[],
  states: MonitorStates,
  names: Iterable<string>,
): Position["messages"] {
  const at = monitors.map((monitor) => {
    const state = states(monitor.id);
    return { monitor, state, ahead: messagesAhead(monitor.automaton, state) };
  });
  const messages = new Map<string, readonly Monitor[]>();
  for (const name of names) {
    if (!at.every(({ ahead }) => ahead.has(name))) continue;
    const closed = at.filter(({ monitor, state }) => monitor.automaton.next(state, name) === undefined);
    messages.set(
      name,
      closed.map(({ monitor }) => monitor),
    );
  }
  return messages;
}

/** The messages on all ways that go on from a state. */
function messagesAhead(automaton: Automaton, from: number): ReadonlySet<string> {
  const ahead = new Set<string>();
  const states = new Set([from]);
  for (const state of states) {
    for (const message of automaton.enabled(state)) {
      ahead.add(message);
      states.add(automaton.next(state, message) ?? state);
    }
    if (ahead.size === automaton.alphabet.length) break;
  }
  return ahead;
}
