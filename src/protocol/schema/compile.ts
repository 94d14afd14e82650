/**
 * From a document that was read to one check: each schema becomes a function, once, with its keywords built in.
 *
 * No code is generated, because edge runtimes forbid it: a keyword's function closes over its limits, keywords of
 * types that the schema excludes are left out, and what remains for one type is one function. A reference is bound
 * late, so that a schema may refer to the one around it.
 */
import { isJsonObject, type Json, type JsonObject } from "../../json.ts";
import { arrayCheck } from "./arrays.ts";
import { all, type Check, EXHAUSTED, Meter, type Violation, violation } from "./check.ts";
import { isList, TYPES, type TypeName } from "./keywords.ts";
import { type Compiled, objectCheck, PASS } from "./objects.ts";
import { type SchemaDocument, under } from "./read.ts";
import { equalTo, numberChecks, oneOfValues, stepsOf, stringChecks } from "./values.ts";

export interface CompiledSchema {
  readonly meter: Meter;
  readonly check: Check;
}

export function compileDocument(document: SchemaDocument): CompiledSchema {
  const meter = new Meter();
  const compiler = new Compiler(document, meter);
  for (const place of document.schemas.keys()) compiler.at(place);
  return { meter, check: compiler.at("").check };
}

const FALSE = violation("boolean schema is false");
const NOTHING: Check = () => FALSE;

class Compiler {
  readonly #document: SchemaDocument;
  readonly #meter: Meter;
  /** Of each place, what a reference to it holds on to. It admits nothing until it is compiled. */
  readonly #holders = new Map<string, Compiled>();
  readonly #done = new Set<string>();

  constructor(document: SchemaDocument, meter: Meter) {
    this.#document = document;
    this.#meter = meter;
  }

  #holder(place: string): Compiled {
    const known = this.#holders.get(place);
    if (known !== undefined) return known;
    const holder: Compiled = { check: NOTHING, weight: 1 };
    this.#holders.set(place, holder);
    return holder;
  }

  /** Goes into the schemas inside, never along a reference: so what it returns is compiled. */
  at(place: string): Compiled {
    const compiled = this.#holder(place);
    if (this.#done.has(place)) return compiled;
    this.#done.add(place);
    const schema = this.#document.schemas.get(place) ?? false;
    if (typeof schema === "boolean") {
      compiled.check = schema ? PASS : NOTHING;
      return compiled;
    }
    const checks = [
      this.#typed(schema, place, compiled),
      Object.hasOwn(schema, "const") ? equalTo(schema["const"] ?? null, this.#meter) : undefined,
      isList(schema["enum"]) ? oneOfValues(schema["enum"], this.#meter) : undefined,
      this.#reference(schema),
      ...this.#combined(schema, place, compiled),
      this.#conditional(schema, place, compiled),
    ];
    compiled.weight += sizeOf(schema["const"]) + sizeOf(schema["enum"]);
    compiled.check = all(checks.filter((check) => check !== undefined)) ?? PASS;
    return compiled;
  }

  /** A schema inside that is asked once whenever this one is: its weight is added to this one's. */
  #part(place: string, owner: Compiled): Compiled {
    const part = this.at(place);
    owner.weight += part.weight;
    return part;
  }

  #typed(schema: JsonObject, place: string, owner: Compiled): Check | undefined {
    const { properties, additionalProperties, dependentSchemas, prefixItems } = schema;
    const named = (value: Json | undefined, keyword: string): ReadonlyMap<string, Compiled> =>
      new Map(
        Object.keys(value ?? {}).map((name) => [name, this.#part(under(under(place, keyword), name), owner)]),
      );
    // What is asked of each member or item pays for itself.
    const one = (keyword: string): Compiled | undefined =>
      Object.hasOwn(schema, keyword) ? this.at(under(place, keyword)) : undefined;
    const objects = {
      properties: named(properties, "properties"),
      additional: additionalProperties === false ? (false as const) : one("additionalProperties"),
      names: one("propertyNames"),
      dependents: named(dependentSchemas, "dependentSchemas"),
    };
    const prefix = isList(prefixItems)
      ? prefixItems.map((_, i) => this.#part(`${place}/prefixItems/${i}`, owner))
      : [];
    const arrays = { prefix, items: one("items"), contains: one("contains") };
    return ofTypes(typesOf(schema["type"]), {
      number: all(numberChecks(schema, this.#meter)),
      string: all(stringChecks(schema, this.#meter)),
      array: arrayCheck(schema, arrays, this.#meter),
      object: objectCheck(schema, objects, this.#meter),
    });
  }

  #reference(schema: JsonObject): Check | undefined {
    const reference = schema["$ref"];
    if (typeof reference !== "string") return undefined;
    const target = this.#holder(this.#document.target(reference));
    const meter = this.#meter;
    return (value) => (meter.spend(target.weight) ? EXHAUSTED : target.check(value));
  }

  #combined(schema: JsonObject, place: string, owner: Compiled): readonly (Check | undefined)[] {
    const parts = (keyword: string): readonly Check[] => {
      const list = schema[keyword];
      return isList(list) ? list.map((_, i) => this.#part(`${place}/${keyword}/${i}`, owner).check) : [];
    };
    const anyParts = parts("anyOf");
    const oneParts = parts("oneOf");
    const not = Object.hasOwn(schema, "not") ? this.#part(`${place}/not`, owner) : undefined;
    return [
      all(parts("allOf")),
      anyParts.length > 0 ? anyOf(anyParts) : undefined,
      oneParts.length > 0 ? oneOf(oneParts) : undefined,
      not && notOf(not.check),
    ];
  }

  #conditional(schema: JsonObject, place: string, owner: Compiled): Check | undefined {
    if (!Object.hasOwn(schema, "if")) return undefined;
    const branch = (keyword: string): Check =>
      Object.hasOwn(schema, keyword) ? this.#part(under(place, keyword), owner).check : PASS;
    const condition = branch("if");
    const yes = branch("then");
    const no = branch("else");
    return (value) => (condition(value) === undefined ? yes(value) : no(value));
  }
}

/** Whichever branch came furthest into the value is the one that was meant. */
function anyOf(branches: readonly Check[]): Check {
  const failed = violation("must match a schema in anyOf");
  return (value) => {
    let furthest: Violation = failed;
    for (const branch of branches) {
      const broken = branch(value);
      if (broken === undefined) return undefined;
      if (broken.path.length > furthest.path.length) furthest = broken;
    }
    return furthest;
  };
}

function oneOf(branches: readonly Check[]): Check {
  const none = violation("must match exactly one schema in oneOf");
  const several = violation("must match exactly one schema in oneOf, and matches several");
  return (value) => {
    let furthest: Violation = none;
    let matches = 0;
    for (const branch of branches) {
      const broken = branch(value);
      if (broken === undefined) matches++;
      else if (broken.path.length > furthest.path.length) furthest = broken;
      if (matches > 1) return several;
    }
    return matches === 1 ? undefined : furthest;
  };
}

function notOf(inner: Check): Check {
  const failed = violation("must NOT be valid");
  return (value) => (inner(value) === undefined ? failed : undefined);
}

function typesOf(type: Json | undefined): readonly TypeName[] | undefined {
  if (type === undefined) return undefined;
  const names: readonly Json[] = isList(type) ? type : [type];
  return TYPES.filter((name) => names.includes(name));
}

interface ByType {
  readonly number: Check<number> | undefined;
  readonly string: Check<string> | undefined;
  readonly array: Check<readonly Json[]> | undefined;
  readonly object: Check<JsonObject> | undefined;
}

/** One type is the common case, and gets a function of its own. */
function ofTypes(types: readonly TypeName[] | undefined, by: ByType): Check | undefined {
  if (types === undefined) {
    const asked = by.number ?? by.string ?? by.array ?? by.object;
    return asked && ofSeveral(TYPES, by);
  }
  const [only] = types;
  return types.length > 1 || only === undefined ? ofSeveral(types, by) : ofOne(only, by);
}

function ofOne(type: TypeName, by: ByType): Check {
  const failed = violation(`must be ${type}`);
  switch (type) {
    case "null":
      return (value) => (value === null ? undefined : failed);
    case "boolean":
      return (value) => (typeof value === "boolean" ? undefined : failed);
    case "number": {
      const { number = PASS } = by;
      return (value) => (typeof value === "number" ? number(value) : failed);
    }
    case "integer": {
      const { number = PASS } = by;
      return (value) => (typeof value === "number" && Number.isInteger(value) ? number(value) : failed);
    }
    case "string": {
      const { string = PASS } = by;
      return (value) => (typeof value === "string" ? string(value) : failed);
    }
    case "array": {
      const { array = PASS } = by;
      return (value) => (isList(value) ? array(value) : failed);
    }
    case "object":
  }
  const { object = PASS } = by;
  return (value) => (isJsonObject(value) ? object(value) : failed);
}

function ofSeveral(types: readonly TypeName[], by: ByType): Check {
  const failed = violation(`must be ${types.join(" or ")}`);
  const admitted: ReadonlySet<TypeName> = new Set(types);
  const fractions = admitted.has("number");
  const integers = fractions || admitted.has("integer");
  const refused = <T>(type: TypeName, check: Check<T> | undefined): Check<T> =>
    admitted.has(type) ? (check ?? PASS) : () => failed;
  const string = refused("string", by.string);
  const array = refused("array", by.array);
  const object = refused("object", by.object);
  const boolean = refused("boolean", PASS);
  const nothing = refused("null", PASS);
  const { number = PASS } = by;
  return (value) => {
    if (typeof value === "string") return string(value);
    if (typeof value === "number")
      return fractions || (integers && Number.isInteger(value)) ? number(value) : failed;
    if (typeof value === "boolean") return boolean(value);
    if (value === null) return nothing(value);
    return isList(value) ? array(value) : object(value);
  };
}

/** What comparing with a value may cost. */
function sizeOf(value: Json | undefined): number {
  if (typeof value === "string") return stepsOf(value);
  if (typeof value !== "object" || value === null) return 1;
  let size = 1;
  for (const member of Object.values<Json>(value)) size += sizeOf(member);
  return size;
}
