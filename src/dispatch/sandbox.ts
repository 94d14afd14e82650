/**
 * One turn of a handler: (state, message) → (reply, state'), in a fresh instance that is thrown away after.
 *
 * Whatever the module does, `runTurn` ends within its fuel, stack and memory and answers a result or a refusal
 * that says which bound or which part of the interface was broken. It hands over a document and nothing else:
 * the handler has no imports, so no authority (law 4). The same module, turn and bounds give the same answer
 * and the same fuel on every machine.
 */
import { utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { CapabilityNote } from "../handles.ts";
import type { Json } from "../json.ts";
import { TURN_FUEL_MAX, TURN_OUTPUT_BYTES_MAX } from "../limits.ts";
import { type CanonicalExports, callHandle } from "./canonical-abi.ts";
import { FUEL_EXPORT, OOM_EXPORT, STACK_EXPORT, START_EXPORT } from "./fuel.ts";
import { type Outcome, readOutcome } from "./outcome.ts";

export interface Turn {
  /** JSON text; undefined for an actor that has none yet. */
  readonly state: string | undefined;
  readonly message: string;
  readonly args: Json;
  /** Milliseconds since the epoch. */
  readonly now_ms: number;
  /** 32 hex digits: all the randomness that the handler gets. */
  readonly seed: string;
  /** `type/id` */
  readonly actor: string;
  /** The capabilities that the turn may use; none unless told. */
  readonly caps?: readonly CapabilityNote[];
}

export interface TurnBounds {
  readonly fuel: number;
  readonly output_bytes: number;
}

export interface TurnResult extends Outcome {
  /** Units of fuel used. */
  readonly fuel: number;
  /** Linear memory at the end of the turn. */
  readonly memory_bytes: number;
  /** The document that the handler answered: reply and state. */
  readonly output_bytes: number;
}

export const TURN_BOUNDS: TurnBounds = { fuel: TURN_FUEL_MAX, output_bytes: TURN_OUTPUT_BYTES_MAX };

const INITIALIZE_EXPORT = "_initialize";

interface PlainExports {
  readonly memory: WebAssembly.Memory;
  readonly pn_alloc: (size: number) => number;
  readonly pn_handle: (ptr: number, length: number) => bigint;
}

/** What an admitted module exports: types are checked at admission, so they are trusted here. */
type HandlerExports = (PlainExports | CanonicalExports) & MeteredExports;

interface MeteredExports {
  readonly [INITIALIZE_EXPORT]?: () => void;
  readonly [START_EXPORT]?: () => void;
  readonly [FUEL_EXPORT]: WebAssembly.Global;
  readonly [STACK_EXPORT]: WebAssembly.Global;
  readonly [OOM_EXPORT]: WebAssembly.Global;
}

/** @param module compiled from what `admit` answered; another module is a bug of the caller, and throws. */
export function runTurn(module: WebAssembly.Module, turn: Turn, bounds = TURN_BOUNDS): TurnResult | Refusal {
  return runDocument(module, inputDocument(turn), bounds);
}

/** The same, for a turn that is written out: as `inputDocument` does it. */
export function runDocument(
  module: WebAssembly.Module,
  input: Uint8Array<ArrayBuffer>,
  bounds: TurnBounds,
): TurnResult | Refusal {
  const handler = instantiate(module);
  if (isRefusal(handler)) return handler;
  handler[FUEL_EXPORT].value = BigInt(bounds.fuel);
  let output: Uint8Array<ArrayBuffer> | Refusal;
  try {
    output = exchange(handler, input, bounds.output_bytes);
  } catch (error) {
    return explainTrap(handler, error, bounds);
  }
  if (isRefusal(output)) return output;
  const outcome = readOutcome(output);
  if (isRefusal(outcome)) return outcome;
  const fuel = bounds.fuel - Number(handler[FUEL_EXPORT].value);
  const memory_bytes = handler.memory.buffer.byteLength;
  return { ...outcome, fuel, memory_bytes, output_bytes: output.length };
}

function instantiate(module: WebAssembly.Module): HandlerExports | Refusal {
  let exports: WebAssembly.Exports;
  try {
    exports = new WebAssembly.Instance(module).exports;
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError)
      return refuse("handler_trapped", `the handler cannot start: ${error.message}`);
    // No address space for its memory: too many sandboxes live in this process, which passes.
    if (error instanceof RangeError) return refuse("overloaded", "no room for another sandbox");
    throw error;
  }
  if (!(FUEL_EXPORT in exports)) throw new TypeError("runTurn needs a module that admit() has instrumented");
  return exports as unknown as HandlerExports;
}

/** The state is JSON text that `readOutcome` wrote: it goes in as it stands. */
export function inputDocument(turn: Turn): Uint8Array<ArrayBuffer> {
  const { state, message, args, now_ms, seed, actor, caps = [] } = turn;
  const rest = JSON.stringify({ message, args, caps, now: now_ms, seed, actor });
  return utf8(`{"state":${state ?? "null"},${rest.slice(1)}`);
}

/** @throws what the handler's code traps with. */
function exchange(
  handler: HandlerExports,
  input: Uint8Array<ArrayBuffer>,
  output_bytes_max: number,
): Uint8Array<ArrayBuffer> | Refusal {
  handler[START_EXPORT]?.();
  handler[INITIALIZE_EXPORT]?.();
  if ("pn_handle" in handler) return exchangePlain(handler, input, output_bytes_max);
  const output = callHandle(handler, input, output_bytes_max);
  if (typeof output !== "string") return output;
  return ranOut(handler) ? outOfMemory(handler) : refuse("handler_invalid", output);
}

function exchangePlain(
  handler: PlainExports & MeteredExports,
  input: Uint8Array<ArrayBuffer>,
  output_bytes_max: number,
): Uint8Array<ArrayBuffer> | Refusal {
  const input_ptr = handler.pn_alloc(input.length) >>> 0;
  // The buffer is another one after each growth, so it is asked for anew.
  if (input_ptr + input.length > handler.memory.buffer.byteLength || (input_ptr === 0 && ranOut(handler)))
    return badPointer(handler, "pn_alloc", input_ptr, input.length);
  new Uint8Array(handler.memory.buffer).set(input, input_ptr);

  const span = BigInt.asUintN(64, handler.pn_handle(input_ptr, input.length));
  const ptr = Number(span >> 32n);
  const length = Number(span & 0xffff_ffffn);
  if (length > output_bytes_max)
    return refuse(
      "handler_invalid",
      `the handler's output has ${length} bytes; at most ${output_bytes_max} may be`,
    );
  if (ptr + length > handler.memory.buffer.byteLength) return badPointer(handler, "pn_handle", ptr, length);
  return new Uint8Array(handler.memory.buffer, ptr, length).slice();
}

function ranOut(handler: HandlerExports): boolean {
  return handler[OOM_EXPORT].value !== 0;
}

function badPointer(handler: HandlerExports, name: string, ptr: number, length: number): Refusal {
  if (ranOut(handler)) return outOfMemory(handler);
  return refuse("handler_invalid", `${name} answered ${length} bytes at ${ptr}, which is outside its memory`);
}

function outOfMemory(handler: HandlerExports): Refusal {
  const size = handler.memory.buffer.byteLength;
  return refuse("handler_memory", `the handler was denied more memory at ${size} bytes`);
}

/** Fuel and stack end in a plain `unreachable`: the globals tell which it was. */
function explainTrap(handler: HandlerExports, error: unknown, bounds: TurnBounds): Refusal {
  if (!(error instanceof Error) || !(error instanceof WebAssembly.RuntimeError || isOverflow(error)))
    throw error;
  if (handler[FUEL_EXPORT].value < 0n)
    return refuse("handler_fuel", `the handler used up the ${bounds.fuel} units that it was given`);
  if (handler[STACK_EXPORT].value < 0n || isOverflow(error))
    return refuse("handler_trapped", "the handler's calls nest too deep");
  if (ranOut(handler)) return outOfMemory(handler);
  return refuse("handler_trapped", `the handler trapped: ${error.message}`);
}

/** V8's own stack limit, which our count is meant to stay below. */
function isOverflow(error: Error): boolean {
  return error instanceof RangeError;
}
