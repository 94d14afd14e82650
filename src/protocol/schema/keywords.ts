/**
 * The keywords of JSON Schema draft 2020-12 that a policy may use, and what each takes.
 *
 * The list is closed: what is not in it is refused, so nothing in a policy is silently ignored. Keywords that only
 * describe are taken and mean nothing. Keywords whose cost an argument's content decides, or that check nothing
 * although they look as if they did, are refused with the reason.
 */
import { isJsonObject, type Json } from "../../json.ts";

/** What a keyword's value must look like. The first three hold schemas. */
export type Shape =
  | "schema"
  | "schemas"
  | "named schemas"
  | "types"
  | "any"
  | "values"
  | "number"
  | "positive"
  | "count"
  | "flag"
  | "names"
  | "name lists"
  | "reference"
  | "anchor"
  | "text"
  | "draft";

export const KEYWORDS: ReadonlyMap<string, Shape> = new Map<string, Shape>([
  ["type", "types"],
  ["const", "any"],
  ["enum", "values"],
  ["minimum", "number"],
  ["maximum", "number"],
  ["exclusiveMinimum", "number"],
  ["exclusiveMaximum", "number"],
  ["multipleOf", "positive"],
  ["minLength", "count"],
  ["maxLength", "count"],
  ["minItems", "count"],
  ["maxItems", "count"],
  ["uniqueItems", "flag"],
  ["items", "schema"],
  ["prefixItems", "schemas"],
  ["contains", "schema"],
  ["minContains", "count"],
  ["maxContains", "count"],
  ["minProperties", "count"],
  ["maxProperties", "count"],
  ["required", "names"],
  ["properties", "named schemas"],
  ["additionalProperties", "schema"],
  ["propertyNames", "schema"],
  ["dependentRequired", "name lists"],
  ["dependentSchemas", "named schemas"],
  ["allOf", "schemas"],
  ["anyOf", "schemas"],
  ["oneOf", "schemas"],
  ["not", "schema"],
  ["if", "schema"],
  ["then", "schema"],
  ["else", "schema"],
  ["$ref", "reference"],
  ["$defs", "named schemas"],
  ["$anchor", "anchor"],
  ["$schema", "draft"],
  ["$id", "text"],
  ["$comment", "text"],
  ["title", "text"],
  ["description", "text"],
  ["default", "any"],
  ["examples", "any"],
  ["deprecated", "flag"],
  ["readOnly", "flag"],
  ["writeOnly", "flag"],
]);

const UNENFORCED = "it only describes, and would look as if it were enforced";
const COLLECTS =
  "list the members with `properties` and `additionalProperties`, or the items with `prefixItems`";

/** Keywords that the draft knows and a policy may not use. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["pattern", "a backtracking expression can take any time; use enum, minLength and maxLength"],
  ["patternProperties", "a backtracking expression can take any time; use properties or propertyNames"],
  ["format", UNENFORCED],
  ["contentEncoding", UNENFORCED],
  ["contentMediaType", UNENFORCED],
  ["contentSchema", UNENFORCED],
  ["unevaluatedProperties", COLLECTS],
  ["unevaluatedItems", COLLECTS],
  ["$dynamicRef", "which schema it means depends on the way there; use $ref"],
  ["$dynamicAnchor", "use $anchor"],
  ["$vocabulary", "it belongs into a meta-schema"],
  ["$async", "a check answers at once"],
]);

/** These mean something only beside another; alone they would be ignored. */
export const COMPANIONS: ReadonlyMap<string, string> = new Map([
  ["then", "if"],
  ["else", "if"],
  ["minContains", "contains"],
  ["maxContains", "contains"],
]);

/** Only these may stand at the root alone: inside they would begin a document of their own. */
export const ROOT_ONLY: ReadonlySet<string> = new Set(["$id", "$schema"]);

export const TYPES = ["null", "boolean", "number", "integer", "string", "array", "object"] as const;
export type TypeName = (typeof TYPES)[number];

export const DRAFT = "https://json-schema.org/draft/2020-12/schema";

export function unknownKeyword(name: string): string {
  const reason = REFUSED.get(name);
  return reason === undefined
    ? `unknown keyword ${JSON.stringify(name)}`
    : `${name} is not supported: ${reason}`;
}

/** @returns a clause that says what is wrong with a keyword's value. Schemas inside it are read by others. */
export function misshapen(shape: Shape, value: Json): string | undefined {
  switch (shape) {
    case "any":
    case "schema":
      return undefined;
    case "schemas":
      return isList(value) && value.length > 0 ? undefined : "must be a list of schemas that is not empty";
    case "named schemas":
      return isJsonObject(value) ? undefined : "must be a mapping of schemas";
    case "types":
      return areTypes(value) ? undefined : `must be one or a list of ${TYPES.join(", ")}`;
    case "values":
      return isList(value) && value.length > 0 ? undefined : "must be a list of values that is not empty";
    case "number":
      return typeof value === "number" ? undefined : "must be a number";
    case "positive":
      return typeof value === "number" && value > 0 ? undefined : "must be a number above 0";
    case "count":
      return Number.isSafeInteger(value) && Number(value) >= 0 ? undefined : "must be a whole number from 0";
    case "flag":
      return typeof value === "boolean" ? undefined : "must be true or false";
    case "names":
      return areNames(value) ? undefined : "must be a list of different names";
    case "name lists":
      return isJsonObject(value) && Object.values(value).every(areNames)
        ? undefined
        : "must be a mapping of lists of different names";
    case "text":
      return typeof value === "string" ? undefined : "must be text";
    case "reference":
      return typeof value === "string" && value.startsWith("#")
        ? undefined
        : "must begin with #: a schema refers to its own document only";
    case "anchor":
      return typeof value === "string" && /^[A-Za-z_][-A-Za-z0-9._]*$/.test(value)
        ? undefined
        : "must be a name of letters, digits, and - . _";
    case "draft":
  }
  return value === DRAFT ? undefined : `must be ${DRAFT}`;
}

/** What `Array.isArray` does not say of a readonly list. */
export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function areNames(value: Json): boolean {
  return (
    isList(value) &&
    value.every((name) => typeof name === "string") &&
    new Set<Json>(value).size === value.length
  );
}

function areTypes(value: Json): boolean {
  const names = isList(value) ? value : [value];
  const known: readonly Json[] = TYPES;
  return (
    names.length > 0 && names.every((name) => known.includes(name)) && new Set(names).size === names.length
  );
}
