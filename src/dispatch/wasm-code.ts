/**
 * One bounded walk over one function's code.
 *
 * `readBody` checks every instruction against the whitelist and the bounds, and answers where the fuel pass
 * has to change the code, with the costs already summed (wasm-meters.ts). Between two passes of a meter each
 * instruction that is charged to it runs at most once, so what it pays is an upper bound of the work.
 */
import {
  WASM_BLOCK_NESTING_MAX,
  WASM_BR_TABLE_TARGETS_MAX,
  WASM_FUNCTION_BYTES_MAX,
  WASM_LOCALS_MAX,
} from "../limits.ts";
import {
  bulkUnit,
  explainForbidden,
  INSTRUCTIONS,
  INSTRUCTIONS_FC,
  isValueType,
  OP,
  TYPE,
} from "./opcodes.ts";
import type { AdmissionProblem, FunctionType, Module, ProblemCode } from "./wasm-binary.ts";
import { type Body, type Edit, type Frame, isNeedless, NO_VALUES, whyTooHeavy } from "./wasm-body.ts";
import { skipImmediate } from "./wasm-immediates.ts";
import { Meters } from "./wasm-meters.ts";
import { nameFunction } from "./wasm-names.ts";
import { isNumber, Nans } from "./wasm-nans.ts";
import { Reader } from "./wasm-reader.ts";
import { refusedType } from "./wasm-sections.ts";

export function readBody(module: Module, index: number): Body | AdmissionProblem {
  const span = module.bodies[index];
  const type = module.types[module.functions[index] ?? -1];
  if (span === undefined || type === undefined)
    return { code: "module_invalid", detail: `function ${index} has no type` };
  if (span.end - span.start > WASM_FUNCTION_BYTES_MAX) {
    const size = `${span.end - span.start} bytes of code; at most ${WASM_FUNCTION_BYTES_MAX} are admitted`;
    return {
      code: "bound_exceeded",
      detail: `${nameFunction(module, index)} at byte ${span.start} has ${size}: split it`,
    };
  }
  return new BodyWalk(module, index, type, new Reader(module.bytes, span.start, span.end)).run();
}

class BodyWalk {
  readonly #module: Module;
  readonly #index: number;
  readonly #type: FunctionType;
  readonly #reader: Reader;
  /** Where the function stands in the module. */
  readonly #start: number;
  readonly #frames: Frame[] = [];
  readonly #edits: Edit[] = [];
  readonly #meters = new Meters(() => this.#edit("charge", this.#reader.at, 0));
  #height = 0;
  #height_max = 0;
  #nans = new Nans([], 0, () => this.#edit("nan64", this.#reader.at, 0));
  #calls = false;
  #problem: AdmissionProblem | undefined;

  constructor(module: Module, index: number, type: FunctionType, reader: Reader) {
    this.#module = module;
    this.#index = index;
    this.#type = type;
    this.#reader = reader;
    this.#start = reader.at;
  }

  run(): Body | AdmissionProblem {
    const reader = this.#reader;
    const local_groups = reader.u32();
    const groups_start = reader.at;
    const types = this.#readLocals(local_groups);
    const locals = types.length;
    this.#nans = new Nans(types, this.#type.params.length, (kind) => this.#edit(kind, this.#reader.at, 0));
    const code_start = reader.at;
    this.#frames.push({ kind: OP.block, type: this.#type, base: 0 });
    this.#meters.enter(OP.block);
    while (this.#frames.length > 0 && reader.failure === undefined && this.#problem === undefined)
      this.#step();
    if (reader.failure === undefined && this.#problem === undefined && !reader.done)
      reader.fail("code after the function's end");
    if (this.#problem !== undefined) return this.#problem;
    if (reader.failure !== undefined)
      return {
        code: "module_invalid",
        detail: `${nameFunction(this.#module, this.#index)}: ${reader.failure}`,
      };
    this.#nans.end();
    const edits = this.#edits.filter((edit) => !isNeedless(edit));
    return this.#checkSlots({
      index: this.#index,
      type: this.#type,
      local_groups,
      groups_start,
      code_start,
      code_end: reader.end,
      locals,
      stack: this.#height_max,
      charges: edits.filter(({ kind }) => kind === "charge").length,
      nans: edits.filter(({ kind }) => kind === "nan32" || kind === "nan64").length,
      calls: this.#calls,
      entry_cost: this.#meters.entry_cost + locals,
      edits,
    });
  }

  #checkSlots(body: Body): Body | AdmissionProblem {
    const heavy = whyTooHeavy(body);
    return heavy === undefined ? body : this.#refuse("bound_exceeded", heavy);
  }

  #refuse(code: ProblemCode, detail: string, at?: number): AdmissionProblem {
    const where = `${nameFunction(this.#module, this.#index)} at byte ${at ?? this.#start}`;
    this.#problem ??= { code, detail: `${where}: ${detail}` };
    return this.#problem;
  }

  /** Types of all locals, parameters included. */
  #readLocals(groups: number): readonly number[] {
    const reader = this.#reader;
    const types = [...this.#type.params];
    for (let i = 0; i < groups && reader.failure === undefined && this.#problem === undefined; i++) {
      const count = reader.u32();
      const type = reader.byte();
      const refused = refusedType(type);
      if (refused !== undefined && reader.failure === undefined)
        this.#refuse("feature_forbidden", refused, reader.at - 1);
      if (types.length + count > WASM_LOCALS_MAX) {
        const bound = `at most ${WASM_LOCALS_MAX} are admitted: split it, or keep its data in memory`;
        this.#refuse("bound_exceeded", `it has ${types.length + count} locals and more; ${bound}`);
      } else for (let local = 0; local < count; local++) types.push(type);
    }
    return types;
  }

  #step(): void {
    const at = this.#reader.at;
    const code = this.#reader.byte();
    const prefixed = code === OP.prefix_fc ? this.#reader.u32() : undefined;
    const instruction = prefixed === undefined ? INSTRUCTIONS[code] : INSTRUCTIONS_FC[prefixed];
    if (this.#reader.failure !== undefined) return;
    if (instruction === undefined) {
      const name = `instruction 0x${code.toString(16)}${prefixed === undefined ? "" : ` ${prefixed}`}`;
      this.#refuse("feature_forbidden", `${name}: ${explainForbidden(code)}`, at);
      return;
    }
    this.#meters.pay(instruction.fuel);
    if (instruction.immediate === "control") {
      this.#pop(instruction.pops);
      this.#control(code, at);
      return;
    }
    if (code >= OP.local_get && code <= OP.local_tee) return this.#local(code, this.#reader.u32());
    const refused = skipImmediate(this.#reader, instruction.immediate);
    // After a failure every read answers 0, which is no type.
    if (this.#reader.failure !== undefined) return;
    if (refused !== undefined) this.#refuse("feature_forbidden", refused, at);
    this.#pop(instruction.pops, instruction.ignores_nan !== true);
    this.#push(instruction.pushes);
    if (instruction.nan !== undefined) this.#nans.computed(instruction.nan, this.#height - 1);
    else if (isNumber(code, this.#reader)) this.#nans.number(this.#height - 1);
    if (code === OP.memory_grow) this.#edit("grow", at, this.#reader.at - at);
    const unit = prefixed === undefined ? undefined : bulkUnit(prefixed);
    if (unit !== undefined) this.#edit(unit, at, 0);
  }

  #edit(kind: Edit["kind"], at: number, removed: number, value = 0): Edit {
    const edit = { kind, at, removed, value };
    this.#edits.push(edit);
    return edit;
  }

  #push(count: number): void {
    this.#height += count;
    this.#height_max = Math.max(this.#height_max, this.#height);
  }

  /**
   * Never below the block's operands: code after a branch pops values that are not there.
   * @param seen whether what pops them can tell one NaN from another
   */
  #pop(count: number, seen = true): void {
    this.#height = Math.max(this.#frames.at(-1)?.base ?? 0, this.#height - count);
    this.#nans.settle(this.#height, seen);
  }

  #local(code: number, local: number): void {
    if (code !== OP.local_get) {
      const base = this.#frames.at(-1)?.base ?? 0;
      this.#nans.write(local, this.#height > base ? this.#height - 1 : undefined);
      this.#pop(1, false);
    }
    if (code === OP.local_set) return;
    this.#push(1);
    this.#nans.read(local, this.#height - 1);
  }

  /** Any operand of the block may go along a branch: to where, is not followed. */
  #control(code: number, at: number): void {
    this.#nans.settle(this.#frames.at(-1)?.base ?? 0, true);
    switch (code) {
      case OP.block:
      case OP.loop:
      case OP.if:
        return this.#open(code, at);
      case OP.else:
        return this.#else();
      case OP.end:
        return this.#close();
      case OP.br_if:
        this.#meters.leave(this.#reader.u32());
        this.#meters.pass();
        return;
      case OP.call:
      case OP.call_indirect:
        return this.#call(code);
      case OP.br:
        this.#meters.leave(this.#reader.u32());
        break;
      case OP.br_table:
        this.#targets(at);
        break;
      case OP.return:
      case OP.unreachable:
        if (code === OP.return) this.#edit("return", at, 1, this.#frames.length - 1);
        this.#meters.leave(this.#frames.length - 1);
        break;
    }
    this.#height = this.#frames.at(-1)?.base ?? 0;
  }

  #open(kind: number, at: number): void {
    const type = this.#blockType();
    this.#pop(type.params.length);
    this.#frames.push({ kind, type, base: this.#height });
    this.#meters.enter(kind);
    if (kind === OP.loop) this.#meters.pay(INSTRUCTIONS[OP.loop]?.fuel ?? 0);
    this.#push(type.params.length);
    if (this.#frames.length > WASM_BLOCK_NESTING_MAX) {
      const bound = `blocks nest deeper than ${WASM_BLOCK_NESTING_MAX}: split the function`;
      this.#refuse("bound_exceeded", bound, at);
    }
  }

  #else(): void {
    const frame = this.#frames.at(-1);
    if (frame?.kind !== OP.if) return this.#reader.fail("an else without its if");
    this.#height = frame.base + frame.type.params.length;
    this.#meters.otherwise();
  }

  #close(): void {
    const { base = 0, type = NO_VALUES } = this.#frames.pop() ?? {};
    this.#height = base;
    this.#push(type.results.length);
    this.#meters.close();
  }

  /** Empty, one value type, or the index of a function type. */
  #blockType(): FunctionType {
    const code = this.#reader.peek();
    if (code === TYPE.empty || isValueType(code)) {
      this.#reader.byte();
      return code === TYPE.empty ? NO_VALUES : { params: [], results: [code] };
    }
    return this.#typeAt(this.#reader.u32());
  }

  #typeAt(index: number): FunctionType {
    const type = this.#module.types[index];
    if (type === undefined) this.#reader.fail("a type that does not exist");
    return type ?? NO_VALUES;
  }

  #call(code: number): void {
    this.#calls = true;
    const index = this.#reader.u32();
    if (code === OP.call_indirect) {
      this.#reader.u32();
      this.#pop(1);
    }
    const type = this.#typeAt(code === OP.call ? (this.#module.functions[index] ?? -1) : index);
    this.#pop(type.params.length);
    this.#push(type.results.length);
  }

  #targets(at: number): void {
    const count = this.#reader.u32();
    if (count > WASM_BR_TABLE_TARGETS_MAX) {
      const bound = `at most ${WASM_BR_TABLE_TARGETS_MAX} are admitted: split the switch`;
      this.#refuse("bound_exceeded", `br_table has ${count} targets; ${bound}`, at);
      return;
    }
    for (let i = 0; i <= count; i++) this.#meters.leave(this.#reader.u32());
  }
}
