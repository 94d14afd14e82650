/**
 * Where the monitors of a call stand, from message to message.
 *
 * The whole word is admitted before any of it runs. Should a turn become a narrower behaviour, what is left of the word
 * must be admitted under that one, too, before it goes on.
 */
import { isRefusal, type Refusal } from "../errors.ts";
import type { Monitor, MonitorStates, MovedByAnother, Step } from "../protocol/monitor.ts";
import type { Actor } from "./actor.ts";
import { goesOnUnder } from "./become.ts";
import type { BehaviourRecord } from "./entry.ts";
import type { Call, Protocols } from "./shard.ts";
import { ofCall } from "./word.ts";

/** The id of the behaviour's monitor: no caveat's has this form. */
export const BEHAVIOUR = "behaviour";

/** A behaviour with its monitor. */
interface Standing {
  readonly record: BehaviourRecord;
  readonly monitor: Monitor;
}

/** What the actor lives under, or would begin under. */
export function standingOf(
  { behaviour }: Actor,
  fresh: string,
  protocols: Pick<Protocols, "compile">,
): Standing | Refusal {
  const { expression, state, name } = behaviour ?? { expression: fresh, state: 0, name: undefined };
  return standingAt(name === undefined ? [expression, state] : [expression, state, name], protocols);
}

function standingAt(record: BehaviourRecord, protocols: Pick<Protocols, "compile">): Standing | Refusal {
  const [expression, , name] = record;
  const automaton = protocols.compile(expression);
  if (isRefusal(automaton)) return automaton;
  return { record, monitor: { id: BEHAVIOUR, automaton, ...(name !== undefined && { name }) } };
}

export interface CourseOptions {
  readonly call: Call;
  readonly protocols: Protocols;
  /** The actor's behaviour before the call. */
  readonly standing: Standing;
  /** Where all monitors stand before the call, and who has moved them last. */
  readonly states: MonitorStates;
  readonly others: MovedByAnother;
}

export class Course {
  readonly #options: CourseOptions;
  #standing: Standing;
  /** Where a behaviour has been left for a narrower one: the steps until then, and the monitors that they moved. */
  #left: Taken = { steps: new Map(), moved: new Set() };
  /** The steps of each message from there on, and the first of these messages. */
  #each: (readonly Step[])[] = [];
  #from = 0;
  /** A step of each monitor, over the whole word, from where it stood before the call. */
  #steps: ReadonlyMap<string, Step> = new Map();

  constructor(options: CourseOptions) {
    this.#options = options;
    this.#standing = options.standing;
  }

  /**
   * Admits the word, from one of its messages on.
   * @returns `out_of_order`, as it is at the message that is refused
   */
  admit(from = 0): Refusal | undefined {
    const { call, protocols, states, others } = this.#options;
    const monitors = [this.#standing.monitor, ...call.monitors];
    const { steps, moved } = copyOf(this.#left);
    this.#each = [];
    this.#from = from;
    this.#steps = steps;
    for (let index = from; index < call.word.length; index++) {
      const next = protocols.step(
        monitors,
        (id) => steps.get(id)?.to ?? states(id),
        call.word[index]?.name ?? "",
        call.messages,
        (id) => (moved.has(id) ? false : others(id)),
      );
      if (isRefusal(next)) return ofCall(call, index, next);
      this.#each.push(next);
      add(next, { steps, moved });
    }
    return undefined;
  }

  /** What each monitor does over the whole word, unless the actor becomes something. */
  get steps(): readonly Step[] {
    return [...this.#steps.values()];
  }

  /** What the actor lives under after the word. */
  get behaviour(): BehaviourRecord {
    return this.#under(this.#steps);
  }

  /** The turn of a message is done. @param become what the actor becomes by it */
  passed(index: number, become: string | undefined): Refusal | undefined {
    if (become === undefined) return undefined;
    const { call, protocols, states } = this.#options;
    const message = call.word[index];
    if (message === undefined) throw new Error("a message that is not in the word");
    const taken = copyOf(this.#left);
    for (const steps of this.#each.slice(0, index + 1 - this.#from)) add(steps, taken);
    const named = { message: message.name, reads: message.reads, become: call.become };
    const under = goesOnUnder(become, named, this.#under(taken.steps), protocols);
    const standing = isRefusal(under) ? under : standingAt(under, protocols);
    if (isRefusal(standing)) return ofCall(call, index, standing);
    taken.steps.set(BEHAVIOUR, { id: BEHAVIOUR, from: states(BEHAVIOUR), to: standing.record[1] });
    taken.moved.add(BEHAVIOUR);
    this.#left = taken;
    this.#standing = standing;
    return this.admit(index + 1);
  }

  #under(steps: ReadonlyMap<string, Step>): BehaviourRecord {
    const [expression, state, name] = this.#standing.record;
    const now = steps.get(BEHAVIOUR)?.to ?? state;
    return name === undefined ? [expression, now] : [expression, now, name];
  }
}

/** A step of each monitor from where it stood before the call, and those that have left a state meanwhile. */
interface Taken {
  readonly steps: Map<string, Step>;
  readonly moved: Set<string>;
}

function copyOf({ steps, moved }: Taken): Taken {
  return { steps: new Map(steps), moved: new Set(moved) };
}

function add(next: readonly Step[], { steps, moved }: Taken): void {
  for (const step of next) {
    const { id, from, to } = step;
    const before = steps.get(id);
    steps.set(id, before === undefined ? step : { id, from: before.from, to });
    if (from !== to) moved.add(id);
  }
}
