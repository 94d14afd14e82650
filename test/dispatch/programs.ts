/**
 * Random valid Wasm programs that always end, made from a list of decisions so that fast-check can shrink them.
 *
 * They have what the fuel pass touches: nested blocks and loops with parameters and several results, early
 * returns, branches to every label up to the function's own, br_table, dead code, calls of functions with
 * several results, bulk memory, memory growth, and traps.
 */
import { bytesOf, I32, I64 } from "./guests.ts";

const END = 0x0b;
/** Block types by index, behind the three of `bytesOf`. */
const PAIR_TO_PAIR = 3;
const TO_PAIR = 4;
const I32_TO_I32 = 5;

type Type = typeof I32 | typeof I64;

interface Label {
  /** What a branch to it carries. */
  readonly types: readonly Type[];
  /** Only the loop's own counted branch may go back. */
  readonly loop: boolean;
}

/** Locals: 0 and 1 are parameters; then two i64, one i32 for each loop of the function. */
const LONGS = [2, 3];
const COUNTERS_START = 4;
const COUNTERS = 12;

/** Work that each statement of a counted program begins with: global 0 counts it, and so much costs nothing else. */
const COUNTED = [
  0x23,
  0,
  0x42,
  1,
  0x7c,
  0x24,
  0,
  ...Array.from({ length: 20 }, () => [0x41, 0, 0x1a]).flat(),
];
export const COUNTED_FUEL = 4 + 20 * 2;

class Generator {
  readonly #decisions: readonly number[];
  readonly #counted: boolean;
  #at = 0;
  #counters = 0;
  #out: number[] = [];
  #labels: Label[] = [];
  #callee: number | undefined;

  constructor(decisions: readonly number[], counted: boolean) {
    this.#decisions = decisions;
    this.#counted = counted;
  }

  /** Function bodies that call only the next one, so no recursion. */
  body(results: readonly Type[], callee: number | undefined): number[] {
    this.#out = [2, LONGS.length, I64, COUNTERS, I32];
    this.#labels = [{ types: results, loop: false }];
    this.#callee = callee;
    this.#counters = 0;
    this.#statements(4);
    for (const type of results) this.#value(type, 3);
    return [...this.#out, END];
  }

  #pick(count: number): number {
    const decision = this.#decisions[this.#at++] ?? 0;
    return decision % count;
  }

  #emit(...bytes: readonly number[]): void {
    this.#out.push(...bytes);
  }

  #statements(depth: number): void {
    for (let count = this.#pick(4); count > 0; count--) this.#statement(depth);
  }

  #statement(depth: number): void {
    if (this.#counted) this.#emit(...COUNTED);
    const kinds = depth > 0 ? 13 : 4;
    switch (this.#pick(kinds)) {
      case 0:
        this.#value(I64, depth);
        return this.#emit(0x21, LONGS[this.#pick(2)] ?? 2);
      case 1: // i64.store
        this.#address(depth);
        this.#value(I64, depth);
        return this.#emit(0x37, 0, 8);
      case 2:
        return (this.#value(I64, depth), this.#emit(0x1a));
      case 3:
        return this.#emit(0x01);
      case 4:
        return this.#nest([0x02, 0x40], { types: [], loop: false }, depth);
      case 5:
        this.#value(I32, depth - 1);
        return this.#nest([0x04, 0x40], { types: [], loop: false }, depth);
      case 6:
        return this.#loop(depth);
      case 7:
        return this.#branch(depth);
      case 8:
        return this.#branchTable(depth);
      case 9: // if (…) return …
        this.#value(I32, depth - 1);
        this.#emit(0x04, 0x40);
        this.#labels.push({ types: [], loop: false });
        for (const type of this.#labels[0]?.types ?? []) this.#value(type, depth - 1);
        this.#emit(0x0f);
        this.#statements(depth - 1);
        this.#labels.pop();
        return this.#emit(END);
      case 10: // memory.fill or memory.copy, sometimes out of bounds
        this.#address(depth - 1);
        this.#value(I32, 0);
        this.#emit(0x41, ...([[0], [9], [0xff, 0x00], [0x80, 0x80, 0x08]][this.#pick(4)] ?? [0]));
        return this.#pick(2) === 0 ? this.#emit(0xfc, 11, 0) : this.#emit(0xfc, 10, 0, 0);
      case 11: // memory.grow by 0, 1 or far too much
        this.#emit(0x41, ...([[0], [1], [0x80, 0x80, 0x04]][this.#pick(3)] ?? [0]));
        return this.#emit(0x40, 0, 0x1a);
      default:
        return this.#pairs(depth);
    }
  }

  #nest(head: readonly number[], label: Label, depth: number): void {
    this.#emit(...head);
    this.#labels.push(label);
    this.#statements(depth - 1);
    this.#labels.pop();
    this.#emit(END);
  }

  /** A loop that goes round up to four times: empty, or with an i32 going through it. */
  #loop(depth: number): void {
    if (this.#counters >= COUNTERS) return;
    const counter = COUNTERS_START + this.#counters++;
    const carries = this.#pick(2) === 1;
    this.#emit(0x41, this.#pick(5), 0x21, counter);
    if (carries) this.#value(I32, depth - 1);
    this.#emit(0x03, carries ? I32_TO_I32 : 0x40);
    this.#labels.push({ types: [], loop: true });
    this.#statements(depth - 1);
    if (carries) this.#emit(0x41, 3, 0x6a);
    this.#labels.pop();
    this.#emit(0x20, counter, 0x41, 1, 0x6b, 0x22, counter, 0x41, 0, 0x4a, 0x0d, 0, END);
    if (carries) this.#emit(0x1a);
  }

  #target(): { readonly depth: number; readonly types: readonly Type[] } {
    const depth = this.#pick(this.#labels.length);
    const label = this.#labels.at(-1 - depth);
    if (label !== undefined && !label.loop) return { depth, types: label.types };
    return { depth: this.#labels.length - 1, types: this.#labels[0]?.types ?? [] };
  }

  /** br (with dead code behind it) or br_if. */
  #branch(depth: number): void {
    const { depth: label, types } = this.#target();
    for (const type of types) this.#value(type, depth - 1);
    if (this.#pick(4) === 0) {
      this.#emit(0x0c, label);
      return this.#statements(depth - 1);
    }
    this.#value(I32, depth - 1);
    this.#emit(0x0d, label);
    for (const _ of types) this.#emit(0x1a);
  }

  /** Three empty blocks around a br_table to each of them. */
  #branchTable(depth: number): void {
    const empty: Label = { types: [], loop: false };
    for (let i = 0; i < 3; i++) this.#emit(0x02, 0x40);
    this.#labels.push(empty, empty, empty);
    this.#value(I32, depth - 1);
    this.#emit(0x0e, 3, this.#pick(3), this.#pick(3), this.#pick(3), this.#pick(3));
    for (let i = 0; i < 3; i++) {
      this.#statements(depth - 2);
      this.#labels.pop();
      this.#emit(END);
    }
  }

  /** (i32, i64) out of a block, a block with parameters, or a call. */
  #pairs(depth: number): void {
    const label: Label = { types: [I32, I64], loop: false };
    const kind = this.#pick(3);
    if (kind === 2 && this.#callee !== undefined) {
      this.#value(I32, depth - 1);
      this.#value(I64, depth - 1);
      this.#emit(0x10, this.#callee);
    } else {
      if (kind === 1) {
        this.#value(I32, depth - 1);
        this.#value(I64, depth - 1);
        this.#emit(0x02, PAIR_TO_PAIR, 0x1a, 0x1a);
      } else this.#emit(0x02, TO_PAIR);
      this.#labels.push(label);
      this.#statements(depth - 1);
      this.#value(I32, depth - 1);
      this.#value(I64, depth - 1);
      this.#labels.pop();
      this.#emit(END);
    }
    this.#emit(0x21, LONGS[this.#pick(2)] ?? 2, 0x1a);
  }

  #address(depth: number): void {
    this.#value(I32, depth - 1);
    if (this.#pick(8) !== 0) this.#emit(0x41, 0xff, 0x07, 0x71);
  }

  #value(type: Type, depth: number): void {
    const kind = this.#pick(depth > 0 ? 7 : 2);
    const isLong = type === I64;
    if (kind === 0) return this.#emit(isLong ? 0x42 : 0x41, this.#pick(128));
    if (kind === 1) return isLong ? this.#emit(0x20, LONGS[this.#pick(2)] ?? 2) : this.#emit(0x20, 0);
    if (kind === 2) {
      this.#value(type, depth - 1);
      this.#value(type, depth - 1);
      const ops = isLong ? [0x7c, 0x7d, 0x7e, 0x85, 0x88, 0x80] : [0x6a, 0x6b, 0x6c, 0x73, 0x76, 0x6e];
      return this.#emit(ops[this.#pick(6)] ?? 0x7c);
    }
    if (kind === 3) {
      this.#value(isLong ? I32 : I64, depth - 1);
      return this.#emit(isLong ? 0xad : 0xa7);
    }
    if (kind === 4) {
      this.#address(depth);
      return this.#emit(isLong ? 0x29 : 0x28, 0, 16);
    }
    if (kind === 5 && !isLong) return this.#emit(0x3f, 0);
    this.#value(I32, depth - 1);
    this.#emit(0x04, type);
    this.#labels.push({ types: [type], loop: false });
    this.#value(type, depth - 1);
    this.#emit(0x05);
    this.#statements(depth - 1);
    this.#value(type, depth - 1);
    this.#labels.pop();
    this.#emit(END);
  }
}

/** @param counted it counts its statements in the exported global `steps` */
export function program(decisions: readonly number[], counted = false): Uint8Array<ArrayBuffer> {
  const generator = new Generator(decisions, counted);
  const handle = generator.body([I64], 2);
  const functions = [
    { type: PAIR_TO_PAIR, body: generator.body([I32, I64], 3) },
    { type: PAIR_TO_PAIR, body: generator.body([I32, I64], undefined) },
  ];
  const types = [
    [0x60, 2, I32, I64, 2, I32, I64],
    [0x60, 0, 2, I32, I64],
    [0x60, 1, I32, 1, I32],
  ];
  const counter = { globals: [[I64, 1, 0x42, 0, END]], exports: [["steps", 3, 0]] } as const;
  return bytesOf({ types, handle, functions, memory: [1, 1, 3], ...(counted && counter) });
}
