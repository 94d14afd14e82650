/**
 * What a shard's log amounts to, as the log sees it: *records*, texts by key, of which a checkpoint writes only those
 * that changed. What a record means is the actors' business.
 *
 * `restore`, `apply` and `lines` throw where a text does not fit what they know; the log reports where it stands.
 */
import type { Refusal } from "../errors.ts";

export interface Records {
  /** A common line of the checkpoint, before any entry. */
  restore(line: string): void;
  /** An entry of the log, in order. */
  apply(entry: string): void;
  /** All that changed since the last capture, taken in one step: it holds exactly what was appended so far. */
  capture(): Capture;
}

export interface Capture {
  /** Lines that belong to no record. */
  readonly common: readonly string[];
  /** Keys of the records that changed; no white space in them. */
  readonly changed: readonly string[];
  /** The lines of a changed record. `before`: its lines in the last checkpoint. None at all removes it. */
  lines(key: string, before: readonly string[]): readonly string[];
  /** Called once. Where the checkpoint did not become durable, what changed counts as changed again. */
  settle(durable: boolean): void;
}

/**
 * Reads the lines of one record out of the last checkpoint; none where it is not there. An answer that arrives after
 * another capture was settled as durable, lines or refusal, may be of the checkpoint before: then it is asked for again.
 */
export type ReadRecord = (key: string) => Promise<readonly string[] | Refusal>;
