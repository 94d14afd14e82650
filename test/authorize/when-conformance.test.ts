/**
 * CEL's own conformance suite (cel-spec, as @bufbuild/cel-spec carries it), as far as a condition can ask for it: cases
 * without variables, messages and extensions. A case whose value is no truth value is asked for by comparing it.
 *
 * A case that a condition may not ask for is refused when it is read, and counted here; one that goes wrong in CEL is
 * never a condition that holds.
 */
import { getConformanceSuite, type IncrementalTestSuite } from "@bufbuild/cel-spec/testdata/tests.js";
import { describe, expect, test } from "vitest";
import { readCondition } from "../../src/authorize/when.ts";

const SUITES = new Set([
  "basic",
  "comparisons",
  "conversions",
  "fields",
  "fp_math",
  "integer_math",
  "lists",
  "logic",
  "macros",
  "parse",
  "string",
  "timestamps",
]);

/** What CEL says that a condition of this text is; `error` where it goes wrong. */
type Verdict = "true" | "false" | "error";

interface Case {
  readonly name: string;
  readonly expr: string;
  readonly verdict: Verdict;
}

function casesOf(suite: IncrementalTestSuite, path: string): readonly Case[] {
  const own = suite.tests.flatMap(({ original }): Case[] => {
    const { name, expr, container, bindings, resultMatcher } = original;
    if (container !== "" || Object.keys(bindings).length > 0) return [];
    const verdict = verdictOf(resultMatcher);
    return verdict === undefined ? [] : [{ name: `${path}/${name}`, expr, verdict }];
  });
  return [...own, ...suite.suites.flatMap((inner) => casesOf(inner, `${path}/${inner.name}`))];
}

type Matcher = IncrementalTestSuite["tests"][number]["original"]["resultMatcher"];

function verdictOf(matcher: Matcher): Verdict | undefined {
  if (matcher.case === "evalError" || matcher.case === "anyEvalErrors") return "error";
  if (matcher.case === undefined) return "true";
  if (matcher.case !== "value" || matcher.value.kind.case !== "boolValue") return undefined;
  return matcher.value.kind.value ? "true" : "false";
}

function ask(expr: string): Verdict | "refused" {
  const condition = readCondition(expr);
  if ("reason" in condition) return "refused";
  const reason = condition.unmet({
    args: {},
    actor: { type: "a", id: "b" },
    message: "m",
    now_ms: 0,
    client: { key: "" },
  });
  if (reason === undefined) return "true";
  return reason === "its condition does not hold" ? "false" : "error";
}

const suites = getConformanceSuite().suites.filter(({ name }) => SUITES.has(name));
const cases = suites.flatMap((suite) => casesOf(suite, suite.name));

describe("the conformance suite", () => {
  test.each(suites.map(({ name }) => name))("%s", (name) => {
    const wrong = cases
      .filter((each) => each.name.startsWith(`${name}/`))
      .filter(({ expr, verdict }) => ![verdict, "refused"].includes(ask(expr)));
    expect(wrong).toEqual([]);
  });

  test("is asked for the most part", () => {
    const asked = cases.filter(({ expr }) => ask(expr) !== "refused");
    expect(cases.length).toBeGreaterThan(600);
    expect(asked.length).toBeGreaterThan(cases.length * 0.85);
  });
});
