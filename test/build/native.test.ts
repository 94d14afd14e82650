/** The guest helpers of C and Rust, and what is left of WASI: JSON in and out, and no way out. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { stubWasi } from "../../src/build/wasi.ts";
import { buildHandler } from "../../src/cli/build/build.ts";
import { BuildProblem } from "../../src/cli/build/tools.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { runTurn, type TurnResult } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import type { Json } from "../../src/json.ts";
import { admitted, assemble, problemsOf, TURN } from "../dispatch/guests.ts";
import { leftOut } from "../support/toolchains.ts";

const root = mkdtempSync(join(tmpdir(), "postern-native-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

async function build(
  extension: string,
  source: string,
  path = process.env["PATH"] ?? "",
): Promise<Uint8Array | string> {
  const wasm = join(root, String(folders++));
  mkdirSync(join(wasm, "guest"), { recursive: true });
  cpSync("wasm/lib", join(wasm, "lib"), { recursive: true });
  writeFileSync(join(wasm, "guest", `guest.${extension}`), source);
  const built = await buildHandler(join(wasm, "guest"), path);
  return built instanceof BuildProblem ? built.detail : built.module;
}

async function run(extension: string, source: string, args: Json): Promise<TurnResult | Refusal> {
  const built = await build(extension, source);
  if (typeof built === "string") throw new Error(built);
  return runTurn(admitted(built), { ...TURN, args });
}

const replyOf = (result: TurnResult | Refusal): Json => (isRefusal(result) ? result.detail : result.reply);
const ARGS = {
  text: 'a "quoted" \\ \u0001 é 😀',
  list: [1, -2.5, [], {}, "]}"],
  yes: true,
  none: null,
  n: -12,
};

describe.skipIf(leftOut("c"))("a handler in C", () => {
  const source = (body: string): string => `#include "../lib/postern.h"\n#include <stdio.h>\n#include <time.h>
    pn_answer pn_turn(pn_json input) { pn_json args = pn_member(input, "args"); ${body} }`;

  test("reads members, and writes texts, integers and values as they stand", async () => {
    const body = `return pn_format("{\\"reply\\":[%j,%d,%d,%s,%d]}", args, pn_integer(pn_member(args, "n"), 7),
      pn_integer(pn_member(args, "text"), 7), "q\\"\\\\\\x01", (int64_t)pn_is_string(pn_member(input, "message"), "go"));`;
    expect(replyOf(await run("c", source(body), ARGS))).toEqual([ARGS, -12, 7, 'q"\\\u0001', 1]);
  });

  test("has a C library without files and clock", async () => {
    const body = `char text[32]; snprintf(text, sizeof text, "%.3f", 1.0 / 3);
      int printed = printf("hello") < 0 || fflush(stdout) != 0;
      return pn_format("{\\"reply\\":[%s,%d,%d]}", text, (int64_t)printed, (int64_t)time(0));`;
    expect(replyOf(await run("c", source(body), {}))).toEqual(["0.333", 1, 0]);
  });

  test("that the compiler refuses says why", async () => {
    expect(await build("c", "int oops")).toMatch(/guest\.c:1:\d+: error: /);
  });
});

describe.skipIf(leftOut("rust"))("a handler in Rust", () => {
  const source = (body: string): string => `#[path = "../lib/postern.rs"] mod postern; use postern::*;
    postern::handler!(handle); fn handle(turn: &Turn) -> Answer { ${body} }`;

  test("reads and writes every JSON value", async () => {
    expect(replyOf(await run("rs", source("Answer::reply(turn.args.clone())"), ARGS))).toEqual(ARGS);
    const turn =
      "Answer::reply(Json::List(vec![turn.message.as_str().into(), turn.now_ms.into(), turn.state.clone()]))";
    expect(replyOf(await run("rs", source(turn), {}))).toEqual(["go", TURN.now_ms, null]);
  });

  test("sends by a capability that it was given", async () => {
    const body = `let cap = || turn.args.clone(); Answer::reply(Json::Null)
      .send(cap(), "", "go", Json::object([])).send(cap(), "account/1", "stop", true.into())`;
    expect(await run("rs", source(body), { $cap: 3 })).toMatchObject({
      sends: [
        { to: 3, message: "go", args: {} },
        { to: 3, actor: "account/1", message: "stop", args: true },
      ],
    });
  });

  test("that panics traps", async () => {
    expect(await run("rs", source('panic!("no")'), {})).toMatchObject({ code: "handler_trapped" });
  });

  test("that the compiler refuses says why", async () => {
    expect(await build("rs", "fn oops")).toMatch(/error: .*\n.*guest\.rs:1/);
  });
});

describe.skipIf(leftOut("wat"))("a handler in WebAssembly text", () => {
  test("that the assembler refuses says why", async () => {
    expect(await build("wat", "(module (func (oops)))")).toMatch(/guest\.wat:1:\d+: error/);
  });
});

describe("a build", () => {
  test.each(["c", "rs", "wat"])("of .%s without its compiler says what to install", async (extension) => {
    expect(await build(extension, "", "/nowhere")).toMatch(/^it needs .* on Debian: apt-get install \w/);
  });

  test("of a folder without a handler says what is looked for", async () => {
    expect(await build("txt", "")).toMatch(
      /^there is no handler in .*: one of guest\.ts, guest\.js, guest\.c/,
    );
  });
});

describe("what is left of WASI", () => {
  const importing = (imports: string, body: string): Uint8Array<ArrayBuffer> =>
    assemble(`(module ${imports} (memory (export "memory") 1)
      (func (export "pn_alloc") (param i32) (result i32) (i32.const 64))
      (func (export "pn_handle") (param i32 i32) (result i64) ${body})
      (func (export "other")))`);

  test("is answered with ENOSYS inside the module, or ends the turn", () => {
    const clock = '(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))';
    const exit = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))';
    const stubbed = stubWasi(importing(clock + exit, "(i64.extend_i32_u (call $yield))"));
    if (typeof stubbed === "string") throw new Error(stubbed);
    expect(problemsOf(admit(stubbed))).toEqual([]);
    const { pn_handle, other } = new WebAssembly.Instance(new WebAssembly.Module(stubbed)).exports;
    expect(other).toBeUndefined();
    expect((pn_handle as CallableFunction)(0, 0)).toBe(52n);
    const ends = stubWasi(importing(clock + exit, "(call $exit (i32.const 0)) (i64.const 0)"));
    if (typeof ends === "string") throw new Error(ends);
    expect(runTurn(admitted(ends), TURN)).toMatchObject({ code: "handler_trapped" });
  });

  test("is all that may be left", () => {
    expect(stubWasi(importing('(import "env" "f" (func))', "(i64.const 0)"))).toMatch(/^it imports env\.f; /);
    expect(stubWasi(importing('(import "env" "m" (global i32))', "(i64.const 0)"))).toBe(
      "it imports the global env.m",
    );
    expect(stubWasi(new Uint8Array([1, 2, 3]))).toBe("it is no valid core module");
  });
});
