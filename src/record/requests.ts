/**
 * One line of JSON for each request: what came, what was answered, how long it took.
 *
 * A line names tokens only by what is public in them; no header, argument or signature enters it (law 7).
 */
import type { Code } from "../errors.ts";

export interface RequestRecord {
  /** RFC 3339. */
  readonly time: string;
  readonly request_id: string;
  readonly method: string;
  /** `tenant/type/id`, as far as the path had one. */
  readonly actor?: string;
  readonly message?: string;
  readonly status: number;
  readonly code?: Code;
  /** Index of the caveat that refused the call. */
  readonly caveat?: number;
  /** Public key of the caller, once the signature has verified. */
  readonly signer?: string;
  /** The call came from another node, or was passed on to one. */
  readonly hop?: "received" | "sent";
  readonly duration_us: number;
  /** A bug, by its name and place: never by its data. */
  readonly bug?: string;
}

export type Recorder = (record: RequestRecord) => void;

export function lineRecorder(write: (line: string) => void): Recorder {
  return (record) => write(`${JSON.stringify(record)}\n`);
}
