/**
 * Minimisation of a partial deterministic automaton by Hopcroft's partition refinement (Hopcroft 1971, in the
 * arrangement of Valmari and Lehtinen 2008): O(transitions × log states), so that no text makes it slow.
 *
 * Guarantees: two states get one class exactly if the same words lead from both to acceptance, provided that from
 * every state some word does. Which number a class gets depends on the automaton; nobody may rely on it.
 */

/** A transition table: rows of `width` targets, one row for each state, -1 where nothing is admitted. */
export interface Table {
  readonly stateCount: number;
  readonly width: number;
  readonly targets: Int16Array;
  /** 1 for each state in which the empty word is accepted. */
  readonly accepting: Uint8Array;
}

/** @returns the class of each state. */
export function minimize(table: Table): Uint16Array {
  const { stateCount, width } = table;
  const sources = invert(table);
  const partition = new Partition(stateCount);
  for (let state = 0; state < stateCount; state++) if (table.accepting[state] === 1) partition.mark(state);
  partition.split();

  // Without a dead state both first classes must split the others: neither is the complement of the other's sources.
  const waiting = new Set(partition.classes());
  for (const splitter of waiting) {
    waiting.delete(splitter);
    const members = partition.members(splitter);
    for (let column = 0; column < width; column++) {
      for (const target of members) for (const source of sources(target, column)) partition.mark(source);
      for (const [kept, created] of partition.split()) {
        // A class still waiting stands for both halves only if both wait; of one already used, the smaller suffices.
        const smaller = partition.size(created) < partition.size(kept) ? created : kept;
        waiting.add(waiting.has(kept) ? created : smaller);
      }
    }
  }
  return partition.classOf;
}

/** The states from which a message leads to a state: the transitions reversed, packed into one array. */
function invert(table: Table): (target: number, column: number) => Uint16Array {
  const { stateCount, width, targets } = table;
  const slot = (target: number, column: number) => target * width + column;
  // starts[s] is where the sources of slot s begin: count, sum up, then fill each slot from its end.
  const starts = new Uint32Array(stateCount * width + 1);
  targets.forEach((target, cell) => {
    if (target >= 0) increment(starts, slot(target, cell % width), 1);
  });
  for (let s = 1; s < starts.length; s++) increment(starts, s, starts[s - 1] ?? 0);
  const sources = new Uint16Array(starts.at(-1) ?? 0);
  targets.forEach((target, cell) => {
    if (target < 0) return;
    const at = increment(starts, slot(target, cell % width), -1);
    sources[at] = Math.floor(cell / width);
  });
  return (target, column) => {
    const s = slot(target, column);
    return sources.subarray(starts[s], starts[s + 1]);
  };
}

function increment(counts: Uint32Array, index: number, by: number): number {
  const sum = (counts[index] ?? 0) + by;
  counts[index] = sum;
  return sum;
}

/** States in classes; each class is a stretch of `#order`, its marked states at the front of the stretch. */
class Partition {
  readonly classOf: Uint16Array;
  readonly #order: Uint16Array;
  /** Where each state stands in `#order`. */
  readonly #places: Uint16Array;
  readonly #stretches: { start: number; end: number; marked: number }[];
  readonly #touched = new Set<number>();

  constructor(stateCount: number) {
    this.classOf = new Uint16Array(stateCount);
    this.#order = Uint16Array.from({ length: stateCount }, (_, state) => state);
    this.#places = this.#order.slice();
    this.#stretches = [{ start: 0, end: stateCount, marked: 0 }];
  }

  classes(): Iterable<number> {
    return this.#stretches.keys();
  }

  size(number: number): number {
    const { start, end } = this.#stretch(number);
    return end - start;
  }

  /** A copy: the class may be split while it is read. */
  members(number: number): Uint16Array {
    const { start, end } = this.#stretch(number);
    return this.#order.slice(start, end);
  }

  /** At most once for a state before `split`: by one message it leads to one target. */
  mark(state: number): void {
    const number = this.classOf[state] ?? 0;
    const stretch = this.#stretch(number);
    const border = stretch.start + stretch.marked;
    const place = this.#places[state] ?? 0;
    const other = this.#order[border] ?? 0;
    this.#put(other, place);
    this.#put(state, border);
    stretch.marked++;
    this.#touched.add(number);
  }

  /** Parts the marked states of each class from the others. @returns [class that kept its number, new class]. */
  split(): [number, number][] {
    const splits: [number, number][] = [];
    for (const number of this.#touched) {
      const stretch = this.#stretch(number);
      const border = stretch.start + stretch.marked;
      stretch.marked = 0;
      if (border === stretch.end) continue;
      const created = this.#stretches.push({ start: stretch.start, end: border, marked: 0 }) - 1;
      stretch.start = border;
      for (const state of this.members(created)) this.classOf[state] = created;
      splits.push([number, created]);
    }
    this.#touched.clear();
    return splits;
  }

  #put(state: number, place: number): void {
    this.#order[place] = state;
    this.#places[state] = place;
  }

  #stretch(number: number): { start: number; end: number; marked: number } {
    const stretch = this.#stretches[number];
    if (stretch === undefined) throw new RangeError(`no class ${number}`);
    return stretch;
  }
}
