/**
 * Arguments with their references filled in: what the handler of a batch's later call is given.
 *
 * What comes out is a document that could have been sent as it is: as deep, as large, and of the same kind of values.
 * Its size is known before it is built, because a short reference may stand for a megabyte.
 */
import { utf8 } from "../bytes.ts";
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonArray, isJsonObject, type Json, parseJson } from "../json.ts";
import { BATCH_RESOLVED_BYTES_MAX } from "../limits.ts";
import type { Arguments, Reference } from "../request/references.ts";

export interface Resolved {
  readonly args: Json;
  readonly bytes: number;
}

/**
 * @param replies those of the calls before
 * @param bytes_max how large the arguments may be
 * @returns or `schema_violation` for what is not there, `too_large`
 */
export function resolve(
  { args, references }: Arguments,
  replies: readonly Json[],
  bytes_max: number,
): Resolved | Refusal {
  const values = new Map<Json, Json>();
  let characters = 0;
  for (const [place, reference] of references) {
    const value = lookUp(reference, replies);
    if (value === undefined)
      return refuse("schema_violation", `the result of call ${reference.call} has no ${reference.text}`, {
        path: reference.at,
      });
    characters += JSON.stringify(value).length;
    if (characters > bytes_max) return tooLarge(reference.at);
    values.set(place, value);
  }
  const bytes = utf8(JSON.stringify(fill(args, values)));
  if (bytes.length > bytes_max) return tooLarge("");
  const parsed = parseJson(bytes);
  if (isRefusal(parsed)) return refuse("too_large", `once the references are resolved, ${parsed.detail}`);
  return { args: parsed.value, bytes: bytes.length };
}

function tooLarge(path: string): Refusal {
  const what = `the arguments of a batch have at most ${BATCH_RESOLVED_BYTES_MAX} bytes once references are resolved`;
  return refuse("too_large", what, { path });
}

function lookUp({ call, path }: Reference, replies: readonly Json[]): Json | undefined {
  let value = replies[call];
  for (const segment of path) {
    if (typeof segment === "number") value = isJsonArray(value) ? value[segment] : undefined;
    else value = isJsonObject(value) && Object.hasOwn(value, segment) ? value[segment] : undefined;
  }
  return value;
}

function fill(value: Json, values: ReadonlyMap<Json, Json>): Json {
  if (typeof value !== "object" || value === null) return value;
  const known = values.get(value);
  if (known !== undefined) return known;
  if (isJsonArray(value)) return value.map((element) => fill(element, values));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, fill(member, values)]));
}
