/**
 * Checks of single values: equality, numbers, text.
 *
 * Numbers are compared as the decimals that they are written as: 19.99 is a multiple of 0.01, although the doubles'
 * quotient is not whole. Text is counted in code points. Equality is JSON's: members have no order, 1.0 is 1.
 */
import { isJsonObject, type Json, type JsonObject } from "../../json.ts";
import { type Check, EXHAUSTED, type Meter, violation } from "./check.ts";
import { isList } from "./keywords.ts";
import { CHARACTERS_PER_STEP } from "./read.ts";

export function equalTo(constant: Json, meter: Meter): Check {
  const failed = violation("must be equal to constant");
  if (typeof constant !== "object" || constant === null)
    return (value) => (value === constant ? undefined : failed);
  return (value) => (isEqual(constant, value, meter) ? undefined : failed);
}

export function oneOfValues(values: readonly Json[], meter: Meter): Check {
  const failed = violation("must be equal to one of the allowed values");
  const plain: ReadonlySet<Json> = new Set(
    values.filter((value) => typeof value !== "object" || value === null),
  );
  const deep = values.filter((value) => typeof value === "object" && value !== null);
  if (deep.length === 0) return (value) => (plain.has(value) ? undefined : failed);
  return (value) =>
    plain.has(value) || deep.some((allowed) => isEqual(allowed, value, meter)) ? undefined : failed;
}

/** Costs the size of the first, and counts the members of the second. */
function isEqual(a: Json, b: Json, meter: Meter): boolean {
  if (a === b) return true;
  if (isList(a)) {
    return isList(b) && a.length === b.length && a.every((item, i) => isEqual(item, b[i] ?? null, meter));
  }
  if (!isJsonObject(a) || !isJsonObject(b) || meter.exhausted) return false;
  const names = Object.keys(a);
  const count = Object.keys(b).length;
  meter.spend(count);
  return (
    names.length === count &&
    names.every((name) => Object.hasOwn(b, name) && isEqual(a[name] ?? null, b[name] ?? null, meter))
  );
}

type Bound = (limit: number, meter: Meter) => Check<number>;

const BOUNDS: readonly (readonly [string, Bound])[] = [
  [
    "minimum",
    (limit) => {
      const failed = violation(`must be >= ${limit}`);
      return (value) => (value >= limit ? undefined : failed);
    },
  ],
  [
    "exclusiveMinimum",
    (limit) => {
      const failed = violation(`must be > ${limit}`);
      return (value) => (value > limit ? undefined : failed);
    },
  ],
  [
    "maximum",
    (limit) => {
      const failed = violation(`must be <= ${limit}`);
      return (value) => (value <= limit ? undefined : failed);
    },
  ],
  [
    "exclusiveMaximum",
    (limit) => {
      const failed = violation(`must be < ${limit}`);
      return (value) => (value < limit ? undefined : failed);
    },
  ],
  [
    "multipleOf",
    (divisor, meter) => {
      const failed = violation(`must be multiple of ${divisor}`);
      return (value) => (isMultiple(value, divisor, meter) ? undefined : failed);
    },
  ],
];

export function numberChecks(schema: JsonObject, meter: Meter): readonly Check<number>[] {
  return BOUNDS.flatMap(([keyword, bound]) => {
    const limit = schema[keyword];
    return typeof limit === "number" ? [bound(limit, meter)] : [];
  });
}

/** Long division of two decimals: 1 µs, and more the further their sizes are apart. */
const DIVISION_STEPS = 100;

function isMultiple(value: number, divisor: number, meter: Meter): boolean {
  // The remainder of two whole doubles is exact; fractions are not the decimals that they stand for.
  if (Number.isSafeInteger(value) && Number.isSafeInteger(divisor)) return value % divisor === 0;
  const [a, ea] = decimal(value);
  const [b, eb] = decimal(divisor);
  const exponent = Math.min(ea, eb);
  if (meter.spend(DIVISION_STEPS + ea + eb - 2 * exponent)) return false;
  return (a * 10n ** BigInt(ea - exponent)) % (b * 10n ** BigInt(eb - exponent)) === 0n;
}

/** The shortest decimal that is this double: digits and the power of ten of the last. */
function decimal(value: number): readonly [digits: bigint, exponent: number] {
  const [mantissa = "", exponent = "0"] = String(value).split("e");
  const [integer = "", fraction = ""] = mantissa.split(".");
  return [BigInt(integer + fraction), Number(exponent) - fraction.length];
}

export function stringChecks(schema: JsonObject, meter: Meter): readonly Check<string>[] {
  const checks: Check<string>[] = [];
  const { minLength: min, maxLength: max } = schema;
  if (typeof min === "number" && min > 0) {
    const failed = violation(`must NOT have fewer than ${min} characters`);
    // A code point takes one or two units: mostly the units alone decide.
    checks.push((value) => {
      if (value.length >= 2 * min) return undefined;
      if (value.length < min) return failed;
      if (meter.spend(stepsOf(value))) return EXHAUSTED;
      return characters(value) >= min ? undefined : failed;
    });
  }
  if (typeof max === "number") {
    const failed = violation(`must NOT have more than ${max} characters`);
    checks.push((value) => {
      if (value.length <= max) return undefined;
      if (value.length > 2 * max) return failed;
      if (meter.spend(stepsOf(value))) return EXHAUSTED;
      return characters(value) <= max ? undefined : failed;
    });
  }
  return checks;
}

export function stepsOf(text: string): number {
  return 1 + Math.floor(text.length / CHARACTERS_PER_STEP);
}

function characters(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const isPair = (text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (isPair) {
      count--;
      i++;
    }
  }
  return count;
}

/**
 * One text for all equal values: members sorted, numbers as JavaScript writes them. Where the meter runs out it is
 * cut short; the check fails then in any case.
 */
export function canonical(value: Json, meter: Meter): string {
  if (meter.spend(typeof value === "string" ? stepsOf(value) : 1)) return "";
  if (isList(value)) return `[${value.map((item) => canonical(item, meter)).join()}]`;
  if (!isJsonObject(value)) return value === 0 ? "0" : JSON.stringify(value);
  const members = Object.keys(value)
    .toSorted()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name] ?? null, meter)}`);
  return `{${members.join()}}`;
}
