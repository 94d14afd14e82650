/**
 * What the log says about actors, version 3: one entry for each call that took effect, JSON on one line.
 *
 *     {"v":3,"actor":"t/account/1","at":…,"signer":"…","token":["<root>","<digest>"],
 *      "handler":"<hash>","turns":[["deposit",<args>,"<seed>",<reply>,<fuel>]],"behaviour":["open ; …",1],
 *      "monitors":[["<id>",2,<until>]],"counts":[["<id>",[3],<until>]],"kept":["<key>","<digest>",<until>],
 *      "nonce":["<key>",<until>],"caps":[[{"id":4,"actor":"account/2"},"<sealed>"]],"holds":[4],
 *      "sends":[[0,4,"account/2","deposit",<args>]],"sender":["<key>",7,<until>],
 *      "delta":[<start>,"<between>",<end>,<CRC-32>]}
 *
 * A batch is one entry, too, with a turn for each of its calls and `"batch":true`. An entry holds the inputs of its
 * turns, with the handler that ran them and the fuel that they took (so that `postern replay` can run them again and
 * compare), and all of its effect: replies, new state, monitor steps, counts, nonce. Recovery applies effects and never runs a handler. The new state is a
 * splice of the one before (`delta`), or, where that is not shorter, whole (`state`); neither means unchanged.
 */
import type { Json } from "../json.ts";
import type { CapabilityRecord } from "./capabilities.ts";
import type { CountRecord } from "./counts.ts";
import { applyDelta, type Delta, deltaOf } from "./delta.ts";
import type { SendRecord } from "./outbox.ts";

/** `[nonce of the root, digest of the last tail]`: the token by which a call came, as far as everybody may know it. */
export type TokenRecord = readonly [root: string, digest: string];
/** `[expression, state, name]`: the name is that of a behaviour which the actor has become; none is the first one. */
export type BehaviourRecord = readonly [expression: string, state: number, name?: string];
/** `[monitor id, state, until]`: until is ms since the epoch, `null` where no caveat before it expires. */
export type MonitorRecord = readonly [id: string, state: number, until_ms: number | null];
/** `[key, digest of the request, until]` of a reply that is kept for retries. */
export type ReplyRecord = readonly [key: string, digest: string, until_ms: number];
/** `[key, until]`: a signed request that must not be taken again. */
export type NonceRecord = readonly [key: string, until_s: number];

/**
 * One run of the handler: `[message, arguments, seed, reply, fuel]`, the arguments as the handler saw them. Nodes before
 * there was a replay wrote no fuel.
 */
export type TurnRecord = readonly [message: string, args: Json, seed: string, reply: Json, fuel?: number];

/** `[public key, number, until]`: the last send that was taken from an actor, whose key that is. */
export type SenderRecord = readonly [key: string, number: number, until_ms: number];

export interface Entry {
  readonly v: 3;
  /** `tenant/type/id`. */
  readonly actor: string;
  /** Time of the turns, ms since the epoch, as the handler saw it. */
  readonly at: number;
  /** Public key of the caller. */
  readonly signer: string;
  /** All monitors and counts are of this root. */
  readonly token: TokenRecord;
  /** SHA-256 of the instrumented module that ran the turns, hex; absent where nodes before there was a replay wrote it. */
  readonly handler?: string;
  /** Each ran on the state that the one before it left. */
  readonly turns: readonly [TurnRecord, ...TurnRecord[]];
  /** They were sent as a batch: the reply is the array of theirs. */
  readonly batch?: true;
  /** What the actor goes on under, with its monitor's state after the call. */
  readonly behaviour: BehaviourRecord;
  readonly monitors: readonly MonitorRecord[];
  /** Of `uses` and `rate` caveats, as they are with this call. */
  readonly counts?: readonly CountRecord[];
  readonly kept?: ReplyRecord;
  readonly nonce: NonceRecord;
  /** What came with the call. */
  readonly caps?: readonly CapabilityRecord[];
  /** Ids of the capabilities that the actor holds after it, where they are others than before. */
  readonly holds?: readonly number[];
  /** What the turns sent: it leaves when the entry is durable. */
  readonly sends?: readonly SendRecord[];
  /** The call was a send itself, by that actor. */
  readonly sender?: SenderRecord;
}

/** The end of a send: `{"v":3,"actor":"t/order/1","at":…,"delivered":[7,"done"]}`. It leaves the actor's outbox. */
export interface Delivery {
  readonly v: 3;
  /** `tenant/type/id` of the sender. */
  readonly actor: string;
  /** ms since the epoch. */
  readonly at: number;
  /** The send's number, and what became of it: `done`, `given_up`, or the code of the refusal. */
  readonly delivered: readonly [number: number, outcome: string];
}

interface Answered extends Pick<Entry, "turns"> {
  readonly batch?: boolean;
}

/** What the caller was answered. */
export function replyOf({ turns, batch = false }: Answered): Json {
  return batch ? turns.map(([, , , reply]) => reply) : turns[0][3];
}

export interface ParsedEntry extends Entry {
  /** The actor's new state, and at most one of the two: whole, or as a change of the one before. */
  readonly state?: Json;
  readonly delta?: Delta;
}

/**
 * @param before the actor's state until now, `undefined` where it has none
 * @param after its new state, `undefined` where the turns left it as it was; both as JSON.stringify writes them
 */
export function encodeEntry(entry: Entry, before: string | undefined, after: string | undefined): string {
  const text = JSON.stringify(entry);
  return after === undefined ? text : `${text.slice(0, -1)},${stateMember(before, after)}}`;
}

function stateMember(before: string | undefined, after: string): string {
  const whole = `"state":${after}`;
  if (before === undefined) return whole;
  const delta = `"delta":${JSON.stringify(deltaOf(before, after))}`;
  return delta.length < whole.length ? delta : whole;
}

/** A line of the log. Throws on what this version has not written: its object passed its checksum, so that is a bug. */
export function decodeLine(text: string): ParsedEntry | Delivery {
  const line = JSON.parse(text) as ParsedEntry | Delivery;
  if (line.v !== 3) throw new Error(`a log entry has version ${String(line.v)}; this version reads 3`);
  return line;
}

export function isDelivery(line: Entry | Delivery): line is Delivery {
  return "delivered" in line;
}

/** An entry of a call. Throws on what was not written by `encodeEntry`. */
export function decodeEntry(text: string): ParsedEntry {
  const line = decodeLine(text);
  if (isDelivery(line)) throw new Error("a log entry is that of a delivery");
  return line;
}

/**
 * The new state as JSON text, `undefined` where the entry leaves it as it was. Throws where the entry does not follow
 * on that state: then the log lacks an entry or has one twice, and nothing built on it may be answered.
 */
export function stateAfter(
  { actor, state, delta }: ParsedEntry,
  before: string | undefined,
): string | undefined {
  if (delta === undefined) return state === undefined ? undefined : JSON.stringify(state);
  const after = before === undefined ? undefined : applyDelta(before, delta);
  if (after === undefined) throw new Error(`a log entry does not follow on the state of ${actor}`);
  return after;
}
