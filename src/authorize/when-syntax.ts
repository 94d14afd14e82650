/**
 * Which of CEL a condition may use: a closed list of functions and variables, so that a mistake is found where the
 * caveat is written, and nothing is called whose cost nobody has looked at.
 *
 * Left out: `matches`, because ten characters of a pattern can take a sixth of a second to compile (`\pL{1000}`);
 * messages of Protocol Buffers, because there are none.
 */
import type { Expr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";

export type Variable = "args" | "actor" | "message" | "now" | "client";

const VARIABLES: ReadonlySet<string> = new Set<Variable>(["args", "actor", "message", "now", "client"]);
const TYPES: ReadonlySet<string> = new Set([
  "bool",
  "bytes",
  "double",
  "int",
  "list",
  "map",
  "null_type",
  "string",
  "type",
  "uint",
]);

/** What CEL's own operators and macros become when they are parsed. */
const OPERATORS = [
  "_+_",
  "_-_",
  "_*_",
  "_/_",
  "_%_",
  "-_",
  "!_",
  "_&&_",
  "_||_",
  "_?_:_",
  "_==_",
  "_!=_",
  "_<_",
  "_<=_",
  "_>_",
  "_>=_",
  "_[_]",
  "@in",
  "@not_strictly_false",
];
const CONVERSIONS = [
  "bool",
  "bytes",
  "double",
  "duration",
  "dyn",
  "int",
  "string",
  "timestamp",
  "type",
  "uint",
];
/** Of timestamps with or without a time zone, and of durations. */
export const TIME_PARTS: ReadonlySet<string> = new Set([
  "getDate",
  "getDayOfMonth",
  "getDayOfWeek",
  "getDayOfYear",
  "getFullYear",
  "getHours",
  "getMilliseconds",
  "getMinutes",
  "getMonth",
  "getSeconds",
]);
const FUNCTIONS: ReadonlySet<string> = new Set([
  ...OPERATORS,
  ...CONVERSIONS,
  ...TIME_PARTS,
  "contains",
  "endsWith",
  "size",
  "startsWith",
]);

/**
 * @param variables gets those that the expression looks at
 * @returns what is wrong, as words that go on after "its condition"
 */
export function syntaxProblem(expr: Expr, variables: Set<Variable>): string | undefined {
  const check = new SyntaxCheck(variables);
  check.visit(expr, new Set());
  return check.problem;
}

class SyntaxCheck {
  problem: string | undefined;
  readonly #variables: Set<Variable>;

  constructor(variables: Set<Variable>) {
    this.#variables = variables;
  }

  /** @param bound variables that the comprehensions around have brought */
  visit(expr: Expr | undefined, bound: ReadonlySet<string>): void {
    if (expr === undefined || this.problem !== undefined) return;
    const { exprKind } = expr;
    switch (exprKind.case) {
      case "constExpr":
        return;
      case "identExpr":
        return this.#name(exprKind.value.name, bound);
      case "selectExpr":
        return this.visit(exprKind.value.operand, bound);
      case "callExpr": {
        const { function: name, target, args } = exprKind.value;
        if (!FUNCTIONS.has(name)) this.#fail(`calls ${name}, which a condition may not`);
        if (target !== undefined) this.visit(target, bound);
        for (const arg of args) this.visit(arg, bound);
        return;
      }
      case "listExpr":
        for (const element of exprKind.value.elements) this.visit(element, bound);
        return;
      case "structExpr": {
        const { messageName, entries } = exprKind.value;
        if (messageName !== "") this.#fail(`makes a ${messageName}, which a condition may not`);
        for (const { keyKind, value } of entries) {
          if (keyKind.case === "mapKey") this.visit(keyKind.value, bound);
          this.visit(value, bound);
        }
        return;
      }
      case "comprehensionExpr": {
        const { iterVar, iterVar2, accuVar, iterRange, accuInit, loopCondition, loopStep, result } =
          exprKind.value;
        if (iterVar2 !== "") this.#fail("has a macro of two variables, which a condition may not");
        if (VARIABLES.has(iterVar)) this.#fail(`gives another meaning to ${iterVar}`);
        this.visit(iterRange, bound);
        this.visit(accuInit, bound);
        const inside = new Set([...bound, iterVar, accuVar]);
        for (const part of [loopCondition, loopStep, result]) this.visit(part, inside);
        return;
      }
      case undefined:
        this.#fail("has a part that is not understood");
    }
  }

  #name(name: string, bound: ReadonlySet<string>): void {
    if (bound.has(name) || TYPES.has(name)) return;
    if (isVariable(name)) this.#variables.add(name);
    else this.#fail(`names ${name}; it may name ${[...VARIABLES].join(", ")}`);
  }

  #fail(problem: string): void {
    this.problem ??= problem;
  }
}

function isVariable(name: string): name is Variable {
  return VARIABLES.has(name);
}
