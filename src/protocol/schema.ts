/**
 * Typed messages: JSON Schema (draft 2020-12) for arguments and results, compiled once by Ajv.
 *
 * Ajv's strict mode refuses a keyword or format that it does not enforce, so nothing in a policy is silently
 * ignored. A violation names the value by its RFC 6901 pointer.
 */
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Json } from "../json.ts";

export interface Violation {
  /** RFC 6901 JSON pointer; empty for the whole document. */
  readonly path: string;
  /** A clause such as `must be integer`. */
  readonly reason: string;
}

/** @returns `undefined` where the value is of the type. */
export type Check = (value: Json) => Violation | undefined;

/**
 * Keywords whose cost a caller's argument decides, and not its size: backtracking expressions, and a comparison of
 * every item with every other. Strict mode then refuses them as unknown.
 */
const UNBOUNDED = ["pattern", "patternProperties", "uniqueItems"] as const;

/** Knows what a schema looks like; it keeps nothing of those that it is shown. */
const META = new Ajv2020({ strict: false, strictNumbers: true });

/** @returns a clause that says why the schema is not usable, where it is not. */
export function compileSchema(schema: Json): Check | string {
  // One Ajv for each schema: an `$id` of one tenant never meets another's.
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: false,
    ownProperties: true,
    messages: true,
    validateSchema: false,
  });
  for (const keyword of UNBOUNDED) ajv.removeKeyword(keyword);
  try {
    if (typeof schema === "object" && schema !== null && META.validateSchema(schema) !== true)
      return `it is no JSON Schema: ${META.errorsText(META.errors, { dataVar: "schema" })}`;
    const validate = ajv.compile(typeof schema === "boolean" ? schema : (schema as object));
    // Such a check answers with a promise, which is never false: everything would pass it.
    if ("$async" in validate) return "$async is not supported";
    return (value) => {
      try {
        if (validate(value)) return undefined;
      } catch {
        // A schema that refers to itself without end: the value is not shown to be of the type.
        return { path: "", reason: "cannot be checked: its schema does not end" };
      }
      const error = validate.errors?.[0];
      return { path: error?.instancePath ?? "", reason: describe(error) };
    };
  } catch (error) {
    return error instanceof Error ? error.message : "it cannot be compiled";
  }
}

function describe(error: { message?: string; params?: Record<string, unknown> } | undefined): string {
  const reason = error?.message ?? "does not match its schema";
  const extra: unknown = error?.params?.["additionalProperty"] ?? error?.params?.["unevaluatedProperty"];
  return typeof extra === "string" ? `${reason}: ${JSON.stringify(extra)}` : reason;
}
