/**
 * Conditions in CEL (Common Expression Language), the text of a `when` caveat.
 *
 * Anybody who holds a token may write one, so both its text and its work are bounded before anything is evaluated:
 * what is too long, nested too deep, calls what `when-syntax.ts` does not list, or may look at more than
 * `when-work.ts` allows, is refused. Everything that goes wrong while it is evaluated is a refusal, too (law 1).
 *
 * Variables: `args` (the message's arguments; JSON's whole numbers are int, others double), `actor` (`type`, `id`),
 * `message`, `now` (a timestamp), `client` (`key`, and `ip` where the address is known).
 */
import { type CelInput, celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import type { Expr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Json } from "../json.ts";
import { WHEN_DEPTH_MAX, WHEN_LENGTH_MAX, WHEN_WORK_MAX } from "../limits.ts";
import { syntaxProblem, type Variable } from "./when-syntax.ts";
import { workOf } from "./when-work.ts";

export interface ConditionFacts {
  readonly args: Json;
  readonly actor: { readonly type: string; readonly id: string };
  readonly message: string;
  readonly now_ms: number;
  readonly client: { readonly key: string; readonly ip?: string };
}

export interface Condition {
  /** The variables that it looks at. */
  readonly variables: ReadonlySet<Variable>;
  /** @returns why the condition does not hold, as a clause; `undefined` where it does */
  unmet(facts: ConditionFacts): string | undefined;
}

const ENVIRONMENT = celEnv();

/** Why a text is no condition, as a clause; the column counted from 1, where it is known. */
export interface NoCondition {
  readonly reason: string;
  readonly column?: number;
}

export function readCondition(text: string): Condition | NoCondition {
  if (text.length > WHEN_LENGTH_MAX)
    return { reason: `its condition is longer than ${WHEN_LENGTH_MAX} characters` };
  // The parser recurses for each bracket, and what it does with one that is never closed grows with their square.
  if (nestingOf(text) > WHEN_DEPTH_MAX)
    return { reason: `its condition is nested deeper than ${WHEN_DEPTH_MAX}` };
  const variables = new Set<Variable>();
  let expr: Expr;
  try {
    ({ expr } = parse(text));
  } catch (error) {
    return notCel(error);
  }
  const problem = syntaxProblem(expr, variables);
  if (problem !== undefined) return { reason: `its condition ${problem}` };
  // Planned once, when it is first asked.
  let planned: Plan | undefined;
  const planOnce = (): Plan => {
    planned ??= plan(ENVIRONMENT, expr);
    return planned;
  };
  return { variables, unmet: (facts) => unmet(expr, planOnce, facts) };
}

type Plan = ReturnType<typeof plan>;

function unmet(expr: Expr, planOnce: () => Plan, facts: ConditionFacts): string | undefined {
  const { args, actor, message, now_ms, client } = facts;
  const work = workOf(expr, { args, actor, message, now: "", client });
  if (work > WHEN_WORK_MAX)
    return `its condition may take ${Math.ceil(work)} steps on these arguments, ${WHEN_WORK_MAX} are allowed`;
  try {
    const result = planOnce()({
      args: toCel(args),
      actor: { ...actor },
      message,
      now: timestampFromMs(now_ms),
      client: { ...client },
    });
    if (isCelError(result)) return `its condition cannot be decided: ${result.message}`;
    if (typeof result !== "boolean") return "its condition is neither true nor false";
    return result ? undefined : "its condition does not hold";
  } catch (error) {
    // The library promises not to throw; that it keeps its promise must not be what lets a call pass.
    return `its condition cannot be decided: ${error instanceof Error ? error.message : "unknown error"}`;
  }
}

/** Brackets of every kind that stand open at once, at most; those in texts are counted, too. */
function nestingOf(text: string): number {
  let depth = 0;
  let most = 0;
  for (const char of text) {
    if ("([{".includes(char)) most = Math.max(most, ++depth);
    else if (")]}".includes(char)) depth--;
  }
  return most;
}

/** The parser says `<input>:line:column: reason`; a caveat has one line. */
function notCel(error: unknown): NoCondition {
  const said = error instanceof Error ? error.message : "it cannot be read";
  const [, column, reason = said] = /^<input>:\d+:(\d+): (.*)$/s.exec(said) ?? [];
  if (column === undefined) return { reason: `its condition is not CEL: ${reason}` };
  return { reason: `its condition is not CEL: column ${column}: ${reason}`, column: Number(column) };
}

function toCel(value: Json): CelInput {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(toCel);
  return new Map(Object.entries<Json>(value).map(([name, member]) => [name, toCel(member)]));
}
