/**
 * How much work a condition may be on given arguments: an upper bound, found without evaluating anything.
 *
 * A step is up to 30 µs, usually 1 µs. The bound follows the expression from the inside
 * out and knows of each part how many values and characters it can have; what is taken from the arguments by name is
 * looked at itself.
 */
import type { Expr, Expr_Call, Expr_Comprehension } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { isJsonObject, type Json } from "../json.ts";
import { TIME_PARTS } from "./when-syntax.ts";

/** At most so much: values counted with all that is in them, and the characters of all their texts. */
interface Extent {
  readonly values: number;
  readonly chars: number;
  /** The value itself, where it is known. */
  readonly known?: Json;
}

interface Work {
  readonly steps: number;
  readonly extent: Extent;
}

/** Characters that are compared, copied or counted in one step. */
const CHARS_PER_STEP = 10_000;
/** A list that a macro makes is a chain, and reading an element of it later goes through all of them. */
const STEPS_PER_MADE_ELEMENT = 3;
/** The calendar of a time zone. */
const STEPS_PER_ZONE = 10;
const SCALAR: Extent = { values: 1, chars: 0 };

/** @param variables what the condition may name */
export function workOf(expr: Expr, variables: Readonly<Record<string, Json>>): number {
  const meter = new Meter();
  const scope = new Map(
    Object.entries(variables).map(([name, value]) => [name, meter.measure(value)] as const),
  );
  return meter.work(expr, scope).steps;
}

type Scope = ReadonlyMap<string, Extent>;

class Meter {
  /** Each part of the arguments is measured once. */
  readonly #measured = new Map<Json, Extent>();

  measure(value: Json): Extent {
    if (typeof value === "string") return { values: 1, chars: value.length, known: value };
    if (typeof value !== "object" || value === null) return { ...SCALAR, known: value };
    const before = this.#measured.get(value);
    if (before !== undefined) return before;
    let [values, chars] = [1, 0];
    for (const [name, member] of Object.entries<Json>(value)) {
      const inner = this.measure(member);
      values += inner.values;
      chars += inner.chars + name.length;
    }
    const extent = { values, chars, known: value };
    this.#measured.set(value, extent);
    return extent;
  }

  work(expr: Expr | undefined, scope: Scope): Work {
    if (expr === undefined) return { steps: 0, extent: SCALAR };
    const { exprKind } = expr;
    switch (exprKind.case) {
      case "constExpr":
        return { steps: 0, extent: constant(exprKind.value.constantKind.value) };
      case "identExpr":
        return { steps: 0.1, extent: scope.get(exprKind.value.name) ?? SCALAR };
      case "selectExpr": {
        const { operand, field, testOnly } = exprKind.value;
        const { steps, extent } = this.work(operand, scope);
        return { steps: steps + 0.1, extent: testOnly ? SCALAR : this.#member(extent, field) };
      }
      case "callExpr":
        return this.#call(exprKind.value, scope);
      case "listExpr":
        return together(exprKind.value.elements.map((element) => this.work(element, scope)));
      case "structExpr":
        return together(
          exprKind.value.entries.flatMap(({ keyKind, value }) => [
            this.work(keyKind.case === "mapKey" ? keyKind.value : undefined, scope),
            this.work(value, scope),
          ]),
        );
      case "comprehensionExpr":
        return this.#comprehension(exprKind.value, scope);
      case undefined:
        break;
    }
    return { steps: Infinity, extent: SCALAR };
  }

  #member(extent: Extent, field: string): Extent {
    const { known, values, chars } = extent;
    if (known === undefined) return { values, chars };
    const member = isJsonObject(known) && Object.hasOwn(known, field) ? known[field] : undefined;
    return member === undefined ? SCALAR : this.measure(member);
  }

  #call({ function: name, target, args }: Expr_Call, scope: Scope): Work {
    const operands = [...(target === undefined ? [] : [target]), ...args].map((arg) => this.work(arg, scope));
    const { steps, extent } = together(operands);
    const [first = SCALAR, second = SCALAR] = operands.map((operand) => operand.extent);
    const done = (here: number, result = SCALAR): Work => ({ steps: steps + here, extent: result });
    const reading = extent.chars / CHARS_PER_STEP;
    if (name === "_?_:_" || name === "_+_" || name === "dyn") return done(0.1 + reading, plain(extent));
    if (name === "_[_]") return done(0.1 + reading, plain(first));
    // Compared up to the end of the smaller one.
    if (name === "_==_" || name === "_!=_")
      return done(0.1 + Math.min(first.values, second.values) + reading);
    if (name === "@in") return done(0.1 + second.values + reading);
    // Each place of one text, for each character of the other.
    if (name === "contains") return done(0.1 + (first.chars * second.chars) / CHARS_PER_STEP);
    if (TIME_PARTS.has(name)) return done(args.length > 0 ? STEPS_PER_ZONE : 0.1);
    return done(0.1 + reading, { values: 1, chars: 64 + 4 * extent.chars });
  }

  #comprehension(expr: Expr_Comprehension, scope: Scope): Work {
    const range = this.work(expr.iterRange, scope);
    const makes = expr.accuInit?.exprKind.case === "listExpr";
    const rounds = elementsOf(range.extent);
    const inside = new Map(scope).set(expr.iterVar, this.#element(range.extent)).set(expr.accuVar, SCALAR);
    const condition = this.work(expr.loopCondition, inside);
    const step = this.work(expr.loopStep, inside);
    const round = 0.2 + condition.steps + step.steps + (makes ? STEPS_PER_MADE_ELEMENT : 0);
    const extent = makes
      ? { values: 1 + rounds * step.extent.values, chars: rounds * step.extent.chars }
      : SCALAR;
    return { steps: range.steps + 1 + rounds * round, extent };
  }

  /** The largest of what a macro goes through: elements of a list, keys of a map. */
  #element({ values, chars, known }: Extent): Extent {
    if (typeof known !== "object" || known === null) return { values, chars };
    const each = Array.isArray(known) ? known : Object.keys(known);
    let largest = SCALAR;
    for (const element of each) {
      const extent = this.measure(element);
      largest = {
        values: Math.max(largest.values, extent.values),
        chars: Math.max(largest.chars, extent.chars),
      };
    }
    return largest;
  }
}

function elementsOf({ values, known }: Extent): number {
  if (typeof known !== "object" || known === null) return values;
  return Object.keys(known).length;
}

function constant(value: unknown): Extent {
  return typeof value === "string" || value instanceof Uint8Array
    ? { values: 1, chars: value.length }
    : SCALAR;
}

/** All of them in one: each part's work, and as much as all hold. */
function together(parts: readonly Work[]): Work {
  let [steps, values, chars] = [0.1, 1, 0];
  for (const part of parts) {
    steps += part.steps;
    values += part.extent.values;
    chars += part.extent.chars;
  }
  return { steps, extent: { values, chars } };
}

const plain = ({ values, chars }: Extent): Extent => ({ values, chars });
