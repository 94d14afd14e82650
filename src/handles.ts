/**
 * Handles: `{"$cap": n}` is where a capability stands in a handler's JSON, by a number that the host gave it.
 *
 * Inside it is a handle everywhere: what a handler gets and answers, state, log, kept replies, sends (laws 4 and 7). Over
 * the wire the token's text stands in the number's place. In a reply and in a send's arguments a handle may ask for
 * further caveats, `{"$cap": n, "caveats": ["message in balance"]}`. Nothing else may stand beside a `$cap`.
 */
import { isRefusal, type Refusal } from "./errors.ts";
import { isJsonArray, isJsonObject, type Json, type JsonObject } from "./json.ts";

const CAP = "$cap";

/** What a handler is told of a capability. */
export interface CapabilityNote {
  readonly id: number;
  /** `type/id`, or `type/*`. */
  readonly actor: string;
  /** Messages that it is narrowed to; absent where it is to none. */
  readonly messages?: readonly string[];
  /** ms since the epoch. */
  readonly expires?: number;
}

export interface Handle {
  readonly id: number;
  /** Caveats that it is to be narrowed by when it goes out. */
  readonly caveats: readonly string[];
}

/** @returns `undefined` where the object, which has a `$cap`, is no handle. */
export function readHandle(object: JsonObject): Handle | undefined {
  const { [CAP]: id, caveats = [], ...others } = object;
  if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0) return undefined;
  if (Object.keys(others).length > 0 || !isJsonArray(caveats)) return undefined;
  const texts = caveats.filter((caveat) => typeof caveat === "string");
  return texts.length === caveats.length ? { id, caveats: texts } : undefined;
}

/** The token's text in an object that has a `$cap`, as it came over the wire; `undefined` where it is not of that form. */
export function readWired(object: JsonObject): string | undefined {
  const { [CAP]: text, ...others } = object;
  return typeof text === "string" && Object.keys(others).length === 0 ? text : undefined;
}

/** A handle, or with a token's text what stands for it over the wire. */
export function capOf(is: number | string): JsonObject {
  return { [CAP]: is };
}

/**
 * Puts something in the place of each object that has a `$cap`. What holds none of them stays the same object.
 *
 * @param replace gets the object and an RFC 6901 pointer to it; a refusal ends it
 */
export function replaceCaps(
  value: Json,
  replace: (object: JsonObject, at: string) => Json | Refusal,
): Json | Refusal {
  return replaceBelow(value, [], replace);
}

function replaceBelow(
  value: Json,
  path: (string | number)[],
  replace: (object: JsonObject, at: string) => Json | Refusal,
): Json | Refusal {
  if (typeof value !== "object" || value === null) return value;
  if (isJsonObject(value) && Object.hasOwn(value, CAP)) return replace(value, pointerOf(path));
  const members: (readonly [string | number, Json])[] = [];
  let changed = false;
  for (const [name, member] of isJsonArray(value) ? value.entries() : Object.entries(value)) {
    path.push(name);
    const replaced = replaceBelow(member, path, replace);
    path.pop();
    if (isRefusal(replaced)) return replaced;
    members.push([name, replaced]);
    changed ||= replaced !== member;
  }
  if (!changed) return value;
  return isJsonArray(value) ? members.map(([, member]) => member) : Object.fromEntries(members);
}

function pointerOf(path: readonly (string | number)[]): string {
  return path.map((name) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** The handles in a value that was checked before. */
export function handlesIn(value: Json): readonly Handle[] {
  const found: Handle[] = [];
  replaceCaps(value, (object) => {
    const handle = readHandle(object);
    if (handle !== undefined) found.push(handle);
    return object;
  });
  return found;
}
