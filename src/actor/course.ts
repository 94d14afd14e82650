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
  /** Of the messages whose turns are done: a step of each monitor from where it stood before the call. */
  readonly #done = new Map<string, Step>();
  /** Monitors that this call has moved. */
  readonly #moved = new Set<string>();
  /** The steps of each message that is still to come, the next one first. */
  #ahead: (readonly Step[])[] = [];

  constructor(options: CourseOptions) {
    this.#options = options;
    this.#standing = options.standing;
  }

  /**
   * Admits the word, from one of its messages on.
   * @returns `out_of_order`, as it is at the message that is refused
   */
  admit(from = 0): Refusal | undefined {
    const { call, protocols, states } = this.#options;
    const monitors = [this.#standing.monitor, ...call.monitors];
    const taken = new Map(this.#done);
    const moved = new Set(this.#moved);
    this.#ahead = [];
    for (let index = from; index < call.word.length; index++) {
      const steps = protocols.step(
        monitors,
        (id) => taken.get(id)?.to ?? states(id),
        call.word[index]?.name ?? "",
        call.messages,
        (id) => (moved.has(id) ? false : this.#options.others(id)),
      );
      if (isRefusal(steps)) return ofCall(call, index, steps);
      this.#ahead.push(steps);
      this.#add(steps, taken, moved);
    }
    return undefined;
  }

  /** What each monitor does over the whole word, unless the actor becomes something. */
  get steps(): Iterable<Step> {
    const all = new Map(this.#done);
    for (const steps of this.#ahead) this.#add(steps, all, new Set());
    return all.values();
  }

  /** The behaviour after the messages whose turns are done. */
  get behaviour(): BehaviourRecord {
    const [expression, state, name] = this.#standing.record;
    const now = this.#done.get(BEHAVIOUR)?.to ?? state;
    return name === undefined ? [expression, now] : [expression, now, name];
  }

  /** The turn of a message is done. @param become what the actor becomes by it */
  passed(index: number, become: string | undefined): Refusal | undefined {
    const { call, protocols, states } = this.#options;
    const message = call.word[index];
    const steps = this.#ahead.shift();
    if (message === undefined || steps === undefined) throw new Error("a message passes twice");
    this.#add(steps, this.#done, this.#moved);
    if (become === undefined) return undefined;
    const named = { message: message.name, reads: message.reads, become: call.become };
    const under = goesOnUnder(become, named, this.behaviour, protocols);
    const standing = isRefusal(under) ? under : standingAt(under, protocols);
    if (isRefusal(standing)) return ofCall(call, index, standing);
    this.#standing = standing;
    this.#done.set(BEHAVIOUR, { id: BEHAVIOUR, from: states(BEHAVIOUR), to: standing.record[1] });
    this.#moved.add(BEHAVIOUR);
    return this.admit(index + 1);
  }

  #add(steps: readonly Step[], to: Map<string, Step>, moved: Set<string>): void {
    for (const { id, from, to: next } of steps) {
      to.set(id, { id, from: this.#options.states(id), to: next });
      if (from !== next) moved.add(id);
    }
  }
}
