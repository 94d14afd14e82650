/**
 * Checks of arrays: items by place, the rest, how many, how many of a kind, and that no two are equal.
 */
import type { Json, JsonObject } from "../../json.ts";
import { all, type Check, EXHAUSTED, inside, type Meter, violation } from "./check.ts";
import { type Compiled, PASS } from "./objects.ts";
import { canonical } from "./values.ts";

export interface ArraySchemas {
  readonly prefix: readonly Compiled[];
  readonly items: Compiled | undefined;
  readonly contains: Compiled | undefined;
}

type Items = readonly Json[];

export function arrayCheck(
  schema: JsonObject,
  { prefix, items, contains }: ArraySchemas,
  meter: Meter,
): Check<Items> | undefined {
  const checks = [
    countCheck(schema),
    prefix.length > 0 ? prefixCheck(prefix) : undefined,
    items && items.check !== PASS ? itemsCheck(items, prefix.length, meter) : undefined,
    contains && containsCheck(schema, contains, meter),
    schema["uniqueItems"] === true ? uniqueCheck(meter) : undefined,
  ];
  return all(checks.filter((check) => check !== undefined));
}

function countCheck({ minItems: min = 0, maxItems: max }: JsonObject): Check<Items> | undefined {
  if (typeof min !== "number") return undefined;
  const few = violation(`must NOT have fewer than ${min} items`);
  if (typeof max !== "number")
    return min === 0 ? undefined : ({ length }) => (length < min ? few : undefined);
  const many = violation(`must NOT have more than ${max} items`);
  return ({ length }) => {
    if (length < min) return few;
    return length > max ? many : undefined;
  };
}

function prefixCheck(prefix: readonly Compiled[]): Check<Items> {
  return (value) => {
    const end = Math.min(prefix.length, value.length);
    for (let i = 0; i < end; i++) {
      const broken = prefix[i]?.check(value[i] ?? null);
      if (broken !== undefined) return inside(`/${i}`, broken);
    }
    return undefined;
  };
}

function itemsCheck(items: Compiled, start: number, meter: Meter): Check<Items> {
  return (value) => {
    for (let i = start; i < value.length; i++) {
      if (meter.spend(items.weight)) return EXHAUSTED;
      const broken = items.check(value[i] ?? null);
      if (broken !== undefined) return inside(`/${i}`, broken);
    }
    return undefined;
  };
}

function containsCheck(schema: JsonObject, contains: Compiled, meter: Meter): Check<Items> {
  const min = Number(schema["minContains"] ?? 1);
  const max = Number(schema["maxContains"] ?? Number.POSITIVE_INFINITY);
  const most = max === Number.POSITIVE_INFINITY ? "" : ` and at most ${max}`;
  const failed = violation(`must contain at least ${min}${most} items of the given kind`);
  return (value) => {
    let count = 0;
    for (const item of value) {
      if (meter.spend(contains.weight)) return EXHAUSTED;
      if (contains.check(item) === undefined) count++;
    }
    return count < min || count > max ? failed : undefined;
  };
}

function uniqueCheck(meter: Meter): Check<Items> {
  return (value) => {
    const seen = new Map<Json, number>();
    for (const [i, item] of value.entries()) {
      // An object's text begins with a bracket, and a string's with a quotation mark: they never meet.
      const key = typeof item === "object" || typeof item === "string" ? canonical(item, meter) : item;
      if (meter.spend(1)) return EXHAUSTED;
      const before = seen.get(key);
      if (before !== undefined) return violation(`must NOT have equal items, as ${before} and ${i} are`);
      seen.set(key, i);
    }
    return undefined;
  };
}
