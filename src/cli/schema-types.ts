/**
 * JSON Schema printed as a TypeScript type.
 *
 * The type admits every value that the schema admits: what types cannot say (bounds, `not`, conditions, dependencies)
 * is left to the gate, and nothing is made narrower. References become aliases, so that recursive schemas print.
 */
import { isJsonObject, type Json, type JsonObject } from "../json.ts";
import { isList } from "../protocol/schema/keywords.ts";
import { readSchema, type SchemaDocument } from "../protocol/schema/read.ts";

export interface PrintedType {
  readonly type: string;
  /** Declarations that the type refers to. */
  readonly aliases: readonly string[];
}

/** @param name what aliases begin with; the schema must be one that `compileSchema` accepts */
export function printSchema(schema: Json, name: string): PrintedType {
  const document = readSchema(schema);
  if (typeof document === "string") throw new Error(`a schema that was accepted cannot be read: ${document}`);
  const printer = new Printer(document, name);
  const type = printer.print(schema);
  return { type, aliases: printer.aliases() };
}

const ANYTHING = "Json";

class Printer {
  readonly #document: SchemaDocument;
  readonly #name: string;
  /** By the place that is referred to; an empty text is still being printed. */
  readonly #aliases = new Map<string, { readonly name: string; type: string }>();

  constructor(document: SchemaDocument, name: string) {
    this.#document = document;
    this.#name = name;
  }

  aliases(): readonly string[] {
    return [...this.#aliases.values()].map(({ name, type }) => `export type ${name} = ${type};`);
  }

  print(schema: Json | undefined): string {
    if (schema === false) return "never";
    if (!isJsonObject(schema)) return ANYTHING;
    const reference = schema["$ref"];
    const alternatives = [schema["anyOf"], schema["oneOf"]].filter(isList);
    const parts = [
      this.#values(schema) ?? this.#types(schema),
      ...(typeof reference === "string" ? [this.#alias(this.#document.target(reference))] : []),
      ...(isList(schema["allOf"]) ? schema["allOf"].map((part) => this.print(part)) : []),
      ...alternatives.map((list) => union(list.map((part) => this.print(part)))),
    ].filter((part) => part !== ANYTHING);
    const different = [...new Set(parts)];
    if (different.length < 2) return different[0] ?? ANYTHING;
    return different.map((part) => (part.includes(" | ") ? `(${part})` : part)).join(" & ");
  }

  #alias(place: string): string {
    const known = this.#aliases.get(place);
    if (known !== undefined) return known.name;
    const alias = { name: `${this.#name}${this.#aliases.size + 1}`, type: "" };
    this.#aliases.set(place, alias);
    alias.type = this.print(this.#document.schemas.get(place));
    return alias.name;
  }

  #values(schema: JsonObject): string | undefined {
    if (Object.hasOwn(schema, "const")) return literal(schema["const"] ?? null);
    return isList(schema["enum"]) ? union(schema["enum"].map(literal)) : undefined;
  }

  #types(schema: JsonObject): string {
    const { type } = schema;
    if (type === undefined) return ANYTHING;
    const names = (isList(type) ? type : [type]).filter((name) => typeof name === "string");
    return union(names.map((name) => this.#type(name, schema)));
  }

  #type(name: string, schema: JsonObject): string {
    if (name === "object") return this.#object(schema);
    if (name === "array") return this.#array(schema);
    return name === "integer" ? "number" : name;
  }

  #object(schema: JsonObject): string {
    const properties = isJsonObject(schema["properties"] ?? null) ? (schema["properties"] as JsonObject) : {};
    const required = new Set(isList(schema["required"]) ? schema["required"].map(String) : []);
    const names = new Set([...Object.keys(properties), ...required]);
    const others = schema["additionalProperties"];
    if (names.size === 0 && others === false) return "Record<string, never>";
    const members = [...names].map((name) => {
      const type = this.print(Object.hasOwn(properties, name) ? properties[name] : others);
      return `readonly ${memberName(name)}${required.has(name) ? "" : "?"}: ${type}`;
    });
    // An index signature must admit the declared members too, optional ones included.
    if (others !== false)
      members.push(`readonly [name: string]: ${names.size === 0 ? this.print(others) : "unknown"}`);
    return `{ ${members.join("; ")} }`;
  }

  #array({ prefixItems, items, minItems }: JsonObject): string {
    const rest = this.print(items);
    if (!isList(prefixItems)) return rest === "never" ? "readonly []" : `readonly (${rest})[]`;
    const least = typeof minItems === "number" ? minItems : 0;
    const places = prefixItems.map((item, i) => `(${this.print(item)})${i < least ? "" : "?"}`);
    return `readonly [${[...places, ...(rest === "never" ? [] : [`...(${rest})[]`])].join(", ")}]`;
  }
}

function union(types: readonly string[]): string {
  const different = new Set(types.filter((type) => type !== "never"));
  return different.has(ANYTHING) ? ANYTHING : [...different].join(" | ") || "never";
}

function literal(value: Json): string {
  if (isList(value)) return `readonly [${value.map(literal).join(", ")}]`;
  if (!isJsonObject(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(
    ([name, each]) => `readonly ${memberName(name)}: ${literal(each)}`,
  );
  return members.length === 0 ? "Record<string, never>" : `{ ${members.join("; ")} }`;
}

function memberName(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}
