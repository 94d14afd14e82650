/**
 * What the log says about actors, version 1: one entry for each call that took effect, one line of a checkpoint
 * for each actor.
 *
 * An entry holds the inputs of the turn (so that it can be run again and compared) and all of its effect: new
 * state, monitor steps, kept reply, nonce. Recovery applies effects and never runs a handler.
 */
import type { Json } from "../json.ts";

/** `[monitor id, state, until]`: until is ms since the epoch, `null` where no caveat before it expires. */
export type MonitorRecord = readonly [id: string, state: number, until_ms: number | null];
/** `[key, digest of the request, until]` of a reply that is kept for retries. */
export type ReplyRecord = readonly [key: string, digest: string, until_ms: number];
export type KeptRecord = readonly [...ReplyRecord, reply: Json];
/** `[key, until]`: a signed request that must not be taken again. */
export type NonceRecord = readonly [key: string, until_s: number];

export interface Entry {
  readonly v: 1;
  /** `tenant/type/id`. */
  readonly actor: string;
  readonly message: string;
  readonly args: Json;
  /** Time of the turn, ms since the epoch, as the handler saw it. */
  readonly at: number;
  readonly seed: string;
  /** Public key of the caller. */
  readonly signer: string;
  /** The behaviour that the actor lives under, as text, and its monitor's state after the call. */
  readonly behaviour: readonly [expression: string, state: number];
  readonly monitors: readonly MonitorRecord[];
  readonly reply: Json;
  readonly kept?: ReplyRecord;
  readonly nonce: NonceRecord;
}

export interface ParsedEntry extends Entry {
  /** The actor's new state; absent where the turn left it as it was. */
  readonly state?: Json;
}

/** @param state the new state as JSON text, spliced in as it is */
export function encodeEntry(entry: Entry, state: string | undefined): string {
  const text = JSON.stringify(entry);
  return state === undefined ? text : `${text.slice(0, -1)},"state":${state}}`;
}

/** Throws on what was not written by `encodeEntry`: its object passed its checksum, so that is a bug. */
export function decodeEntry(text: string): ParsedEntry {
  const entry = JSON.parse(text) as ParsedEntry;
  if (entry.v !== 1) throw new Error(`a log entry has version ${String(entry.v)}; this version reads 1`);
  return entry;
}

/** One line of a checkpoint: an actor, replies it keeps (after its line), or nonces that are still remembered. */
export type SnapshotLine =
  | {
      readonly actor: string;
      readonly state?: Json;
      readonly behaviour: readonly [expression: string, state: number];
      readonly monitors: readonly MonitorRecord[];
    }
  | { readonly of: string; readonly replies: readonly KeptRecord[] }
  | { readonly nonces: readonly NonceRecord[] };
