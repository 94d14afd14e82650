/**
 * Where a computed NaN gets its canonical form: as late as possible, and only where its bits can be seen.
 *
 * The specification leaves sign and payload of a computed NaN open. Arithmetic and comparisons treat all NaNs alike, so
 * a result that only they use may be any. What else takes it from the operand stack (a store, a call, a branch) could
 * show its bits: then there is a check behind the instruction that computed it. A variable that is only ever given
 * computed values or numbers may hold any NaN, too, and is checked where it is read to be shown; so a loop that adds up
 * pays nothing. A NaN that was moved in from elsewhere keeps its bits: where a variable may hold one, its computed values
 * are checked before they are put there.
 */
import { OP, TYPE } from "./opcodes.ts";
import type { Edit } from "./wasm-body.ts";
import type { Reader } from "./wasm-reader.ts";

export type NanKind = "nan32" | "nan64";

/** A float on the operand stack of which something is known. */
interface Known {
  /** Its place on the stack. */
  readonly height: number;
  /** Behind what has put it there; its value is 1 where the check is needed. None for what is no NaN. */
  readonly edit: Edit | undefined;
  /** The variable that it was read from; `undefined` where it was computed. */
  readonly local: number | undefined;
}

/** What happens to one variable. */
interface Flow {
  /** It may hold what was not computed here. */
  mixed: boolean;
  /** Checks of what was computed and put there. */
  readonly computed: Edit[];
  /** Read from another variable and put there. */
  readonly copied: { readonly from: number; readonly edit: Edit }[];
  /** Checks of what was read from it to be shown. */
  readonly shown: Edit[];
}

/** Does the instruction that was just read leave a float that is no NaN? A constant, or an integer as one. */
export function isNumber(code: number, { bytes, at }: Reader): boolean {
  if (code === OP.f32_const)
    return !Number.isNaN(new DataView(bytes.buffer, bytes.byteOffset).getFloat32(at - 4, true));
  if (code === OP.f64_const)
    return !Number.isNaN(new DataView(bytes.buffer, bytes.byteOffset).getFloat64(at - 8, true));
  return (
    (code >= OP.f32_convert_i32_s && code <= OP.f32_convert_i64_u) ||
    (code >= OP.f64_convert_i32_s && code <= OP.f64_convert_i64_u)
  );
}

/** Follows the walk over one function. */
export class Nans {
  readonly #types: readonly number[];
  readonly #parameters: number;
  readonly #place: (kind: NanKind) => Edit;
  readonly #known: Known[] = [];
  readonly #flows = new Map<number, Flow>();

  /**
   * @param types of all variables, parameters first
   * @param place an edit where the walk now stands, of value 0
   */
  constructor(types: readonly number[], parameters: number, place: (kind: NanKind) => Edit) {
    this.#types = types;
    this.#parameters = parameters;
    this.#place = place;
  }

  /** The value at that height was computed. */
  computed(kind: NanKind, height: number): void {
    this.#known.push({ height, edit: this.#place(kind), local: undefined });
  }

  /** The value at that height is a number. */
  number(height: number): void {
    this.#known.push({ height, edit: undefined, local: undefined });
  }

  /** The value at that height was read from a variable. */
  read(local: number, height: number): void {
    const type = this.#types[local];
    if (type !== TYPE.f32 && type !== TYPE.f64) return;
    this.#known.push({ height, edit: this.#place(type === TYPE.f32 ? "nan32" : "nan64"), local });
  }

  /** The value at that height is put into a variable. @param height `undefined`: nobody knows what is there */
  write(local: number, height: number | undefined): void {
    const flow = this.#flow(local);
    const top = this.#known.at(-1);
    if (top === undefined || top.height !== height) {
      flow.mixed = true;
      return;
    }
    this.#known.pop();
    if (top.edit === undefined) return;
    if (top.local === undefined) flow.computed.push(top.edit);
    else flow.copied.push({ from: top.local, edit: top.edit });
  }

  /** Values from that height on leave the operand stack, or may. @param seen by something that could tell NaNs apart */
  settle(height: number, seen: boolean): void {
    for (let last = this.#known.at(-1); last && last.height >= height; last = this.#known.at(-1)) {
      this.#known.pop();
      if (!seen || last.edit === undefined) continue;
      if (last.local === undefined) last.edit.value = 1;
      else this.#flow(last.local).shown.push(last.edit);
    }
  }

  /** Once the walk is over: decides where variables are checked. */
  end(): void {
    this.#spreadMixed();
    for (const { mixed, computed, copied, shown } of this.#flows.values()) {
      for (const edit of mixed ? computed : shown) edit.value = 1;
      if (!mixed) continue;
      // What such a variable holds is shown as it is, so what comes into it must be as it should.
      for (const { from, edit } of copied) if (!this.#flow(from).mixed) edit.value = 1;
    }
  }

  /** Who takes from a variable that may hold anything may hold anything. */
  #spreadMixed(): void {
    const takers = new Map<number, number[]>();
    for (const [local, { copied }] of this.#flows) {
      for (const { from } of copied) {
        const known = takers.get(from);
        if (known === undefined) takers.set(from, [local]);
        else known.push(local);
      }
    }
    const left = [...takers.keys(), ...this.#flows.keys()].filter((local) => this.#flow(local).mixed);
    for (let local = left.pop(); local !== undefined; local = left.pop()) {
      for (const taker of takers.get(local) ?? []) {
        const flow = this.#flow(taker);
        if (!flow.mixed) left.push(taker);
        flow.mixed = true;
      }
      takers.delete(local);
    }
  }

  #flow(local: number): Flow {
    const known = this.#flows.get(local);
    if (known !== undefined) return known;
    const flow: Flow = { mixed: local < this.#parameters, computed: [], copied: [], shown: [] };
    this.#flows.set(local, flow);
    return flow;
  }
}
