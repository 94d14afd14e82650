/**
 * Typed messages: JSON Schema (draft 2020-12) for arguments and results, compiled once to functions, without `eval`.
 *
 * Nothing in a policy is silently ignored: a keyword that is not enforced is refused with its place. A violation
 * names the value by its RFC 6901 pointer. A check always ends: it costs at most the schema's size, and
 * `SCHEMA_WORK_MAX` steps for what references, items and members multiply; a value past that is not shown to be of
 * the type, so it is refused.
 */
import type { Json } from "../json.ts";
import { SCHEMA_WORK_MAX } from "../limits.ts";
import { type Check, EXHAUSTED } from "./schema/check.ts";
import { compileDocument } from "./schema/compile.ts";
import { readSchema } from "./schema/read.ts";

export type { Check, Violation } from "./schema/check.ts";

/** @returns a clause that says why the schema is not usable, where it is not. */
export function compileSchema(schema: Json): Check | string {
  const document = readSchema(schema);
  if (typeof document === "string") return document;
  const { meter, check } = compileDocument(document);
  return (value) => {
    meter.fill(SCHEMA_WORK_MAX);
    const found = check(value);
    return meter.exhausted ? EXHAUSTED : found;
  };
}
