/**
 * Where a function pays for which of its code.
 *
 * A meter is a place that pays, in advance, for the code that is charged to it; each piece of code is charged to a
 * meter that ran before it on every way there. The function's entry and each loop header are meters. So are the
 * places that may be passed by: an arm of an `if`, and what follows a block that some branch leaves past its end.
 * Without those, an interpreter would pay for all its cases at each of its steps. Where such a place has too little
 * code to be worth a charge of its own, the meter before it pays in its stead.
 */
import { OP } from "./opcodes.ts";
import type { Edit } from "./wasm-body.ts";

/**
 * What one meter may take on from places that may be passed by; it is paid for even where they are. A charge is six
 * instructions. With less the code of small branches grows by half, with more an interpreter pays twice its work.
 */
const TAKEN_ON_MAX = 32;

interface Meter {
  /** What the code that is charged to it costs. */
  cost: number;
  /** How much of that it took on. */
  taken_on: number;
  /** Where it pays; its value is 0 where it does not. None for the function's entry. */
  readonly edit: Edit | undefined;
  /** Who may pay in its stead; nobody for the function's entry and for a loop. */
  readonly before: Meter | undefined;
}

interface Block {
  /** Who pays for the code of this block, in order; the last one pays for what comes now. */
  readonly meters: Meter[];
  /** How many of them began before this block. */
  readonly inherited: 0 | 1;
  /** The outermost block that a branch goes to from within, by its depth; the function's own is 0. */
  leaves_to: number;
}

/** Follows the walk over one function. The function's own block is entered first. */
export class Meters {
  readonly #entry: Meter = { cost: 0, taken_on: 0, edit: undefined, before: undefined };
  readonly #blocks: Block[] = [];
  readonly #place: () => Edit;

  /** @param place an edit of the kind `charge`, where the walk now stands */
  constructor(place: () => Edit) {
    this.#place = place;
  }

  /** Of the function's entry, once the walk is over. */
  get entry_cost(): number {
    return this.#entry.cost;
  }

  pay(fuel: number): void {
    this.#now.cost += fuel;
  }

  /** @param kind the opcode that opens the block */
  enter(kind: number): void {
    const leaves_to = this.#blocks.length;
    if (kind === OP.block) this.#blocks.push({ meters: [this.#now], inherited: 1, leaves_to });
    else
      this.#blocks.push({
        meters: [this.#begin(kind === OP.if ? this.#now : undefined)],
        inherited: 0,
        leaves_to,
      });
  }

  /** The arm of an `if` is over, the other one begins. */
  otherwise(): void {
    const arm = this.#blocks.pop();
    if (arm === undefined) return;
    settleAll(arm);
    this.#blocks.push({ ...arm, meters: [this.#begin(this.#now)] });
  }

  close(): void {
    const block = this.#blocks.pop();
    if (block === undefined) return;
    settleAll(block);
    const outer = this.#blocks.at(-1);
    if (outer === undefined) return;
    outer.leaves_to = Math.min(outer.leaves_to, block.leaves_to);
    if (block.leaves_to < this.#blocks.length) this.pass();
  }

  /** A branch goes out of so many blocks: what follows their ends may be passed by. */
  leave(depth: number): void {
    const block = this.#blocks.at(-1);
    if (block !== undefined) block.leaves_to = Math.min(block.leaves_to, this.#blocks.length - 1 - depth);
  }

  /** What follows in this block may be passed by. */
  pass(): void {
    this.#blocks.at(-1)?.meters.push(this.#begin(this.#now));
  }

  get #now(): Meter {
    return this.#blocks.at(-1)?.meters.at(-1) ?? this.#entry;
  }

  #begin(before: Meter | undefined): Meter {
    return { cost: 0, taken_on: 0, edit: this.#place(), before };
  }
}

/** The last one first: each may leave its cost to the one before it, which is not settled yet. */
function settleAll({ meters, inherited }: Block): void {
  for (const { cost, edit, before } of meters.slice(inherited).toReversed()) {
    if (before !== undefined && before.taken_on + cost <= TAKEN_ON_MAX) {
      before.cost += cost;
      before.taken_on += cost;
    } else if (edit !== undefined) edit.value = cost;
  }
}
