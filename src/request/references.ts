/**
 * References in a batch's arguments: `{"$ref":"$0.items[2].name"}` stands for a value of an earlier result.
 *
 * `$0` is the result of the batch's first call; what follows is a path into it, as RFC 9535 writes singular queries:
 * `.name`, `[2]`, `["any name"]`. In a batch, names that begin with `$` are reserved: an argument's own name of that
 * kind is written with one more, `$$ref` for `$ref`; only `$cap`, which is a capability in any call, stands as it is. Strings are never looked into. So no argument is taken for a
 * reference, and none is out of reach. A reference that is not of this form, or does not point back, is refused.
 */
import { isRefusal, type Refusal, refuse } from "../errors.ts";
import { isJsonArray, isJsonObject, type Json, type JsonObject } from "../json.ts";

export interface Reference {
  /** As it was sent. */
  readonly text: string;
  /** The call whose result is meant, counted from 0. */
  readonly call: number;
  /** Names of members and indices of elements, from the result inwards. */
  readonly path: readonly (string | number)[];
  /** RFC 6901 pointer to where it stands in the arguments. */
  readonly at: string;
}

export interface Arguments {
  /** Without escapes. A reference is an object that `references` knows, by its identity. */
  readonly args: Json;
  readonly references: ReadonlyMap<Json, Reference>;
}

/**
 * @param call the index of the call whose arguments these are
 * @returns or `malformed_request` with the path
 */
export function readArguments(args: Json, call: number): Arguments | Refusal {
  const references = new Map<Json, Reference>();
  const read = readValue(args, "", call, references);
  return isRefusal(read) ? read : { args: read, references };
}

type Found = Map<Json, Reference>;

function readValue(value: Json, at: string, call: number, found: Found): Json | Refusal {
  if (isJsonArray(value)) return readArray(value, at, call, found);
  if (!isJsonObject(value)) return value;
  return Object.hasOwn(value, "$ref")
    ? readReference(value, at, call, found)
    : readObject(value, at, call, found);
}

function readArray(value: readonly Json[], at: string, call: number, found: Found): Json | Refusal {
  const elements: Json[] = [];
  for (const [index, element] of value.entries()) {
    const read = readValue(element, `${at}/${index}`, call, found);
    if (isRefusal(read)) return read;
    elements.push(read);
  }
  return elements;
}

function readObject(value: JsonObject, at: string, call: number, found: Found): Json | Refusal {
  const members: [string, Json][] = [];
  for (const [name, member] of Object.entries(value)) {
    const inner = `${at}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (name.startsWith("$") && !name.startsWith("$$") && name !== "$cap")
      return refuse(
        "malformed_request",
        `names that begin with $ are reserved in a batch: an argument's own ${name} is written $${name}`,
        { path: inner },
      );
    const read = readValue(member, inner, call, found);
    if (isRefusal(read)) return read;
    members.push([name.startsWith("$$") ? name.slice(1) : name, read]);
  }
  return Object.fromEntries(members);
}

function readReference(value: JsonObject, at: string, call: number, found: Found): Json | Refusal {
  const malformed = (reason: string): Refusal => refuse("malformed_request", reason, { path: at });
  const { $ref: text } = value;
  if (typeof text !== "string" || Object.keys(value).length !== 1)
    return malformed('a reference is an object of one member, {"$ref":"$0.name"}');
  const parsed = parseReference(text);
  if (parsed === undefined)
    return malformed('a reference reads $ and the number of a call, then .name, [0] or ["name"] each');
  if (parsed.call >= call)
    return malformed(`${text} does not refer to an earlier call: this one is number ${call}, counted from 0`);
  found.set(value, { ...parsed, text, at });
  return value;
}

const START = /^\$(0|[1-9]\d{0,5})(?![\w])/;
const SEGMENT =
  /\.([A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*)|\[(?:(0|[1-9]\d{0,8})|("(?:[^"\\]|\\.)*"))\]/guy;

function parseReference(text: string): Pick<Reference, "call" | "path"> | undefined {
  const [start, call] = START.exec(text) ?? [""];
  let rest = text.length - start.length;
  const path: (string | number)[] = [];
  for (const [segment, name, index, quoted] of text.slice(start.length).matchAll(SEGMENT)) {
    const step = name ?? (index === undefined ? stringOf(quoted) : Number(index));
    if (step === undefined) return undefined;
    path.push(step);
    rest -= segment.length;
  }
  return call === undefined || rest > 0 ? undefined : { call: Number(call), path };
}

/** A JSON string's value. */
function stringOf(text = ""): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
