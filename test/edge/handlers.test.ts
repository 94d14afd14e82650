/**
 * Hostile handlers on the edge, bundled with the worker and loaded at run time: each ends as it does on Node, and the
 * edge node goes on. No node of the cluster runs any of them: its log lines tell.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TenantPolicy } from "../../src/config.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { isRefusal } from "../../src/errors.ts";
import { admitHandlers, publish } from "../../src/publish.ts";
import { answer, guest, instrumented, run, TURN } from "../dispatch/guests.ts";
import { type EdgeGate, keyOf, startEdgeGate } from "../support/edge.ts";
import { call, inOneHour, MASTER, mintToken, must, newSigner, random } from "../support/gate.ts";

const NOTHING = "(i64.const 0)";

/** @param mark stands in a function that nobody calls: other modules, the same programs */
function guestsOf(mark: number): Readonly<Record<string, Uint8Array>> {
  const unused = `(func (drop (i32.const ${mark})))`;
  const made = (code: string, more = "", memory = "1") => guest(code, `${more} ${unused}`, memory);
  const says = (document: string) =>
    made(answer(16, document.length), `(data (i32.const 16) "${document.replaceAll('"', "\\22")}")`);
  return {
    honest: says('{"reply":7}'),
    handler_error: says('{"error":{"code":"no","message":"not today"}}'),
    empty_loop: made(`(loop $l (br $l)) ${NOTHING}`),
    arithmetic_loop: made(`(loop $l (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $l)) ${NOTHING}`),
    bulk_loop: made(
      `(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l)) ${NOTHING}`,
    ),
    call_tree: made(
      `(call $f (i32.const 200)) ${NOTHING}`,
      `(func $f (param $n i32) (if (local.get $n) (then
      (call $f (i32.sub (local.get $n) (i32.const 1))) (call $f (i32.sub (local.get $n) (i32.const 1))))))`,
    ),
    start_loop: made(NOTHING, "(start $s) (func $s (loop $l (br $l)))"),
    deep: made(
      `(drop (call $f (i32.const 0))) ${NOTHING}`,
      "(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))",
    ),
    trap: made(`(unreachable) ${NOTHING}`),
    hog: made(
      `(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable) ${NOTHING}`,
    ),
    babbler: made(answer(0, 65_536), "", "1"),
    overflow: made(answer(65_000, 65_536)),
    endless_text: made(answer(0, 16_777_216), "", "256"),
    no_json: says("{"),
    keeper: says('{"reply":1,"state":{"a":1}}'),
  };
}

const GUESTS = { bundled: guestsOf(1), loaded: guestsOf(2) } as const;
const NAMES = Object.keys(GUESTS.bundled);

let gates: EdgeGate;
beforeAll(async () => {
  const bundled = Object.values(GUESTS.bundled).map((bytes) => instrumented(bytes));
  gates = await startEdgeGate({ tenants: ["bundled", "loaded"], handlers: bundled, loader: true });
  for (const [tenant, guests] of Object.entries(GUESTS)) {
    const admitted = await admitHandlers(new Map(Object.entries(guests)), admit);
    if (!admitted.ok) throw new Error(JSON.stringify(admitted.problems));
    must(await publish(gates.store, policyOf(tenant), admitted.modules, MASTER, random));
    await gates.admit(tenant);
  }
});
afterAll(() => gates.end());

function policyOf(tenant: string): TenantPolicy {
  const message = { args: {}, result: {}, reads: true };
  const actors = NAMES.map((name) => [
    name,
    {
      actor: name,
      handler: { wasm: name },
      state: "none",
      messages: { go: message },
      protocol: "go*",
      behaviour: "go*",
    },
  ]);
  return { tenant, holder: "optional", actors: Object.fromEntries(actors) as TenantPolicy["actors"] };
}

async function go(tenant: string, name: string): Promise<string> {
  const token = mintToken(await keyOf(gates.store, tenant), [`actor = ${name}/1`, inOneHour()], tenant);
  const caller = { url: gates.edge.server.url, token, signer: newSigner(), now_ms: () => Date.now(), random };
  const outcome = await call(caller, `${name}/1`, "go", {}, { tenant });
  return "problem" in outcome
    ? `${outcome.problem.code}: ${outcome.problem.detail}`
    : JSON.stringify(outcome.result);
}

/** What the sandbox says on Node. */
function onNode(name: string): string {
  const result = run(GUESTS.bundled[name] ?? new Uint8Array(), TURN);
  if (isRefusal(result)) return `${result.code}: ${result.detail}`;
  return result.state === undefined ? JSON.stringify(result.reply) : "handler_invalid: ";
}

describe.each(["bundled", "loaded"])("%s", (tenant) => {
  it.each(NAMES)("%s ends as on Node", async (name) => {
    const said = await go(tenant, name);
    expect(said.startsWith(onNode(name)), `${said} instead of ${onNode(name)}`).toBe(true);
    expect(await go(tenant, "honest")).toBe("7");
  });
});

it("all of it ran at the edge, and what was loaded was not bundled", () => {
  const [bundled, loaded] = Object.values(GUESTS).map((guests) => Object.values(guests).map(instrumented));
  for (const bytes of loaded ?? []) expect(bundled).not.toContainEqual(bytes);
  expect(gates.node.lines.filter((line) => line.includes('"hop"'))).toEqual([]);
});
