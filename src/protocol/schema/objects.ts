/**
 * Checks of objects: members by name, the others, and how many.
 *
 * Own members only count: what `Object.prototype` has is not sent. Where others are welcome, declared members are
 * read by name, and the others are not looked at; where they are not, the members are walked once.
 */
import type { Json, JsonObject } from "../../json.ts";
import { NAME_LENGTH_MAX } from "../../limits.ts";
import { all, type Check, EXHAUSTED, inside, type Meter, violation } from "./check.ts";
import { isList } from "./keywords.ts";
import { under } from "./read.ts";
import { stepsOf } from "./values.ts";

/** A schema as the one around it sees it. `weight` is what asking it costs; it is right once all are compiled. */
export interface Compiled {
  check: Check;
  weight: number;
}

export interface ObjectSchemas {
  readonly properties: ReadonlyMap<string, Compiled>;
  readonly additional: Compiled | false | undefined;
  readonly names: Compiled | undefined;
  readonly dependents: ReadonlyMap<string, Compiled>;
}

/** A declared or required member. */
interface Member {
  readonly name: string;
  readonly prefix: string;
  readonly check: Check | undefined;
  readonly missing: ReturnType<typeof violation> | undefined;
  /** `Object.prototype` has it too, so that reading it says nothing. */
  readonly inherited: boolean;
}

export function objectCheck(
  schema: JsonObject,
  schemas: ObjectSchemas,
  meter: Meter,
): Check<JsonObject> | undefined {
  const checks = [
    membersCheck(schema, schemas, meter),
    countCheck(schema, meter),
    namesCheck(schemas.names, meter),
    dependentRequired(schema["dependentRequired"]),
    ...[...schemas.dependents].map(([name, dependent]): Check<JsonObject> => {
      return (value) => (Object.hasOwn(value, name) ? dependent.check(value) : undefined);
    }),
  ];
  return all(checks.filter((check) => check !== undefined));
}

function membersCheck(
  schema: JsonObject,
  { properties, additional }: ObjectSchemas,
  meter: Meter,
): Check<JsonObject> | undefined {
  const required = new Set(isList(schema["required"]) ? schema["required"].map(String) : []);
  const names = new Set([...properties.keys(), ...required]);
  const members = [...names].map((name) => {
    return toMember(name, properties.get(name)?.check, required.has(name));
  });
  const asked = members.filter(({ check, missing }) => check !== undefined || missing !== undefined);
  const declared: ReadonlySet<string> = new Set(properties.keys());
  if (additional === false) return closed(members, declared, meter);
  const others = additional && othersCheck(additional, declared, meter);
  if (asked.length === 0) return others;
  return all([open(asked), ...(others === undefined ? [] : [others])]);
}

function toMember(name: string, check: Check | undefined, isRequired: boolean): Member {
  return {
    name,
    prefix: under("", name),
    check: check === PASS ? undefined : check,
    missing: isRequired ? violation(`must have required property '${name}'`) : undefined,
    inherited: name in Object.prototype,
  };
}

export const PASS: Check<unknown> = () => undefined;

function memberOf(value: JsonObject, { name, inherited }: Member): Json | undefined {
  return inherited && !Object.hasOwn(value, name) ? undefined : value[name];
}

function open(members: readonly Member[]): Check<JsonObject> {
  return (value) => {
    for (const member of members) {
      const found = memberOf(value, member);
      if (found === undefined) {
        if (member.missing !== undefined) return member.missing;
      } else if (member.check !== undefined) {
        const broken = member.check(found);
        if (broken !== undefined) return inside(member.prefix, broken);
      }
    }
    return undefined;
  };
}

/** `additionalProperties: false`: the declared members that are there must be all that are there. */
/**
 * `additionalProperties: false`: one walk over the members that are there. It ends at the first that is not declared,
 * so that what it costs is the schema's, not the value's.
 */
function closed(members: readonly Member[], declared: ReadonlySet<string>, meter: Meter): Check<JsonObject> {
  const byName = new Map(
    members.filter(({ name }) => declared.has(name)).map((member) => [member.name, member]),
  );
  const required = members.filter(({ missing }) => missing !== undefined);
  return (value) => {
    if (meter.exhausted) return EXHAUSTED;
    let present = 0;
    // A parsed document's members are its own: nothing that `for in` visits is inherited.
    for (const name in value) {
      const member = byName.get(name);
      if (member === undefined) {
        meter.spend(Object.keys(value).length);
        return violation(`must NOT have additional properties: ${shown(name)}`);
      }
      const broken = member.check?.(value[name] ?? null);
      if (broken !== undefined) return inside(member.prefix, broken);
      if (member.missing !== undefined) present++;
    }
    if (present === required.length) return undefined;
    return required.find(({ name }) => !Object.hasOwn(value, name))?.missing;
  };
}

function othersCheck(additional: Compiled, declared: ReadonlySet<string>, meter: Meter): Check<JsonObject> {
  return (value) => {
    if (meter.exhausted) return EXHAUSTED;
    for (const name in value) {
      if (declared.has(name)) continue;
      if (meter.spend(additional.weight)) return EXHAUSTED;
      const broken = additional.check(value[name] ?? null);
      if (broken !== undefined) return inside(under("", name), broken);
    }
    return undefined;
  };
}

function countCheck(schema: JsonObject, meter: Meter): Check<JsonObject> | undefined {
  const { minProperties: min = 0, maxProperties: max = Number.POSITIVE_INFINITY } = schema;
  if (typeof min !== "number" || typeof max !== "number") return undefined;
  if (min === 0 && max === Number.POSITIVE_INFINITY) return undefined;
  const few = violation(`must NOT have fewer than ${min} properties`);
  const many = violation(`must NOT have more than ${max} properties`);
  return (value) => {
    if (meter.exhausted) return EXHAUSTED;
    const count = Object.keys(value).length;
    meter.spend(count);
    if (count < min) return few;
    return count > max ? many : undefined;
  };
}

function namesCheck(names: Compiled | undefined, meter: Meter): Check<JsonObject> | undefined {
  if (names === undefined) return undefined;
  return (value) => {
    if (meter.exhausted) return EXHAUSTED;
    for (const name in value) {
      if (meter.spend(names.weight + stepsOf(name))) return EXHAUSTED;
      const broken = names.check(name);
      if (broken !== undefined)
        return violation(`must NOT have the property name ${shown(name)}: it ${broken.reason}`);
    }
    return undefined;
  };
}

function dependentRequired(lists: Json | undefined): Check<JsonObject> | undefined {
  if (lists === undefined) return undefined;
  const rules = Object.entries(lists as JsonObject).map(([name, needed]) => ({
    name,
    needed: (needed as readonly string[]).map((other) => ({
      other,
      missing: violation(`must have property '${other}' when property '${name}' is present`),
    })),
  }));
  return (value) => {
    for (const { name, needed } of rules) {
      if (!Object.hasOwn(value, name)) continue;
      for (const { other, missing } of needed) if (!Object.hasOwn(value, other)) return missing;
    }
    return undefined;
  };
}

/** A caller's own name in a reason: no longer than ours are. */
function shown(name: string): string {
  return JSON.stringify(name.length > NAME_LENGTH_MAX ? `${name.slice(0, NAME_LENGTH_MAX)}…` : name);
}
