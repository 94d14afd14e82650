/**
 * Is a recorded history linearizable? That is: is there one order of its operations that agrees with real time (what
 * returned before another was invoked comes first) and in which a sequential model gives the recorded outputs?
 *
 * The search of J. M. Wing and C. Gong, "Testing and Verifying Concurrent Objects" (JPDC 17, 1993), with the memory
 * of configurations from G. Lowe, "Testing for linearizability" (CCPE 29(4), 2017): a set of linearized operations
 * with the state after it is tried once. With few clients at a time it takes a few steps an operation; each operation
 * that was never answered may double them. It never guesses: past its bound of steps the verdict is `undecided`.
 */

/** Primitive, so that equal states are the same value; states that behave differently must differ. */
export type State = string | number;
export type Output = string | number;

export interface Model<Input> {
  readonly initial: State;
  step(state: State, input: Input): { readonly state: State; readonly output: Output };
}

export interface Operation<Input> {
  readonly input: Input;
  readonly invoked_at: number;
  /** `undefined`: it was never answered, and takes effect at any time after its invocation, or never. */
  readonly returned: { readonly at: number; readonly output: Output } | undefined;
}

export type Verdict<Input> =
  | { readonly verdict: "linearizable"; readonly steps: number }
  | { readonly verdict: "undecided"; readonly steps: number }
  | {
      readonly verdict: "violated";
      readonly steps: number;
      /** The first operation whose output no order explains, however those before it are ordered. */
      readonly stuck: Operation<Input>;
      /** One of the states in which the search met it, and how many operations had led there. */
      readonly state: State;
      readonly linearized: number;
    };

/** Enough for a hundred thousand operations, and an end within a minute or two where unanswered ones multiply. */
const STEPS_MAX = 10_000_000;

export function checkLinearizable<Input>(
  model: Model<Input>,
  history: readonly Operation<Input>[],
  steps_max = STEPS_MAX,
): Verdict<Input> {
  return new Search(model, history).run(steps_max);
}

/** The invocation or the return of an answered operation, in a doubly linked list ordered by time. */
interface Event<Input> {
  readonly operation: Operation<Input>;
  readonly at: number;
  /** Position among the answered operations, by invocation. */
  readonly index: number;
  /** The return that belongs to an invocation; a return has none. */
  readonly match: Event<Input> | undefined;
  previous: Link<Input>;
  next: Event<Input> | undefined;
}

/** What stands before an event: another one, or the head of the list. */
interface Link<Input> {
  next: Event<Input> | undefined;
}

/** One step of the search, and what a step back needs. */
type Taken<Input> = { readonly state: State } & (
  | { readonly call: Event<Input>; readonly top: number }
  | { readonly unanswered: number }
);

/** Answered operations are tried first: every subset of the unanswered ones may have taken effect by now. */
class Search<Input> {
  readonly #model: Model<Input>;
  readonly #head: Link<Input>;
  readonly #answered: number;
  readonly #unanswered: readonly Operation<Input>[];
  #state: State;
  readonly #taken: Taken<Input>[] = [];
  #linearized = 0;
  /** The answered operations up to `top` are linearized, all but the skipped: these are as few as the clients. */
  #top = -1;
  readonly #skipped = new Set<number>();
  /** Unanswered operations that were given an effect. */
  readonly #applied = new Set<number>();
  readonly #seen = new Set<string>();
  #deepest: { stuck: Operation<Input>; state: State; linearized: number } | undefined;

  constructor(model: Model<Input>, history: readonly Operation<Input>[]) {
    const ordered = history.toSorted((a, b) => a.invoked_at - b.invoked_at);
    this.#model = model;
    this.#state = model.initial;
    this.#unanswered = ordered.filter(({ returned }) => returned === undefined);
    this.#answered = history.length - this.#unanswered.length;
    this.#head = linkedEvents(ordered);
  }

  run(steps_max: number): Verdict<Input> {
    let event = this.#head.next;
    let unanswered = 0;
    let steps = 0;
    while (this.#linearized < this.#answered && event !== undefined) {
      steps++;
      if (steps > steps_max) return { verdict: "undecided", steps };
      if (event.match !== undefined) {
        event = this.#linearize(event, event.match) ? this.#head.next : event.next;
      } else if ((this.#unanswered[unanswered]?.invoked_at ?? Infinity) <= event.at) {
        // Whatever comes after this return was invoked after it: the operation itself had to come before.
        const applied = this.#apply(unanswered);
        if (applied) event = this.#head.next;
        unanswered = applied ? 0 : unanswered + 1;
      } else {
        this.#remember(event);
        const back = this.#stepBack();
        if (back === undefined) return this.#violated(steps);
        event = "call" in back ? back.call.next : this.#firstReturn();
        unanswered = "call" in back ? 0 : back.unanswered + 1;
      }
    }
    return { verdict: "linearizable", steps };
  }

  /** Takes an answered operation as the next one, where the model agrees and this leads to something new. */
  #linearize(call: Event<Input>, match: Event<Input>): boolean {
    const { operation, index } = call;
    const { state, output } = this.#model.step(this.#state, operation.input);
    if (output !== operation.returned?.output) return false;
    const top = this.#top;
    this.#mark(index);
    if (!this.#isNew(state)) {
      this.#unmark(index, top);
      return false;
    }
    this.#taken.push({ state: this.#state, call, top });
    this.#state = state;
    unlink(call);
    unlink(match);
    return true;
  }

  /** Gives an unanswered operation its effect now. One without an effect explains nothing. */
  #apply(unanswered: number): boolean {
    const operation = this.#unanswered[unanswered];
    if (operation === undefined || this.#applied.has(unanswered)) return false;
    const { state } = this.#model.step(this.#state, operation.input);
    if (state === this.#state) return false;
    this.#applied.add(unanswered);
    if (!this.#isNew(state)) {
      this.#applied.delete(unanswered);
      return false;
    }
    this.#taken.push({ state: this.#state, unanswered });
    this.#state = state;
    return true;
  }

  #stepBack(): Taken<Input> | undefined {
    const last = this.#taken.pop();
    if (last === undefined) return undefined;
    this.#state = last.state;
    if ("unanswered" in last) {
      this.#applied.delete(last.unanswered);
      return last;
    }
    const { call, top } = last;
    if (call.match !== undefined) relink(call.match);
    relink(call);
    this.#unmark(call.index, top);
    return last;
  }

  #mark(index: number): void {
    this.#linearized++;
    this.#skipped.delete(index);
    if (index < this.#top) return;
    for (let between = this.#top + 1; between < index; between++) this.#skipped.add(between);
    this.#top = index;
  }

  #unmark(index: number, top: number): void {
    this.#linearized--;
    for (let between = top + 1; between < index; between++) this.#skipped.delete(between);
    if (index < top) this.#skipped.add(index);
    this.#top = top;
  }

  /** Whether nobody has been in this state with the same operations behind; notes that somebody has now. */
  #isNew(state: State): boolean {
    const sorted = (numbers: ReadonlySet<number>): string => [...numbers].toSorted((a, b) => a - b).join();
    const done = `${this.#top};${sorted(this.#skipped)};${sorted(this.#applied)}`;
    const before = this.#seen.size;
    return this.#seen.add(`${done};${JSON.stringify(state)}`).size > before;
  }

  #firstReturn(): Event<Input> | undefined {
    let event = this.#head.next;
    while (event?.match !== undefined) event = event.next;
    return event;
  }

  #remember({ operation }: Event<Input>): void {
    if (this.#linearized < (this.#deepest?.linearized ?? 0)) return;
    this.#deepest = { stuck: operation, state: this.#state, linearized: this.#linearized };
  }

  #violated(steps: number): Verdict<Input> {
    if (this.#deepest === undefined) throw new Error("the search ended without meeting a return");
    return { verdict: "violated", steps, ...this.#deepest };
  }
}

/** @returns the head of the list. At one moment invocations come before returns: what touches is concurrent. */
function linkedEvents<Input>(ordered: readonly Operation<Input>[]): Link<Input> {
  const head: Link<Input> = { next: undefined };
  const events: Event<Input>[] = [];
  let index = 0;
  for (const operation of ordered) {
    const { invoked_at, returned } = operation;
    if (returned === undefined) continue;
    const unlinked = { operation, index: index++, previous: head, next: undefined };
    const match = { ...unlinked, at: returned.at, match: undefined };
    events.push({ ...unlinked, at: invoked_at, match }, match);
  }
  events.sort((a, b) => a.at - b.at || Number(a.match === undefined) - Number(b.match === undefined));
  let last = head;
  for (const event of events) {
    last.next = event;
    event.previous = last;
    last = event;
  }
  return head;
}

function unlink<Input>({ previous, next }: Event<Input>): void {
  previous.next = next;
  if (next !== undefined) next.previous = previous;
}

/** Undoes `unlink`, in the opposite order of the unlinking: the event still knows its neighbours. */
function relink<Input>(event: Event<Input>): void {
  event.previous.next = event;
  if (event.next !== undefined) event.next.previous = event;
}
