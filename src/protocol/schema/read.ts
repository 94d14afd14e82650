/**
 * A JSON Schema, read strictly: every schema in it by its place, every reference resolved within the document.
 *
 * What is returned is finite and bounded in size and nesting, uses known keywords in their right form only, refers
 * to nothing outside, and never leads from a schema to itself without going into a part of the value. What a
 * compiler does with it therefore ends. A complaint begins with the place in the schema.
 */
import { isJsonObject, type Json, type JsonObject } from "../../json.ts";
import { JSON_DEPTH_MAX, SCHEMA_CHAIN_MAX, SCHEMA_VALUES_MAX } from "../../limits.ts";
import {
  COMPANIONS,
  isList,
  KEYWORDS,
  misshapen,
  ROOT_ONLY,
  type Shape,
  unknownKeyword,
} from "./keywords.ts";

/** Characters of text that count as one value: as many as are read in the time of one. */
export const CHARACTERS_PER_STEP = 32;

export interface SchemaDocument {
  /** Every schema by its place: an RFC 6901 pointer. The root's is empty. */
  readonly schemas: ReadonlyMap<string, boolean | JsonObject>;
  /** The place that a `$ref` of this document means. */
  target(reference: string): string;
}

/** @returns a clause that says what is wrong with the schema, where something is. */
export function readSchema(root: Json): SchemaDocument | string {
  const problem = measure(root, 0, { values: 0 });
  if (problem !== undefined) return problem;
  const reader = new Reader();
  reader.schema(root, "");
  return reader.problem ?? reader.resolve() ?? reader;
}

/** Of a parsed YAML file: it may hold itself, numbers that JSON has not, and one alias many times over. */
function measure(value: Json | undefined, depth: number, total: { values: number }): string | undefined {
  if (depth > JSON_DEPTH_MAX) return `it is nested deeper than ${JSON_DEPTH_MAX}`;
  total.values += 1 + (typeof value === "string" ? Math.floor(value.length / CHARACTERS_PER_STEP) : 0);
  if (total.values > SCHEMA_VALUES_MAX) return `it has more than ${SCHEMA_VALUES_MAX} values`;
  if (value === null || typeof value === "boolean" || typeof value === "string") return undefined;
  if (typeof value === "number")
    return Number.isFinite(value) ? undefined : "it holds a number that JSON has not";
  if (typeof value !== "object") return "it holds something that is no JSON value";
  for (const [name, member] of Object.entries<Json>(value)) {
    total.values += Math.floor(name.length / CHARACTERS_PER_STEP);
    const problem = measure(member, depth + 1, total);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

class Reader implements SchemaDocument {
  readonly schemas = new Map<string, boolean | JsonObject>();
  readonly #anchors = new Map<string, string>();
  #problem: string | undefined;

  get problem(): string | undefined {
    return this.#problem;
  }

  schema(value: Json | undefined, place: string): void {
    if (typeof value !== "boolean" && !isJsonObject(value))
      return this.#complain(place, "a schema must be a mapping, true or false");
    this.schemas.set(place, value);
    if (typeof value === "boolean") return;
    for (const [name, member] of Object.entries(value)) this.#keyword(value, name, member, place);
  }

  #keyword(schema: JsonObject, name: string, value: Json, place: string): void {
    const shape = KEYWORDS.get(name);
    if (shape === undefined) return this.#complain(place, unknownKeyword(name));
    const wrong = misshapen(shape, value);
    if (wrong !== undefined) return this.#complain(place, `${name} ${wrong}`);
    const companion = COMPANIONS.get(name);
    if (companion !== undefined && !Object.hasOwn(schema, companion))
      return this.#complain(place, `${name} means nothing without ${companion}`);
    if (ROOT_ONLY.has(name) && place !== "")
      return this.#complain(place, `${name} may only stand at the schema's root`);
    if (shape === "anchor") this.#anchor(value, place);
    for (const [inner, at] of schemasIn(shape, value, under(place, name))) this.schema(inner, at);
  }

  #anchor(name: Json, place: string): void {
    if (typeof name !== "string") return;
    if (this.#anchors.has(name)) this.#complain(place, `there are two anchors ${name}`);
    this.#anchors.set(name, place);
  }

  /** All places are known: references can be followed. */
  resolve(): string | undefined {
    for (const [place, schema] of this.schemas) {
      const reference = typeof schema === "boolean" ? undefined : schema["$ref"];
      if (typeof reference === "string" && !this.schemas.has(this.target(reference)))
        this.#complain(place, `$ref ${JSON.stringify(reference)} leads to no schema of this document`);
    }
    const lengths = new Map<string, number>();
    for (const place of this.schemas.keys()) {
      if (this.#problem === undefined) this.#chain(place, lengths, 1);
    }
    return this.#problem;
  }

  target(reference: string): string {
    let fragment = reference.slice(1);
    try {
      fragment = decodeURIComponent(fragment);
    } catch {
      // As it stands it leads nowhere, and that is what will be said.
    }
    return this.#anchors.get(fragment) ?? fragment;
  }

  /**
   * How many schemas, this one included, look at the same value one inside the other.
   *
   * @param depth how many that is down to this one, so that the search itself goes no deeper than they may
   */
  #chain(place: string, lengths: Map<string, number>, depth: number): number {
    const known = lengths.get(place);
    if (known === Number.POSITIVE_INFINITY) this.#complain(place, "it refers to itself without end");
    if (known === undefined) lengths.set(place, Number.POSITIVE_INFINITY);
    let longest = (known ?? 1) - 1;
    if (known === undefined && depth <= SCHEMA_CHAIN_MAX) {
      for (const next of this.#inPlace(place)) {
        if (this.#problem === undefined) longest = Math.max(longest, this.#chain(next, lengths, depth + 1));
      }
    }
    lengths.set(place, longest + 1);
    if (depth + longest > SCHEMA_CHAIN_MAX)
      this.#complain(place, `more than ${SCHEMA_CHAIN_MAX} schemas inside each other look at one value`);
    return longest + 1;
  }

  #inPlace(place: string): readonly string[] {
    const schema = this.schemas.get(place);
    if (schema === undefined || typeof schema === "boolean") return [];
    const places: string[] = [];
    for (const [name, value] of Object.entries(schema)) {
      if (name === "$ref" && typeof value === "string") places.push(this.target(value));
      if (!IN_PLACE.has(name)) continue;
      const shape = KEYWORDS.get(name) ?? "any";
      places.push(...schemasIn(shape, value, under(place, name)).map(([, at]) => at));
    }
    return places;
  }

  /** The first complaint is the one that counts. */
  #complain(place: string, clause: string): void {
    this.#problem ??= place === "" ? clause : `at ${place}: ${clause}`;
  }
}

/** Keywords whose schemas look at the same value as the schema around them. */
const IN_PLACE: ReadonlySet<string> = new Set([
  "allOf",
  "anyOf",
  "oneOf",
  "not",
  "if",
  "then",
  "else",
  "dependentSchemas",
]);

function schemasIn(shape: Shape, value: Json, place: string): readonly (readonly [Json, string])[] {
  if (shape === "schema") return [[value, place]];
  if (shape === "schemas" && isList(value)) return value.map((inner, i) => [inner, `${place}/${i}`]);
  if (shape !== "named schemas" || !isJsonObject(value)) return [];
  return Object.entries(value).map(([name, inner]) => [inner, under(place, name)]);
}

/** One step further in an RFC 6901 pointer. */
export function under(pointer: string, name: string): string {
  return `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
