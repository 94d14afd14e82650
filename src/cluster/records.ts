/**
 * What a shard's log amounts to, as the log sees it: texts by key, of which a checkpoint writes those that changed.
 *
 * The actor module gives the texts their meaning; the cluster module puts them into pages and reads them back.
 */
import type { Refusal } from "../errors.ts";

/** What a shard's entries amount to: texts by key, of which a checkpoint writes those that changed. */
export interface Records {
  /** A common line of the checkpoint (remembered nonces), before any entry. */
  restore(line: string): void;
  /** An entry of the log, in order. */
  apply(entry: string): void;
  /** Everything that changed since the last capture, taken in one step: it holds exactly what was appended so far. */
  capture(): Capture;
}

export interface Capture {
  /** Lines that belong to no record. */
  readonly common: readonly string[];
  /** Keys (without white space or line feeds) of the records that changed. */
  readonly changed: readonly string[];
  /** The lines of a changed record; before = its lines in the last checkpoint ([] where it was not there). [] removes it. */
  lines(key: string, before: readonly string[]): readonly string[];
  /** Called once: whether the checkpoint is durable. Where it is not, what changed counts as changed again. */
  settle(durable: boolean): void;
}

/** Reads a record out of the last checkpoint. */
export type ReadRecord = (key: string) => Promise<readonly string[] | Refusal>;
