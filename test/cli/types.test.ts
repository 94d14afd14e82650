/** `postern types`: what it writes compiles under strict settings and says what the policy says. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { printSchema } from "../../src/cli/schema-types.ts";
import type { Json } from "../../src/json.ts";
import { ROOT, typeCheck } from "../sdk/type-check.ts";
import { postern } from "../support/postern.ts";

const directory = mkdtempSync(join(tmpdir(), "postern-types-cli-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const SDK = `${ROOT}src/sdk/protocol.ts`;

describe("postern types", () => {
  it("writes the demo's policy as a client that knows the order", async () => {
    const out = join(directory, "demo.ts");
    expect(await postern(["types", "policies", "--out", out, "--import", SDK])).toMatchObject({ code: 0 });
    const program = `
      import type { Link } from "${SDK}";
      import { accountProtocol } from "./demo.ts";
      declare const link: Link;
      export async function run(): Promise<number> {
        const opened = await accountProtocol.connect(link).open({ owner: "Ada" });
        let reference = opened.next;
        for (let i = 0; i < 3; i++) reference = (await reference.deposit({ amount: 1 })).next;
        const resumed = accountProtocol.connect(link, "open", "deposit");
        reference = resumed;
        const { result, next } = await reference.close();
        // @ts-expect-error it is closed
        void next.open({ owner: "Ada" });
        // @ts-expect-error it is open already
        void resumed.open({ owner: "Ada" });
        // @ts-expect-error an amount is a number
        void resumed.deposit({ amount: "1" });
        // @ts-expect-error a closed account is no open one
        reference = next;
        const batch = await accountProtocol.batch(resumed, (start) => {
          const paid = start.deposit({ amount: 5 });
          // @ts-expect-error an amount is a number
          paid.next.withdraw({ amount: paid.result });
          // @ts-expect-error it is open already
          paid.next.open({ owner: "Ada" });
          return paid.next.withdraw({ amount: paid.result.balance }).next.close();
        });
        const [first, , last] = batch.results;
        reference = (await accountProtocol.batch(resumed, (start) => start.balance())).next;
        // @ts-expect-error there are three results
        void batch.results[3];
        // @ts-expect-error it is closed
        void batch.next.balance();
        const balance: number = result.balance + first.balance + last.balance;
        return balance;
      }`;
    const { errors } = await typeCheck({ "demo.ts": readFileSync(out, "utf8"), "program.ts": program });
    expect(errors).toEqual([]);
  });

  it("prints, says what is wrong with a policy, and takes one tenant at a time", async () => {
    const printed = await postern(["types"]);
    expect(printed.stdout).toContain('import { type Json, table } from "postern/protocol";');
    for (const tenant of ["a", "b"]) {
      mkdirSync(join(directory, "two", tenant), { recursive: true });
      writeFileSync(join(directory, "two", tenant, "tenant.yaml"), `tenant: ${tenant}\n`);
    }
    expect(await postern(["types", join(directory, "two")])).toMatchObject({ code: 2 });
    writeFileSync(join(directory, "two", "a", "tenant.yaml"), "tenant: c\n");
    const wrong = await postern(["types", join(directory, "two", "a")]);
    expect(wrong).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/tenant\.yaml:1:9: tenant must be a/),
    });
  });
});

describe("a schema as a type", () => {
  const tree: Json = {
    type: "object",
    properties: { name: { type: "string" }, children: { type: "array", items: { $ref: "#" } } },
    required: ["name"],
    additionalProperties: false,
  };

  it.each<[Json, string]>([
    [true, "Json"],
    [false, "never"],
    [{ minimum: 5 }, "Json"],
    [{ type: "integer", minimum: 5 }, "number"],
    [{ type: ["string", "null"] }, "string | null"],
    [{ enum: ["a", 1, null, { b: [1] }] }, '"a" | 1 | null | { readonly b: readonly [1] }'],
    [{ const: "a\nb" }, '"a\\nb"'],
    [{ type: "object", additionalProperties: false }, "Record<string, never>"],
    [{ type: "object", additionalProperties: { type: "number" } }, "{ readonly [name: string]: number }"],
    [
      { type: "object", properties: { "a-b": { type: "boolean" } }, required: ["c"] },
      '{ readonly "a-b"?: boolean; readonly c: Json; readonly [name: string]: unknown }',
    ],
    [{ type: "array", items: { type: ["string", "null"] } }, "readonly (string | null)[]"],
    [
      { type: "array", prefixItems: [{ type: "string" }, { type: "null" }], minItems: 1, items: false },
      "readonly [(string), (null)?]",
    ],
    [{ anyOf: [{ type: "string" }, { type: "null" }], not: { const: "" } }, "string | null"],
    [
      { allOf: [{ type: "object", properties: { a: { type: "null" } }, additionalProperties: false }, tree] },
      "{ readonly a?: null } & { readonly name: string; readonly children?: readonly (T1)[] }",
    ],
  ])("%j", (schema, expected) => {
    expect(printSchema(schema, "T").type).toBe(expected);
  });

  it("admits what the schema admits, references and recursion included", async () => {
    const { type, aliases } = printSchema({ $ref: "#/$defs/tree", $defs: { tree: inner() } }, "Tree");
    const text = `
      ${aliases.join("\n")}
      export const good: ${type} = { name: "a", children: [{ name: "b", children: [] }], more: 5 };
      // @ts-expect-error a name is text
      export const bad: ${type} = { name: "a", children: [{ name: 5 }] };`;
    expect((await typeCheck({ "tree.ts": text })).errors).toEqual([]);
  });

  function inner(): Json {
    const items = { $ref: "#/$defs/tree" };
    return {
      type: "object",
      properties: { name: { type: "string" }, children: { type: "array", items } },
      required: ["name"],
    };
  }
});
