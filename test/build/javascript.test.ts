/** Handlers in JavaScript and TypeScript: what they can do, what they cannot, and what is told of a mistake. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { buildHandler } from "../../src/cli/build/build.ts";
import { BuildProblem } from "../../src/cli/build/tools.ts";
import { runTurn, type TurnResult } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { admitted, TURN } from "../dispatch/guests.ts";

const root = mkdtempSync(join(tmpdir(), "postern-javascript-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

async function build(
  source: string,
  more: Readonly<Record<string, string>> = {},
): Promise<Uint8Array | string> {
  const folder = join(root, String(folders++), "guest");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries({ "guest.ts": source, ...more }))
    writeFileSync(join(folder, name), text);
  const built = await buildHandler(folder, "");
  return built instanceof BuildProblem ? built.detail : built.module;
}

/** One turn of a handler with that body. */
async function run(body: string, args: Json = {}, turn = TURN): Promise<TurnResult | Refusal> {
  const built = await build(`export function handle({ state, args, now, seed, message, actor }) { ${body} }`);
  if (typeof built === "string") throw new Error(built);
  return runTurn(admitted(built), { ...turn, args });
}

const replyOf = (result: TurnResult | Refusal): Json | undefined =>
  isRefusal(result) ? undefined : result.reply;

describe("a handler in JavaScript", () => {
  test("gets the turn, and its text comes back as it went in", async () => {
    const args = {
      text: '"\\ \u0000 \u2028 😀 \ud7ff',
      list: [1.5, -0.1, 1e300, null, true],
      constructor: {},
    };
    expect(replyOf(await run("return { reply: { args, now, seed, message, actor, state } }", args))).toEqual({
      args,
      now: TURN.now_ms,
      seed: TURN.seed,
      message: "go",
      actor: "guest/1",
      state: null,
    });
  });

  test("keeps nothing from turn to turn but its state", async () => {
    const built = await build("let calls = 0; export const handle = () => ({ reply: ++calls });");
    if (typeof built === "string") throw new Error(built);
    const module = admitted(built);
    expect([runTurn(module, TURN), runTurn(module, TURN)].map(replyOf)).toEqual([1, 1]);
  });

  test("has the turn's time for a clock, and the turn's seed for chance", async () => {
    const body =
      "return { reply: [Date.now(), new Date().toISOString(), typeof Date(), new Date(5).getTime(), Math.random(), Math.random()] }";
    const first = replyOf(await run(body));
    expect(first).toEqual([
      TURN.now_ms,
      "2026-01-01T00:00:00.000Z",
      "string",
      5,
      expect.any(Number),
      expect.any(Number),
    ]);
    expect(replyOf(await run(body))).toEqual(first);
    expect(replyOf(await run(body, {}, { ...TURN, seed: "f".repeat(32) }))).not.toEqual(first);
  });

  test("has numbers from Math.random that fill the unit interval", async () => {
    const body =
      "const all = Array.from({ length: 1000 }, Math.random); return { reply: [Math.min(...all), Math.max(...all), all.reduce((a, b) => a + b) / 1000] }";
    const [least = 1, most = 0, mean = 0] = (replyOf(await run(body)) ?? []) as number[];
    expect(least).toBeGreaterThanOrEqual(0);
    expect(least).toBeLessThan(0.01);
    expect(most).toBeGreaterThan(0.99);
    expect(most).toBeLessThan(1);
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.05);
  });

  test.each([
    ["throws", "null.x", "TypeError: cannot read property 'x' of null at handle (guest/guest.ts:1:"],
    ["throws what is no error", "throw 'no'", "thrown: no"],
    ["recurses without end", "(function f() { f(); })()", "RangeError: Maximum call stack size exceeded"],
    ["is async", "return Promise.resolve({ reply: 1 })", "handle is async; a turn is over when it returns"],
  ])("that %s is an error with its place", async (_name, body, detail) => {
    const result = await run(body);
    expect(result).toMatchObject({ code: "handler_error", facts: { handler_code: "exception" } });
    expect(isRefusal(result) && result.detail).toContain(detail);
  });

  test.each([
    ["loops without end", "for (;;);", "handler_fuel"],
    ["answers nothing", "", "handler_invalid"],
    ["answers what is no JSON", "return { reply: undefined }", "handler_invalid"],
  ])("that %s is refused", async (_name, body, code) => {
    expect(await run(body)).toMatchObject({ code });
  });

  test("that takes all memory ends in its turn", async () => {
    const result = await run("const all = []; for (;;) all.push('x'.repeat(100000) + all.length);");
    expect(isRefusal(result)).toBe(true);
  });

  test("has no way out: no module, file, network, or console", async () => {
    const names = [
      "process",
      "require",
      "fetch",
      "console",
      "std",
      "os",
      "print",
      "WebAssembly",
      "setTimeout",
    ];
    expect(replyOf(await run("return { reply: args.filter((name) => name in globalThis) }", names))).toEqual(
      [],
    );
  });
});

describe("a build of TypeScript", () => {
  test("takes in files beside, and nothing else", async () => {
    const source =
      'import { double } from "./double.ts"; export const handle = (turn: { args: number }) => ({ reply: double(turn.args) });';
    const built = await build(source, { "double.ts": "export const double = (n: number): number => 2 * n;" });
    if (typeof built === "string") throw new Error(built);
    expect(replyOf(runTurn(admitted(built), { ...TURN, args: 21 }))).toBe(42);
    expect(await build('import "lodash"; export const handle = () => ({})')).toContain(
      "only files beside it",
    );
    expect(await build('import "./nowhere.ts"; export const handle = () => ({})')).toContain("nowhere.ts");
  });

  test("gives the same module for the same source, wherever it stands", async () => {
    const source =
      "export const at = [Date.now(), Math.random()]; export const handle = () => ({ reply: at });";
    expect(Buffer.compare((await build(source)) as Uint8Array, (await build(source)) as Uint8Array)).toBe(0);
  });

  test.each([
    ["a syntax error", "export function handle( {", "guest.ts"],
    ["no handle", "export const other = 1;", "handle"],
    ["a handle that is no function", "export const handle = 1;", "no function `handle`"],
    ["a top level that throws", "throw new Error('early'); export const handle = () => ({});", "early"],
    [
      "a top level that waits for ever",
      "await new Promise(() => {}); export const handle = () => ({});",
      "await",
    ],
    ["types that are more than notes", "enum A { B } export const handle = () => ({});", "enum"],
  ])("says what is wrong: %s", async (_name, source, word) => {
    const built = await build(source);
    expect(built).toBeTypeOf("string");
    expect(built).toContain(word);
  });
});
