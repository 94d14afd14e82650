/**
 * A call's messages, and their turns: one effect or none.
 *
 * Most words are of one message. The turns of a batch follow each other without anything in between, each on the state
 * that the one before it left, and all of them together have the fuel and the output of one turn: a batch holds up
 * others about as long as a call.
 */
import type { TurnResult as HandlerResult, Turn } from "../dispatch/sandbox.ts";
import type { Allowance } from "../dispatch/turns.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import type { Json } from "../json.ts";
import { BATCH_RESOLVED_BYTES_MAX, TURN_FUEL_MAX, TURN_OUTPUT_BYTES_MAX } from "../limits.ts";
import type { Arguments } from "../request/references.ts";
import type { Purse } from "./capabilities.ts";
import type { TurnRecord } from "./entry.ts";
import { resolve } from "./resolve.ts";
import type { Call } from "./shard.ts";

/** What a turn leaves: its reply, the new state as JSON text where it changed, what the actor becomes, if anything; and
 * what it took. */
export type TurnResult = Pick<
  HandlerResult,
  "reply" | "state" | "become" | "sends" | "fuel" | "output_bytes"
>;

/** One message of a word. Its references are to the replies of those before it. */
export interface Message extends Arguments {
  readonly name: string;
  /** All the randomness of its turn. */
  readonly seed: string;
  /** It is declared to change no state. */
  readonly reads: boolean;
  /** Checks the arguments where they had references, and the reply. */
  readonly run: (turn: Turn, allowance: Allowance) => Promise<TurnResult | Refusal>;
}

/** One for each message, in their order. */
export type Word<T> = readonly [T, ...T[]];

export interface Ran {
  readonly turns: Word<TurnRecord>;
  /** JSON text; `undefined` where it is what it was. */
  readonly state: string | undefined;
}

/**
 * @param before the actor's state
 * @param purse what its turns may use
 * @param settle is told of each turn when it is done; a refusal ends the word
 */
export async function runWord(
  call: Call,
  before: string | undefined,
  purse: Purse,
  settle: (index: number, turn: TurnResult) => Refusal | undefined,
): Promise<Ran | Refusal> {
  const { word, now_ms, deadline_ms, actor } = call;
  const turns: TurnRecord[] = [];
  let state = before;
  let fuel = TURN_FUEL_MAX;
  let output_bytes = TURN_OUTPUT_BYTES_MAX;
  let resolved_bytes = BATCH_RESOLVED_BYTES_MAX;
  const caps = purse.notes;
  for (const [index, message] of word.entries()) {
    const { name, seed, reads, references, run } = message;
    let args = purse.numbered(message.args);
    if (references.size > 0) {
      const resolved = resolve({ args, references }, turns.map(replyOf), resolved_bytes);
      if (isRefusal(resolved)) return ofCall(call, index, resolved);
      args = resolved.args;
      resolved_bytes -= resolved.bytes;
    }
    const input = { state, message: name, args, now_ms, seed, actor, caps };
    const turn = await run(input, { fuel, deadline_ms });
    if (isRefusal(turn)) return ofCall(call, index, turn);
    fuel -= turn.fuel;
    output_bytes -= turn.output_bytes;
    if (output_bytes < 0) return ofCall(call, index, tooMuchOutput());
    if (reads && turn.state !== undefined && turn.state !== state)
      return ofCall(call, index, notOnlyRead(name));
    const beyond = purse.refuseTurn(turn) ?? (reads && turn.sends ? sendsThough(name) : undefined);
    if (beyond !== undefined) return ofCall(call, index, beyond);
    state = turn.state ?? state;
    turns.push([name, args, seed, turn.reply, turn.fuel]);
    const refused = settle(index, turn);
    if (refused !== undefined) return refused;
  }
  if (!isWord(turns)) throw new Error("a call without a message");
  return { turns, state: state === before ? undefined : state };
}

function isWord<T>(items: readonly T[]): items is Word<T> {
  return items.length > 0;
}

/** The refusal of one of a batch's calls says which. */
export function ofCall({ batch }: Pick<Call, "batch">, index: number, refusal: Refusal): Refusal {
  return batch ? refusal.with({ call: index }) : refusal;
}

const replyOf = ([, , , reply]: TurnRecord): Json => reply;

function notOnlyRead(name: string): Refusal {
  return refuse("handler_invalid", `${name} is declared to read only, but the handler changed the state`);
}

function sendsThough(name: string): Refusal {
  return refuse("handler_invalid", `${name} is declared to read only, but the handler sends messages`);
}

function tooMuchOutput(): Refusal {
  const what = `results and states of a batch's calls have at most ${TURN_OUTPUT_BYTES_MAX} bytes together`;
  return refuse("too_large", what);
}
