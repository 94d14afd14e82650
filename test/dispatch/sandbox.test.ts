/** What a turn answers, and how it is refused. What attackers do is in `hostile.ts`. */
import { describe, expect, test } from "vitest";
import { runTurn, TURN_BOUNDS } from "../../src/dispatch/sandbox.ts";
import { isRefusal, type Refusal } from "../../src/errors.ts";
import { JSON_DEPTH_MAX } from "../../src/limits.ts";
import { admitted, answer, answering, guest, run, TURN } from "./guests.ts";

const NOTHING = "(i64.const 0)";
const FUEL = { ...TURN_BOUNDS, fuel: 5_000_000 };

function nested(depth: number): string {
  return "[".repeat(depth) + "]".repeat(depth);
}

function refusalOf(bytes: Uint8Array): Refusal {
  const result = run(bytes, TURN, FUEL);
  if (!isRefusal(result)) throw new Error(`not refused: ${JSON.stringify(result).slice(0, 200)}`);
  return result;
}

describe("endless work runs out of fuel", () => {
  test("one long bulk instruction is refused before it runs", () => {
    const fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))";
    const bytes = guest(`${fill} ${NOTHING}`, "", "256");
    const refusal = run(bytes, TURN, { ...TURN_BOUNDS, fuel: 1_000_000 });
    expect(refusal).toMatchObject({ code: "handler_fuel" });
  });
});

describe("a trap is a refusal", () => {
  test("recursion ends at the same depth whatever V8 made of the code", () => {
    const counting = `(global $depth (export "depth") (mut i32) (i32.const 0))
      (func $f (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $f))`;
    const module = admitted(guest(`(call $f) ${NOTHING}`, counting));
    const refusals = Array.from({ length: 50 }, () => runTurn(module, TURN));
    expect(new Set(refusals.map((refusal) => JSON.stringify(refusal))).size).toBe(1);
  });
});

describe("memory", () => {
  test("a handler that lives with the denial is not refused", () => {
    const document = '{"reply":true}';
    const data = `(data (i32.const 16) "${document.replaceAll('"', String.raw`\22`)}")`;
    const body = `(drop (memory.grow (i32.const 256))) ${answer(16, document.length)}`;
    expect(run(guest(body, data))).toMatchObject({ reply: true, memory_bytes: 65_536 });
  });
});

describe("a broken interface is handler_invalid", () => {
  test.each([
    ["no object", "[]"],
    ["no JSON", "{reply:1}"],
    ["two documents", '{"reply":1}{"reply":2}'],
    ["no reply", "{}"],
    ["a state without a reply", '{"state":1}'],
    ["an unknown member", '{"reply":1,"Reply":2}'],
    ["a `become` that is no text", '{"reply":1,"become":true}'],
    ["a `become` that names nothing", '{"reply":1,"become":""}'],
    ["a `become` that is no name", '{"reply":1,"become":"Frozen, then thawed"}'],
    ["an error beside a `become`", '{"error":{"code":"a","detail":"b"},"become":"frozen"}'],
    ["a member twice", '{"reply":1,"reply":2}'],
    ["__proto__", '{"reply":1,"__proto__":{"state":1}}'],
    ["__proto__ inside", '{"reply":{"__proto__":1}}'],
    ["sends", '{"reply":1,"sends":[{"to":0}]}'],
    ["sends of another type", '{"reply":1,"sends":{}}'],
    ["reply and error", '{"reply":1,"error":{"code":"a","detail":""}}'],
    ["sends and error", '{"sends":[{"to":{"$cap":0},"message":"go"}],"error":{"code":"a","detail":""}}'],
    ["state and error", '{"state":1,"error":{"code":"a","detail":""}}'],
    ["an error that is text", '{"error":"no"}'],
    ["an error without a code", '{"error":{"detail":"x"}}'],
    ["an error with more", '{"error":{"code":"a","detail":"x","stack":"y"}}'],
    ["a code in camel case", '{"error":{"code":"notFound","detail":"x"}}'],
    ["an empty code", '{"error":{"code":"","detail":"x"}}'],
    ["a code of 65", `{"error":{"code":"${"a".repeat(65)}","detail":"x"}}`],
    ["a long detail", `{"error":{"code":"a","detail":"${"x".repeat(1025)}"}}`],
    ["an integer past 2^53", '{"reply":9007199254740993}'],
    ["NaN", '{"reply":NaN}'],
    ["half a surrogate pair", String.raw`{"reply":"\ud800"}`],
    ["1e400", '{"reply":1e400}'],
    ["a deep bomb", `{"reply":${nested(30_000)}}`],
    ["just too deep", `{"reply":${nested(JSON_DEPTH_MAX)}}`],
  ])("%s", (_name, document) => {
    expect(refusalOf(answering(document)).code).toBe("handler_invalid");
  });

  test.each([
    "1",
    "[1]",
    '[{"to":1,"message":"go"}]',
    '[{"to":{"$cap":-1},"message":"go"}]',
    '[{"to":{"$cap":0,"caveats":["message in go"]},"message":"go"}]',
    '[{"to":{"$cap":0,"token":"pst_"},"message":"go"}]',
    '[{"to":{"$cap":0}}]',
    '[{"to":{"$cap":0},"message":"Go"}]',
    '[{"to":{"$cap":0},"message":"go","actor":"thing"}]',
    '[{"to":{"$cap":0},"message":"go","actor":"thing/../x"}]',
    '[{"to":{"$cap":0},"message":"go","when":"now"}]',
    `[${Array.from({ length: 17 }, () => '{"to":{"$cap":0},"message":"go"}').join(",")}]`,
  ])("sends that are %s", (sends) => {
    const { code, detail } = refusalOf(answering(`{"reply":1,"sends":${sends}}`));
    expect(code).toBe("handler_invalid");
    expect(detail).toMatch(/send/);
  });
});

describe("an answer", () => {
  test("has the reply, the new state as JSON text, fuel and memory", () => {
    const result = run(answering(' {"reply": {"a": [1, "ü"]}, "state": {"n": 1.50}, "sends": []} '));
    expect(result).toEqual({
      reply: { a: [1, "ü"] },
      state: '{"n":1.5}',
      fuel: expect.any(Number),
      output_bytes: 64,
      memory_bytes: 65_536,
    });
  });

  test("without a state leaves it unchanged, with null sets it to null", () => {
    expect(run(answering('{"reply":null}'))).toMatchObject({ reply: null, state: undefined });
    expect(run(answering('{"reply":null,"state":null}'))).toMatchObject({ state: "null" });
    expect(run(answering('{"reply":null}'))).not.toHaveProperty("become");
    expect(run(answering('{"reply":1,"become":"frozen"}'))).toMatchObject({
      state: undefined,
      become: "frozen",
    });
    expect(run(answering('{"reply":1,"state":2,"become":"f_2"}'))).toMatchObject({
      state: "2",
      become: "f_2",
    });
  });

  test("of an error is handler_error with the handler's code", () => {
    expect(run(answering('{"error":{"code":"not_here","detail":"gone\\n"}}'))).toMatchObject({
      code: "handler_error",
      status: 422,
      detail: "gone\n",
      facts: { handler_code: "not_here" },
    });
  });

  test("has every input member, the state spliced in as it stands", () => {
    // {"reply": before the input, } behind it.
    const echo = `(i32.store16 (i32.sub (local.get 0) (i32.const 9)) (i32.const 0x227b))
      (i64.store (i32.sub (local.get 0) (i32.const 8)) (i64.const 0x3a22796c70657222))
      (i32.store8 (i32.add (local.get 0) (local.get 1)) (i32.const 0x7d))
      (i64.or (i64.shl (i64.extend_i32_u (i32.sub (local.get 0) (i32.const 9))) (i64.const 32))
        (i64.extend_i32_u (i32.add (local.get 1) (i32.const 10))))`;
    const turn = { ...TURN, state: '{"b":1,"a":"é"}', args: { "\u00e9": ["\u0000\u2028", -0] } };
    expect(run(guest(echo), turn)).toMatchObject({
      reply: {
        state: { b: 1, a: "é" },
        message: "go",
        args: { é: ["\u0000\u2028", 0] },
        caps: [],
        now: TURN.now_ms,
        seed: TURN.seed,
        actor: "guest/1",
      },
    });
    expect(run(guest(echo))).toMatchObject({ reply: { state: null } });
  });

  test("comes from a fresh instance each time", () => {
    const counter = `(global $n (mut i32) (i32.const 48))
      (func $bump (global.set $n (i32.add (global.get $n) (i32.const 1))) (i32.store8 (i32.const 25) (global.get $n)))
      (start $bump) (data (i32.const 16) "{\\22reply\\22:0}")`;
    const module = admitted(guest(answer(16, 11), counter));
    expect(runTurn(module, TURN)).toMatchObject({ reply: 1 });
    expect(runTurn(module, TURN)).toMatchObject({ reply: 1 });
  });
});

describe("fuel", () => {
  const count = `(local $i i32) (local.set $i (i32.const 1000))
    (loop $l (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))`;
  const document = String.raw`(data (i32.const 16) "{\22reply\22:0}")`;

  test("is the same for the same turn, and suffices exactly", () => {
    const module = admitted(guest(`${count} ${answer(16, 11)}`, document));
    const first = runTurn(module, TURN);
    if (isRefusal(first)) throw new Error(first.detail);
    for (let i = 0; i < 20; i++) expect(runTurn(module, TURN)).toEqual(first);
    expect(runTurn(module, TURN, { ...TURN_BOUNDS, fuel: first.fuel })).toEqual(first);
    const short = runTurn(module, TURN, { ...TURN_BOUNDS, fuel: first.fuel - 1 });
    expect(short).toMatchObject({ code: "handler_fuel" });
  });

  test("is at least the number of instructions that ran", () => {
    const result = run(guest(`${count} ${answer(16, 11)}`, document));
    if (isRefusal(result)) throw new Error(result.detail);
    expect(result.fuel).toBeGreaterThanOrEqual(1000 * 6);
    expect(result.fuel).toBeLessThan(1000 * 12);
  });

  test("pays for the code behind a loop even where that loop is skipped", () => {
    const work = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(50);
    const inner = "(block $b (br_if $b (i32.const 1)) (loop $inner (br_if $inner (i32.const 0))))";
    const outer = `(local $i i32) (local.set $i (i32.const 100)) (loop $l ${inner} ${work}
      (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))`;
    const result = run(guest(`${outer} ${answer(16, 11)}`, document));
    if (isRefusal(result)) throw new Error(result.detail);
    expect(result.fuel).toBeGreaterThanOrEqual(100 * 50 * 4);
  });

  test("runTurn throws for a module that was not instrumented: that is a bug, not a guest's doing", () => {
    const module = new WebAssembly.Module(answering('{"reply":1}'));
    expect(() => runTurn(module, TURN)).toThrow(TypeError);
  });
});
