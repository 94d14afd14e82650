/**
 * The fuel pass: a module rewritten so that it cannot run longer, recurse deeper or grow further than its
 * host allows, whatever its code does.
 *
 * Three mutable globals are added behind the module's own, so no index of the original moves:
 *   __pn_fuel   i64, what is left; function entries, loop headers and what may be passed by pay in advance
 *               (wasm-meters.ts), bulk instructions pay for their length. Below zero: `unreachable`. It starts at 0, so nothing
 *               runs before the host has paid.
 *   __pn_stack  i64, bytes of call stack left, counted in frames as V8 lays them out at worst. V8's own limit
 *               depends on the machine and on the tier; this one does not.
 *   __pn_oom    i32, 1 once the module was denied memory.
 * What the specification leaves open is settled: a computed NaN whose bits can be seen gets the one canonical form
 * (wasm-nans.ts), since processors, and V8's two compilers on one of them, differ in its sign and payload. NaNs that are
 * only moved keep their bits, as the specification wants it.
 *
 * The start function becomes the export `__pn_start`: the host runs it under fuel like all other code.
 */
import { TURN_STACK_BYTES_MAX, WASM_MEMORY_PAGES_MAX } from "../limits.ts";
import { OP, TYPE } from "./opcodes.ts";
import type { Module } from "./wasm-binary.ts";
import type { Body, Edit } from "./wasm-body.ts";
import { Writer } from "./wasm-reader.ts";
import { SECTION, SECTION_ORDER } from "./wasm-sections.ts";

/** Stored with each instrumented module; a change of what the pass emits or charges is a new version. */
export const FUEL_PASS_VERSION = 4;
/** The oldest that a node still runs. It is raised where an older pass turns out to let something through. */
export const FUEL_PASS_VERSION_MIN = 1;

export const FUEL_EXPORT = "__pn_fuel";
export const STACK_EXPORT = "__pn_stack";
export const OOM_EXPORT = "__pn_oom";
export const START_EXPORT = "__pn_start";

/** Frames of functions that call nothing are not counted up to this size: only one stands at a time. */
const LEAF_FRAME_BYTES_MAX = 1024;
/** Return address, frame pointer, instance, and what a call saves; the pass's own locals. */
const FRAME_BYTES = 112;
/** The canonical NaNs, positive and quiet. */
const NAN32 = [OP.f32_const, 0, 0, 0xc0, 0x7f] as const;
const NAN64 = [OP.f64_const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f] as const;
/**
 * What a bulk instruction pays when it runs: a base, and its length shifted. It is not part of its meter's
 * charge, because compilers inline the allocator into loops that hardly ever grow the memory.
 */
interface Tariff {
  readonly base: number;
  readonly op: number;
  readonly shift: number;
}

/** memory.fill, copy, init: one unit for 8 bytes. */
const BYTES: Tariff = { base: 64, op: OP.i64_shr_u, shift: 3 };
/** table.fill, copy, init, grow: 32 units for an element, which V8 writes one by one. */
const ELEMENTS: Tariff = { base: 256, op: OP.i64_shl, shift: 5 };
/** memory.grow: a system call and a new ArrayBuffer; then 64 KiB a page, zeroed when they are touched. */
const PAGES: Tariff = { base: 4096, op: OP.i64_shl, shift: 10 };

/** Where the added things stand, in the index spaces of the module. */
interface Added {
  readonly fuel: number;
  readonly stack: number;
  readonly oom: number;
  readonly charge_type: number;
  readonly charge_bytes: number;
  readonly charge_elements: number;
  readonly grow: number;
  /** For each function type with several results: the block type that has only the results. */
  readonly block_types: ReadonlyMap<string, number>;
}

export function instrument(module: Module, bodies: readonly Body[]): Uint8Array<ArrayBuffer> {
  const added = plan(module);
  const out = new Writer(module.bytes.length * 2);
  out.raw(module.bytes.subarray(0, 8));
  for (const id of SECTION_ORDER) {
    const section = emitSection(module, bodies, added, id);
    if (section !== undefined) out.byte(id).sized(section);
  }
  return out.view().slice();
}

function plan(module: Module): Added {
  const globals = module.sections.get(SECTION.global)?.count ?? 0;
  const functions = module.functions.length;
  const charge_type = module.types.length;
  const block_types = new Map<string, number>();
  for (const { results } of module.types) {
    const key = results.join();
    if (results.length > 1 && !block_types.has(key)) block_types.set(key, charge_type + 1 + block_types.size);
  }
  return {
    fuel: globals,
    stack: globals + 1,
    oom: globals + 2,
    charge_type,
    charge_bytes: functions,
    charge_elements: functions + 1,
    grow: functions + 2,
    block_types,
  };
}

/** @returns `undefined` where the section is dropped. */
function emitSection(module: Module, bodies: readonly Body[], added: Added, id: number): Writer | undefined {
  const raw = module.sections.get(id);
  const count = raw?.count ?? 0;
  const entries = raw === undefined ? new Uint8Array() : module.bytes.subarray(raw.start, raw.end);
  switch (id) {
    case SECTION.type: {
      const out = new Writer().u32(count + 1 + added.block_types.size).raw(entries);
      out.byte(TYPE.func, 1, TYPE.i32, 1, TYPE.i32);
      for (const key of added.block_types.keys()) {
        const results = key.split(",").map(Number);
        out.byte(TYPE.func, 0, results.length, ...results);
      }
      return out;
    }
    case SECTION.function: {
      const out = new Writer().u32(count + 3).raw(entries);
      return out.u32(added.charge_type).u32(added.charge_type).u32(added.charge_type);
    }
    case SECTION.table: {
      if (raw === undefined) return undefined;
      const out = new Writer().u32(count);
      for (const { type, initial, max } of module.tables) out.byte(type, 1).u32(initial).u32(max);
      return out;
    }
    case SECTION.memory:
      return new Writer().u32(1).byte(1).u32(module.memory.initial).u32(module.memory.max);
    case SECTION.global: {
      const out = new Writer().u32(count + 3).raw(entries);
      out.byte(TYPE.i64, 1, OP.i64_const, 0, OP.end);
      out.byte(TYPE.i64, 1, OP.i64_const).s64(TURN_STACK_BYTES_MAX).byte(OP.end);
      return out.byte(TYPE.i32, 1, OP.i32_const, 0, OP.end);
    }
    case SECTION.export:
      return emitExports(module, added, count, entries);
    case SECTION.code:
      return emitCode(module, bodies, added);
    default:
      return raw === undefined ? undefined : new Writer(entries.length + 8).u32(count).raw(entries);
  }
}

function emitExports(module: Module, added: Added, count: number, entries: Uint8Array): Writer {
  const out = new Writer().u32(count + (module.start === undefined ? 3 : 4)).raw(entries);
  out.name(FUEL_EXPORT).byte(3).u32(added.fuel);
  out.name(STACK_EXPORT).byte(3).u32(added.stack);
  out.name(OOM_EXPORT).byte(3).u32(added.oom);
  if (module.start !== undefined) out.name(START_EXPORT).byte(0).u32(module.start);
  return out;
}

function emitCode(module: Module, bodies: readonly Body[], added: Added): Writer {
  const out = new Writer(module.bytes.length * 2).u32(bodies.length + 3);
  for (const body of bodies) out.sized(emitBody(module.bytes, body, added));
  out.sized(emitCharge(added, BYTES));
  out.sized(emitCharge(added, ELEMENTS));
  return out.sized(emitGrow(added));
}

function emitBody(bytes: Uint8Array<ArrayBuffer>, body: Body, added: Added): Writer {
  const out = new Writer((body.code_end - body.groups_start) * 2);
  const groups = body.nans > 0 ? 3 : 1;
  out.u32(body.local_groups + groups).raw(bytes.subarray(body.groups_start, body.code_start));
  out.byte(1, TYPE.i64);
  if (body.nans > 0) out.byte(1, TYPE.f64, 1, TYPE.f32);
  const scratch = body.locals;
  spend(out, added.fuel, scratch, () => out.byte(OP.i64_const).s64(body.entry_cost));

  const frame = FRAME_BYTES + 8 * (body.locals + body.stack);
  const counted = body.calls || frame > LEAF_FRAME_BYTES_MAX;
  if (counted) {
    spend(out, added.stack, scratch, () => out.byte(OP.i64_const).s64(frame));
    // The block stands where the function's own label was: branches to it need no change, returns become such.
    out.byte(OP.block);
    blockType(out, body.type.results, added);
  }
  let at = body.code_start;
  for (const edit of body.edits) {
    if (edit.kind === "return" && !counted) continue;
    out.raw(bytes.subarray(at, edit.at));
    at = edit.at + edit.removed;
    emitEdit(out, edit, added, scratch);
  }
  out.raw(bytes.subarray(at, body.code_end));
  if (counted) {
    out.byte(OP.global_get).u32(added.stack).byte(OP.i64_const).s64(frame).byte(OP.i64_add);
    out.byte(OP.global_set).u32(added.stack).byte(OP.end);
  }
  return out;
}

function blockType(out: Writer, results: readonly number[], added: Added): void {
  const [single, second] = results;
  if (second !== undefined) out.u32(added.block_types.get(results.join()) ?? 0);
  else out.byte(single ?? TYPE.empty);
}

function emitEdit(out: Writer, edit: Edit, added: Added, scratch: number): void {
  switch (edit.kind) {
    case "charge":
      spend(out, added.fuel, scratch, () => out.byte(OP.i64_const).s64(edit.value));
      return;
    case "return":
      out.byte(OP.br).u32(edit.value);
      return;
    case "bytes":
      out.byte(OP.call).u32(added.charge_bytes);
      return;
    case "elements":
      out.byte(OP.call).u32(added.charge_elements);
      return;
    case "grow":
      out.byte(OP.call).u32(added.grow);
      return;
    case "nan64":
      canonicalize(out, scratch + 1, NAN64, OP.f64_eq);
      return;
    case "nan32":
      canonicalize(out, scratch + 2, NAN32, OP.f32_eq);
      return;
  }
}

/** global -= amount; below zero: trap. The operand stack is left as it was. */
function spend(out: Writer, global: number, scratch: number, amount: () => void): void {
  out.byte(OP.global_get).u32(global);
  amount();
  out.byte(OP.i64_sub, OP.local_tee).u32(scratch).byte(OP.global_set).u32(global);
  out.byte(OP.local_get).u32(scratch).byte(OP.i64_const, 0, OP.i64_lt_s);
  out.byte(OP.if, TYPE.empty, OP.unreachable, OP.end);
}

/** (value) -> value, or the canonical NaN where it is one: only a NaN differs from itself. */
function canonicalize(out: Writer, scratch: number, nan: readonly number[], equal: number): void {
  out
    .byte(OP.local_tee)
    .u32(scratch)
    .byte(...nan);
  out.byte(OP.local_get).u32(scratch).byte(OP.local_get).u32(scratch).byte(equal, OP.select);
}

/** The price of the length in local 0. */
function price(out: Writer, { base, op, shift }: Tariff): void {
  out.byte(OP.local_get, 0, OP.i64_extend_i32_u, OP.i64_const, shift, op);
  out.byte(OP.i64_const).s64(base).byte(OP.i64_add);
}

/** (length) -> length, paid for. Local 1 is the scratch. */
function emitCharge(added: Added, tariff: Tariff): Writer {
  const out = new Writer().byte(1, 1, TYPE.i64);
  spend(out, added.fuel, 1, () => price(out, tariff));
  return out.byte(OP.local_get, 0, OP.end);
}

/** memory.grow: pays, and leaves a note when it is denied. What can never succeed pays for no pages. */
function emitGrow(added: Added): Writer {
  const out = new Writer().byte(1, 1, TYPE.i64);
  const note = (): Writer => out.byte(OP.i32_const, 1, OP.global_set).u32(added.oom);
  out.byte(OP.local_get, 0, OP.i32_const).s64(WASM_MEMORY_PAGES_MAX).byte(OP.i32_gt_u, OP.if, TYPE.empty);
  spend(out, added.fuel, 1, () => out.byte(OP.i64_const).s64(PAGES.base));
  note().byte(OP.i32_const, 0x7f, OP.return, OP.end);
  spend(out, added.fuel, 1, () => price(out, PAGES));
  out.byte(OP.local_get, 0, OP.memory_grow, 0, OP.local_tee, 0);
  out.byte(OP.i32_const, 0x7f, OP.i32_eq, OP.if, TYPE.empty);
  return note().byte(OP.end, OP.local_get, 0, OP.end);
}
