import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parsePolicies, type TenantPolicy } from "../src/config.ts";
import type { Json } from "../src/json.ts";
import { BEHAVIOURS_PER_ACTOR_MAX } from "../src/limits.ts";
import type { PolicyProblem } from "../src/policy-file.ts";
import { compileSchema } from "../src/protocol/schema.ts";

const TENANT = "tenant: demo\n";
const TILL = `actor: till
handler: { wasm: till }
messages:
  open: {}
  pay: { args: { type: object }, reads: false }
protocol: open ; pay*
behaviour: open ; pay*
`;

const parse = (till: string, tenant = TENANT) =>
  parsePolicies(
    "policies/demo",
    new Map([
      ["tenant.yaml", tenant],
      ["till.yaml", till],
    ]),
  );

/** Each problem as editors know them: `file:line:column: detail`. */
function problemsOf(result: TenantPolicy | PolicyProblem[]): string[] {
  if (!Array.isArray(result)) throw new Error("it was accepted");
  return result.map(({ file, line, column, detail }) => `${file}:${line}:${column}: ${detail}`);
}

function accepted(result: TenantPolicy | PolicyProblem[]): TenantPolicy {
  if (Array.isArray(result)) throw new Error(problemsOf(result).join("\n"));
  return result;
}

/** The one problem of a till's policy, without the file's name. */
function problem(till: string): string {
  const problems = problemsOf(parse(till));
  expect(problems).toHaveLength(1);
  return problems[0]?.replace(/^policies\/demo\/till\.yaml:/, "") ?? "";
}

describe("the demo's policies", () => {
  const folder = new URL("../policies/demo/", import.meta.url);
  const files = new Map(
    readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]),
  );
  const policy = accepted(parsePolicies("policies/demo", files));

  test("are a bank account, a quorum and a release, whose tokens must be bound", () => {
    expect(policy).toMatchObject({ tenant: "demo", holder: "required" });
    expect(Object.keys(policy.actors)).toEqual(["account", "quorum", "release"]);
    expect(Object.keys(policy.actors["account"]?.messages ?? {})).toEqual([
      "open",
      "deposit",
      "withdraw",
      "balance",
      "close",
    ]);
  });

  test("resolve their aliases", () => {
    const { deposit, withdraw, open, balance } = policy.actors["account"]?.messages ?? {};
    expect(withdraw).toEqual(deposit);
    expect(balance?.result).toEqual(open?.result);
  });
});

describe("what is left out", () => {
  const policy = accepted(parse(TILL));

  test("holder is required", () => {
    expect(policy.holder).toBe("required");
    expect(accepted(parse(TILL, `${TENANT}holder: optional\n`)).holder).toBe("optional");
  });

  test("a message takes no arguments, answers anything and may change the state", () => {
    expect(policy.actors["till"]?.messages["open"]).toEqual({
      args: { type: "object", additionalProperties: false },
      result: true,
      reads: false,
    });
  });
});

test("a policy is frozen, all the way down", () => {
  const walk = (value: unknown): boolean =>
    typeof value !== "object" ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every((member) => walk(member)));
  expect(walk(accepted(parse(TILL)))).toBe(true);
});

describe("every error has its file, line and column", () => {
  test.each([
    [
      "an unknown key",
      TILL.replace("handler:", "colour: red\nhandler:"),
      /^2:9: unknown key "colour"; known here: actor, handler/,
    ],
    [
      "an unknown key of a message",
      TILL.replace("reads: false", "read: true"),
      /^5:40: unknown key "read"; known here: args, result, reads/,
    ],
    [
      "an unknown key of the handler",
      TILL.replace("{ wasm: till }", "{ wasm: till, url: x }"),
      /^2:29: unknown key "url"/,
    ],
    [
      "a handler's name out of form",
      TILL.replace("wasm: till", "wasm: ../till"),
      /^2:18: wasm must be text of the form/,
    ],
    [
      "a handler that is no mapping",
      TILL.replace("{ wasm: till }", "till"),
      /^2:10: handler must be a mapping/,
    ],
    ["reads that is no boolean", TILL.replace("false", "maybe"), /^5:41: reads must be true or false/],
    [
      "a message in capitals",
      TILL.replace("messages:", "messages:\n  Refund: {}"),
      /^4:11: "Refund" is not a message name/,
    ],
    [
      "a message named as the end",
      TILL.replace("messages:", "messages:\n  end: {}"),
      /^4:8: "end" is not a message name/,
    ],
    ["a message that is no mapping", TILL.replace("open: {}", "open: [1]"), /^4:9: open must be a mapping/],
    [
      "a protocol that names no message",
      TILL.replace("protocol: open ; pay*", "protocol: open ; refund"),
      /^6:11: protocol names refund, which is no message of this actor/,
    ],
    [
      "a behaviour that names no message",
      TILL.replace("behaviour: open", "behaviour: close"),
      /^7:12: behaviour names close/,
    ],
    [
      "a protocol that cannot be read",
      TILL.replace("protocol: open ; pay*", "protocol: open ; ;"),
      /^6:18: protocol, column 8: expected a message/,
    ],
    [
      "a protocol that is no text",
      TILL.replace("protocol: open ; pay*", "protocol: 5"),
      /^6:11: protocol must be text/,
    ],
    [
      "a schema's unknown keyword",
      TILL.replace("type: object", "typ: object"),
      /^5:16: the schema is not usable: unknown keyword "typ"/,
    ],
    [
      "a schema's unknown type",
      TILL.replace("type: object", "type: money"),
      /^5:16: the schema is not usable: /,
    ],
    [
      "a schema's unknown format",
      TILL.replace("type: object", "format: iban"),
      /^5:16: the schema is not usable: format is not supported: it only describes/,
    ],
    [
      "a schema that is no schema",
      TILL.replace("{ type: object }", "text"),
      /^5:16: the schema is not usable: a schema must be a mapping, true or false/,
    ],
    [
      "a schema that refers elsewhere",
      TILL.replace("type: object", "$ref: 'https://evil.example/s'"),
      /^5:16: the schema is not usable: \$ref must begin with #/,
    ],
    [
      "a schema that answers later",
      TILL.replace("type: object", "$async: true"),
      /^5:16: the schema is not usable: \$async is not supported/,
    ],
    [
      "a schema that holds itself",
      TILL.replace("{ type: object }", "&a { properties: { x: *a } }"),
      /^5:19: the schema is not usable: /,
    ],
    [
      "a bound that is no number",
      TILL.replace("type: object", "maximum: .inf"),
      /^5:16: the schema is not usable: /,
    ],
    ["a key twice", TILL.replace("behaviour", "protocol"), /^7:1: Map keys must be unique/],
    ["a message twice", TILL.replace("  pay:", "  open: {}\n  pay:"), /^5:3: Map keys must be unique/],
    ["a syntax error", TILL.replace("{ wasm: till }", "{ wasm: till"), /^3:1: /],
    ["a tag", TILL.replace("wasm: till", "wasm: !!js/function till"), /^2:18: Unresolved tag/],
    ["two documents", `${TILL}---\n${TILL}`, /^8:1: Source contains multiple documents/],
    ["an empty file", "", /^1:1: the file must be a mapping/],
    ["a list", "- actor\n", /^1:1: the file must be a mapping/],
    ["an alias of nothing", TILL.replace("{ type: object }", "*nothing"), /^\d+:\d+: Unresolved alias/],
  ])("%s", (_, till, expected) => {
    expect(problem(till)).toMatch(expected);
  });

  test("behind an alias, the place is where the alias stands", () => {
    const aliased = TILL.replace("open: {}", "open: &m { args: { typ: 1 } }").replace(
      /pay: \{.*\}/,
      "pay: *m",
    );
    expect(problemsOf(parse(aliased)).map((text) => text.replace(/ the schema.*/, ""))).toEqual([
      "policies/demo/till.yaml:4:20:",
      "policies/demo/till.yaml:5:8:",
    ]);
  });

  test.each(["actor", "handler", "messages", "protocol", "behaviour"])("without %s", (key) => {
    const without = TILL.replace(new RegExp(`^${key}:.*\\n(  .*\\n)*`, "m"), "");
    expect(problemsOf(parse(without))[0]).toBe(`policies/demo/till.yaml:1:1: ${key} is missing`);
  });

  test("a tab for indentation", () => {
    expect(problemsOf(parse(TILL.replace("  open", "\topen")))[0]).toMatch(/till\.yaml:4:1: Tabs/);
  });

  test("an alias bomb is not blown up", () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `l${level}: &l${level} [${`*l${level - 1},`.repeat(9)}]`,
    );
    const bomb = ["l: &l-1 [x]", ...levels].join("\n");
    expect(problem(bomb)).toBe("1:1: Excessive alias count indicates a resource exhaustion attack");
  });

  test("all of them at once, each file's own", () => {
    const till = TILL.replace("wasm: till", "wasm: 5").replace("open: {}", "open: 5");
    expect(problemsOf(parse(till, "tenant: other\nholder: perhaps\n"))).toEqual([
      "policies/demo/tenant.yaml:1:9: tenant must be demo, as its folder is named",
      "policies/demo/tenant.yaml:2:9: holder must be required or optional",
      expect.stringMatching(/^policies\/demo\/till\.yaml:2:18: wasm must be text/),
      "policies/demo/till.yaml:4:9: open must be a mapping",
    ]);
  });
});

describe("what mint gives is within what the actor is prepared for", () => {
  const till = (protocol: string, behaviour: string): string =>
    TILL.replace("protocol: open ; pay*", `protocol: ${protocol}`).replace(
      "behaviour: open ; pay*",
      `behaviour: ${behaviour}`,
    );

  test.each([
    ["open ; pay*", "open ; pay*"],
    ["open", "open ; pay*"],
    ["pay{0,3} & open", "(open | pay)*"],
  ])("%s within %s", (protocol, behaviour) => {
    expect(accepted(parse(till(protocol, behaviour))).actors["till"]).toMatchObject({ protocol, behaviour });
  });

  test.each([
    [
      "pay* ; open",
      "open ; pay*",
      "6:11: after nothing, protocol admits pay, but behaviour admits open",
      ["pay"],
    ],
    [
      "open ; pay* ; open",
      "open ; pay*",
      "6:11: after open, protocol admits open, but behaviour admits pay",
      ["open", "open"],
    ],
    [
      "open ; pay{3,3}",
      "open ; pay{0,2}",
      "6:11: after open, pay, pay, protocol admits pay, but behaviour admits nothing",
      ["open", "pay", "pay", "pay"],
    ],
  ])("%s is not within %s: a shortest word", (protocol, behaviour, expected, word) => {
    const text = till(protocol, behaviour);
    expect(problem(text)).toBe(expected);
    expect(parse(text)).toMatchObject([{ word }]);
  });
});

describe("what an actor may become", () => {
  const becoming = (become: string, behaviour = "open ; pay*"): string =>
    TILL.replace("behaviour: open ; pay*", `behaviour: ${behaviour}\nbecome:${become}`);

  test.each([
    ["narrower from the start", { none: "end" }],
    ["narrower after some messages", { idle: "end", few: "pay{0,3}", more: "pay* " }],
    ["narrower than what it can become", { few: "pay{0,3}", fewer: "pay{0,2}" }],
  ])("is %s", (_, become) => {
    const lines = Object.entries(become).map(([name, text]) => `\n  ${name}: ${text}`);
    expect(accepted(parse(becoming(lines.join("")))).actors["till"]?.become).toEqual(
      Object.fromEntries(Object.entries(become).map(([name, text]) => [name, text.trim()])),
    );
  });

  test("is nothing unless the policy says so", () => {
    expect(accepted(parse(TILL)).actors["till"]).not.toHaveProperty("become");
    expect(accepted(parse(becoming(" {}"))).actors["till"]?.become).toEqual({});
  });

  test("must be narrower at some point: a shortest word says why not", () => {
    const text = becoming("\n  idle: end\n  again: open ; pay ; open");
    expect(problem(text)).toBe(
      "10:10: the actor can never become again, which is narrower than behaviour at no point: at its start, " +
        "after open, pay it admits open, where behaviour admits pay",
    );
    expect(parse(text)).toMatchObject([{ word: ["open", "pay", "open"] }]);
  });

  test("must be reachable: from each other alone is not enough", () => {
    const both = problemsOf(parse(becoming("\n  one: (open | pay)*\n  two: (pay | open)*")));
    expect(both).toEqual([
      expect.stringContaining("the actor can never become one") as unknown,
      expect.stringContaining("the actor can never become two") as unknown,
    ]);
  });

  test.each([
    [
      "a message that is none",
      "\n  idle: pay | refund",
      "9:9: idle names refund, which is no message of this actor",
    ],
    ["an expression that cannot be read", "\n  idle: pay ;", /^9:14: protocol, column/],
    ["no text", "\n  idle: 5", "9:9: idle must be text"],
    ["no name", "\n  Idle: pay", '9:9: "Idle" is not a name for a behaviour'],
    ["the name of the first one", "\n  behaviour: pay", '9:14: "behaviour" is not a name for a behaviour'],
    ["no mapping", " idle", "8:9: become must be a mapping"],
    [
      "too many",
      Array.from({ length: BEHAVIOURS_PER_ACTOR_MAX + 1 }, (_, i) => `\n  b${i}: end`).join(""),
      "9:3: an actor may become at most 16 others",
    ],
  ])("%s is refused where it stands", (_, become, expected) => {
    expect(problem(becoming(become))).toEqual(
      typeof expected === "string" ? expected : (expect.stringMatching(expected) as unknown),
    );
  });

  test("is nothing for an actor without state", () => {
    const text = becoming("\n  idle: end").replace("messages:", "state: none\nmessages:");
    expect(problem(text.replace(", reads: false", ""))).toBe(
      "10:3: an actor without state becomes nothing: its messages only read",
    );
  });

  test.each([
    [
      "one of them alone",
      "((open;pay){100,100})*",
      ["((open;pay){99,99})*"],
      /n0 and behaviour: .* 40000 steps/,
    ],
    [
      "all together",
      "(open;pay){250,255}",
      Array.from({ length: 16 }, (_, i) => `(open;pay){${150 + i},${150 + i}};open;open`),
      /the behaviours take more than 8000000 steps/,
    ],
  ])("may not take for ever to compare: %s", (_, behaviour, expressions, expected) => {
    const names = expressions.map((expression, i) => `\n  n${i}: ${expression}`);
    const text = becoming(names.join(""), behaviour).replace("protocol: open ; pay*", "protocol: open");
    expect(problem(text)).toMatch(expected);
  });
});

describe("an actor without state", () => {
  const stateless = (state: string): string => TILL.replace("messages:", `state: ${state}\nmessages:`);

  test("says so, and all its messages only read", () => {
    const policy = accepted(parse(stateless("none").replace(", reads: false", "")));
    const { state, messages } = policy.actors["till"] ?? {};
    expect(state).toBe("none");
    expect(Object.values(messages ?? {}).map(({ reads }) => reads)).toEqual([true, true]);
    expect(accepted(parse(TILL)).actors["till"]).not.toHaveProperty("state");
  });

  test("has nothing that a message could change", () => {
    expect(problem(stateless("none"))).toBe(
      "6:41: reads is true for every message of an actor without state",
    );
  });

  test.each(["some", "None", "true", "[none]", "~", '""'])("state: %s means nothing", (state) => {
    expect(problem(stateless(state))).toBe(
      "3:8: state must be none, or be left out for an actor that has one",
    );
  });
});

describe("a mistake in an expression is shown where it stands", () => {
  const at = (value: string): string[] =>
    problemsOf(parse(TILL.replace("protocol: open ; pay*", `protocol: ${value}`))).map(
      (text) => /:(\d+:\d+): protocol, column/.exec(text)?.[1] ?? text,
    );

  test.each([
    ["plain", "open ; ; pay", "6:18"],
    ["quoted", "'open ; ; pay'", "6:19"],
    ["quoted twice", '"open ; ; pay"', "6:19"],
    ["at the end", "open ;", "6:17"],
    ["escaped: where it begins", '"open ;\\x20; pay"', "6:11"],
    ["over several lines: where it begins", "|\n  open ;\n  ; pay", "6:11"],
  ])("%s", (_, value, place) => expect(at(value)).toEqual([place]));

  test("with the expression and the column in it", () => {
    expect(parse(TILL.replace("protocol: open ; pay*", "protocol: |\n  open ;\n  ; pay"))).toMatchObject([
      { position: { text: "open ; ; pay ", column: 8 } },
    ]);
  });
});

describe("files and names", () => {
  test("a tenant needs its tenant.yaml", () => {
    expect(problemsOf(parsePolicies("policies/demo", new Map([["till.yaml", TILL]])))).toEqual([
      "policies/demo/tenant.yaml:1:1: the tenant has no tenant.yaml",
    ]);
  });

  test("an actor is named as its file", () => {
    expect(problem(TILL.replace("actor: till", "actor: safe"))).toBe(
      "1:8: actor must be the file's name without .yaml",
    );
  });

  test("names of Object.prototype are names like others", () => {
    const till = TILL.replaceAll("open", "constructor");
    const messages = accepted(parse(till)).actors["till"]?.messages ?? {};
    expect(Object.keys(messages)).toEqual(["constructor", "pay"]);
    expect(
      problem(
        TILL.replaceAll(": open ;", ": constructor ;").replace("protocol: constructor", "protocol: open"),
      ),
    ).toMatch(/^7:12: behaviour names constructor/);
  });

  test("__proto__ is no name", () => {
    const problems = problemsOf(parse(TILL.replace("open: {}", "open: {}\n  __proto__: { reads: true }")));
    expect(problems).toEqual([`policies/demo/till.yaml:5:14: "__proto__" is not a message name`]);
    expect(Object.hasOwn(Object.prototype, "reads")).toBe(false);
  });
});

describe("a schema", () => {
  const check = (schema: Json, value: Json) => {
    const compiled = compileSchema(schema);
    if (typeof compiled === "string") throw new Error(compiled);
    return compiled(value);
  };
  const amount: Json = {
    type: "object",
    properties: { amount: { type: "integer", exclusiveMinimum: 0 } },
    required: ["amount"],
    additionalProperties: false,
  };

  test.each<[Json, { path: string; reason: string } | undefined]>([
    [{ amount: 5 }, undefined],
    [{ amount: 0 }, { path: "/amount", reason: "must be > 0" }],
    [{ amount: 1.5 }, { path: "/amount", reason: "must be integer" }],
    [{ amount: "5" }, { path: "/amount", reason: "must be integer" }],
    [{}, { path: "", reason: "must have required property 'amount'" }],
    [
      { amount: 5, note: "" },
      { path: "", reason: 'must NOT have additional properties: "note"' },
    ],
    [[5], { path: "", reason: "must be object" }],
    [null, { path: "", reason: "must be object" }],
  ])("%j", (value, violation) => {
    expect(check(amount, value)).toEqual(violation);
  });

  test("asks for own members only: what Object.prototype has is not sent", () => {
    const schema: Json = { type: "object", properties: { constructor: true }, required: ["constructor"] };
    expect(check(schema, {})).toEqual({ path: "", reason: "must have required property 'constructor'" });
  });

  test("that is true or false is one, too", () => {
    expect(check(true, 5)).toBeUndefined();
    expect(check(false, 5)).toEqual({ path: "", reason: "boolean schema is false" });
  });

  test("of one compilation knows no other's $id", () => {
    const named: Json = { $id: "https://postern.example/money", type: "integer" };
    expect(check(named, 1)).toBeUndefined();
    expect(check(named, 1)).toBeUndefined();
    expect(compileSchema({ $ref: "https://postern.example/money" })).toEqual(expect.any(String));
  });

  test("never answers later, which would admit everything", () => {
    const later: Json = { $async: true, type: "integer" };
    expect(compileSchema(later)).toMatch(/^\$async is not supported/);
    expect(compileSchema({ $defs: { later }, $ref: "#/$defs/later" })).toMatch(
      /^at \/\$defs\/later: \$async/,
    );
    expect(compileSchema({ type: "object", properties: { a: later } })).toMatch(
      /^at \/properties\/a: \$async/,
    );
  });
});
