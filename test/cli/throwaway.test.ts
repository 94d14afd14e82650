/** Modules of strangers are compiled in a process that ends within its bounds, whatever they do to it. */
import { describe, expect, test } from "vitest";
import { admitInChild, CHILD_BOUNDS, runInChild } from "../../src/cli/throwaway.ts";
import { admit } from "../../src/dispatch/admission.ts";
import { runTurn } from "../../src/dispatch/sandbox.ts";
import { admitted, answering, bytesOf, guest, I32, leb, TURN } from "../dispatch/guests.ts";

/** Within every bound of admission, 100 KB; V8's second compiler takes 1.5 s and 450 MB for it. */
function heavy(): Uint8Array<ArrayBuffer> {
  const locals = 700;
  const loops = 900;
  const moves = Array.from({ length: locals - 1 }, (_, i) => [0x20, ...leb(i), 0x21, ...leb(i + 1)]).flat();
  const open = Array.from({ length: loops }, () => [0x03, 0x40]).flat();
  const close = Array.from({ length: loops }, () => [0x20, 0, 0x0d, 0, 0x0b]).flat();
  const body = [1, ...leb(locals), I32, ...open, ...moves, ...close, 0x0b];
  return bytesOf({ functions: Array.from({ length: 10 }, () => ({ type: 2, body })) });
}

describe("admission in a child", () => {
  test("answers as admission does", async () => {
    const good = answering('{"reply":1}');
    expect(await admitInChild(good)).toEqual(admit(good));
    const bad = guest("(i64.const 0)", '(global (export "__pn_fuel") (mut i64) (i64.const 1000))');
    expect(await admitInChild(bad)).toEqual(admit(bad));
  });

  test("ends within its processor time, and says which function is to blame", async () => {
    const admission = await admitInChild(heavy(), { ...CHILD_BOUNDS, cpu_ms: 600 });
    expect(admission).toMatchObject({ ok: false, problems: [{ code: "compile_time" }] });
    expect(JSON.stringify(admission)).toMatch(
      /0\.6 s of processor time: split .* function 2 at byte \d+ \(\d+ bytes/,
    );
  });

  test("ends within its time on a busy machine", async () => {
    const admission = await admitInChild(heavy(), { ...CHILD_BOUNDS, wall_ms: 100 });
    expect(admission).toMatchObject({ ok: false, problems: [{ code: "compile_time" }] });
  });

  test("ends within its memory", async () => {
    const admission = await admitInChild(heavy(), { ...CHILD_BOUNDS, rss_bytes: 150 * 1024 * 1024 });
    expect(admission).toMatchObject({ ok: false, problems: [{ code: "compile_memory" }] });
    expect(JSON.stringify(admission)).toContain("more than 150 MiB of memory: split its largest function");
  });
});

describe("a turn in a child", () => {
  test("answers as the sandbox does", async () => {
    const module = answering('{"reply":1,"state":{"a":2}}');
    const ran = await runInChild(module, TURN);
    expect(ran).toMatchObject({ kind: "ran", result: runTurn(admitted(module), TURN) });
    expect(await runInChild(guest("(unreachable)"), TURN)).toMatchObject({
      kind: "refused",
      code: "handler_trapped",
    });
    expect(await runInChild(guest("(loop (br 0)) (i64.const 0)"), TURN)).toMatchObject({
      code: "handler_fuel",
    });
  });

  test("of a module that is not admitted is not run", async () => {
    expect(await runInChild(new Uint8Array([1, 2, 3]), TURN)).toMatchObject({
      ok: false,
      problems: [{ code: "module_invalid" }],
    });
  });
});
