/** Components of the world in wasm/handler.wit: one plain core module inside is admitted, and called as it wants. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { admit } from "../../src/dispatch/admission.ts";
import { runTurn, type TurnBounds } from "../../src/dispatch/sandbox.ts";
import { Writer } from "../../src/dispatch/wasm-reader.ts";
import { admitted, assemble, problemsOf, run, TURN } from "./guests.ts";

const [, , ...lines] = readFileSync(new URL("../vectors/component.txt", import.meta.url), "utf8").split("\n");
const COMPONENT = new Uint8Array(Buffer.from(lines.join(""), "base64"));
const HEADER = COMPONENT.slice(0, 8);

/** A component of those sections. */
function component(
  ...sections: readonly (readonly [id: number, bytes: Uint8Array | readonly number[]])[]
): Uint8Array {
  const out = new Writer().raw(HEADER);
  for (const [id, bytes] of sections) out.byte(id).sized(new Writer().raw(new Uint8Array(bytes)));
  return out.view().slice();
}

const refusalOf = (bytes: Uint8Array): string => {
  const [problem] = problemsOf(admit(bytes));
  return problem === undefined ? "admitted" : `${problem.code}: ${problem.detail}`;
};

/** A core module whose `handle` has that body, with the rest of what the canonical ABI wants. */
function core(
  body: string,
  realloc = "(i32.and (i32.sub (global.get $free) (local.get 3)) (i32.const -8))",
  more = "",
): Uint8Array<ArrayBuffer> {
  return assemble(`(module (memory (export "memory") 1) (global $free (mut i32) (i32.const 4096)) ${more}
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.add (global.get $free) (i32.add (local.get 3) (i32.const 16)))) ${realloc})
    (func (export "handle") (param $state i32) (param $state_length i32) (param $message i32) (param $message_length i32)
      (param $args i32) (param $args_length i32) (param $caps i32) (param $caps_length i32) (param $now i64)
      (param $seed i32) (param $seed_length i32) (param $actor i32) (param $actor_length i32) (result i32)
      ${body}))`);
}

/** Writes a string or list into the result at 64. */
const put = (offset: number, ptr: string, length: string): string =>
  `(i32.store (i32.const ${64 + offset}) ${ptr}) (i32.store (i32.const ${68 + offset}) ${length})`;
const flag = (offset: number, value: number): string =>
  `(i32.store8 (i32.const ${64 + offset}) (i32.const ${value}))`;
const text = (at: number, content: string): string =>
  `(data (i32.const ${at}) "${[...Buffer.from(content)].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}")`;
const at = (value: number): string => `(i32.const ${value})`;
const DONE = "(i32.const 64)";

/** One lifted function without options, and its export. */
const LIFTS = [1, 0, 0, 0, 0, 0];
const EXPORTS = [1, 0, 6, ...Buffer.from("handle"), 1, 0, 0];
const whole = (module: Uint8Array): Uint8Array => component([1, module], [8, LIFTS], [11, EXPORTS]);

describe("a component", () => {
  test("as other tools write it is admitted and runs", () => {
    expect(refusalOf(COMPONENT)).toBe("admitted");
    const turn = { ...TURN, state: '{"a":"é"}', args: { b: [1, "😀"] } };
    expect(run(COMPONENT, turn)).toMatchObject({ reply: { b: [1, "😀"] }, state: '{"a":"é"}' });
  });

  test.each([
    ["cut off", COMPONENT.slice(0, 100), /^module_invalid: the component: cut off/],
    ["that lifts nothing", component([1, core(DONE)]), /lifts 0 functions, where the world has one$/],
    ["that lifts several", component([1, core(DONE)], [8, LIFTS], [8, LIFTS]), /lifts 2 functions/],
    [
      "that exports something else",
      component([1, core(DONE)], [8, LIFTS], [11, [1, 0, 1, 0x78, 1, 0, 0]]),
      /exports no handle$/,
    ],
    ["without a core module", component(), /^component_unsupported: .* it has no core module$/],
    [
      "of several",
      component([1, core(DONE)], [1, core(DONE)]),
      /^component_unsupported: .* 2 core modules, .* WASI/,
    ],
    [
      "of components",
      component([4, HEADER]),
      /^component_unsupported: .* another component inside, at byte 10$/,
    ],
    [
      "that takes functions",
      component([1, core(DONE)], [8, [1, 1, 0, 0, 0]]),
      /functions or resources of its host/,
    ],
    ["with UTF-16 strings", component([1, core(DONE)], [8, [1, 0, 0, 0, 1, 1, 0]]), /strings are not UTF-8/],
    ["with async functions", component([1, core(DONE)], [8, [1, 0, 0, 0, 1, 6, 0]]), /asynchronous/],
    [
      "of another world",
      whole(assemble('(module (memory (export "memory") 1))')),
      /^export_missing: .*pn_alloc/,
    ],
    ["of bad code", whole(new Uint8Array([0, 1, 2])), /^module_invalid: /],
  ])("%s is refused, and why", (_name, bytes, reason) => {
    expect(refusalOf(bytes)).toMatch(reason);
  });

  test("cut anywhere, it is refused and nothing throws", () => {
    // Behind its export are only custom sections.
    for (let length = 0; length < 590; length++)
      expect(admit(COMPONENT.subarray(0, length)).ok, `${length}`).toBe(false);
  });

  test("whose handle has other types is told which it must have", () => {
    const other = assemble(
      '(module (memory (export "memory") 1) (func (export "handle") (param i32) (result i32) (local.get 0)))',
    );
    const details = problemsOf(admit(other)).map(({ detail }) => detail.split(":")[1]?.trim().split("(")[0]);
    expect(details).toEqual(["handle", "cabi_realloc"]);
  });
});

describe("the canonical ABI", () => {
  test("hands over every part of the turn", () => {
    const parts = ["state", "message", "args", "seed", "actor"];
    for (const part of parts) {
      const body = `${flag(0, 1)} ${put(4, at(16), at(1))} ${put(12, `(local.get $${part})`, `(local.get $${part}_length)`)} ${DONE}`;
      const turn = { ...TURN, state: '{"n":1}', args: [1] };
      const said = { state: '{"n":1}', message: "go", args: "[1]", seed: TURN.seed, actor: "guest/1" }[part];
      expect(run(core(body, undefined, text(16, "x")), turn), part).toMatchObject({
        code: "handler_error",
        detail: said,
      });
    }
    const now = `(if (i64.ne (local.get $now) (i64.const ${TURN.now_ms})) (then (unreachable)))
      (if (i32.or (local.get $caps_length) (i32.and (local.get $caps) (i32.const 7))) (then (unreachable)))`;
    const body = `${now} ${put(4, at(16), at(1))} ${DONE}`;
    expect(run(core(body, undefined, text(16, "7")))).toMatchObject({
      reply: 7,
      state: undefined,
    });
  });

  test("takes a reply, a state and a behaviour, or an error", () => {
    const all = `${put(4, at(16), at(1))} ${flag(12, 1)} ${put(16, at(17), at(2))} ${flag(24, 1)} ${put(28, at(19), at(3))} ${DONE}`;
    expect(run(core(all, undefined, text(16, "7{}low")))).toMatchObject({
      reply: 7,
      state: "{}",
      become: "low",
    });
    const failed = `${flag(0, 1)} ${put(4, at(16), at(4))} ${put(12, at(20), at(6))} ${DONE}`;
    expect(run(core(failed, undefined, text(16, 'fullno "x"')))).toMatchObject({
      code: "handler_error",
      detail: 'no "x"',
      facts: { handler_code: "full" },
    });
  });

  test("hands over capabilities, and takes messages to be sent by them", () => {
    const caps = [
      { id: 7, actor: "account/*" },
      { id: 9, actor: "account/é", messages: ["open", "close"], expires: 2 ** 40 + 1 },
    ];
    // The second one's parts: its actor as the error's code, its second message as the detail.
    const second = (offset: number): string =>
      `(i32.load (i32.add (local.get $caps) (i32.const ${40 + offset})))`;
    const word = (offset: number): string => `(i32.load (i32.add ${second(16)} (i32.const ${offset})))`;
    const wrong = [
      "(i32.ne (local.get $caps_length) (i32.const 2))",
      "(i32.ne (i32.load (local.get $caps)) (i32.const 7))",
      "(i32.load8_u (i32.add (local.get $caps) (i32.const 12)))",
      "(i32.load8_u (i32.add (local.get $caps) (i32.const 24)))",
      `(i32.ne ${second(0)} (i32.const 9))`,
      `(i32.ne ${second(12)} (i32.const 1))`,
      `(i32.ne ${second(20)} (i32.const 2))`,
      `(i32.ne ${second(24)} (i32.const 1))`,
      `(i64.ne (i64.load (i32.add (local.get $caps) (i32.const 72))) (i64.const ${2 ** 40 + 1}))`,
    ];
    const check = wrong.map((condition) => `(if ${condition} (then (unreachable)))`).join(" ");
    const told = `${check} ${flag(0, 1)} ${put(4, at(16), at(1))} ${put(12, word(8), word(12))} ${DONE}`;
    expect(run(core(told, undefined, text(16, "x")), { ...TURN, caps })).toMatchObject({ detail: "close" });
    const named = `${flag(0, 1)} ${put(4, at(16), at(1))} ${put(12, second(4), second(8))} ${DONE}`;
    expect(run(core(named, undefined, text(16, "x")), { ...TURN, caps })).toMatchObject({
      detail: "account/é",
    });
  });

  test("takes messages to be sent", () => {
    const send = (offset: number): string =>
      `${put(offset, at(17), at(10))} ${put(offset + 20, at(27), at(2))}`;
    const two = `${put(4, at(16), at(1))} ${put(36, at(128), at(2))} ${send(64)} ${send(104)} ${flag(112, 1)}
      ${put(116, at(29), at(9))} ${flag(132, 1)} ${put(136, at(38), at(2))} ${DONE}`;
    const data = text(16, '7{"$cap":3}goaccount/1[]');
    expect(run(core(two, undefined, data))).toMatchObject({
      reply: 7,
      sends: [
        { to: 3, message: "go", actor: undefined, args: {} },
        { to: 3, message: "go", actor: "account/1", args: [] },
      ],
    });
    for (const [ptr, count] of [
      [128, 17],
      [130, 1],
      [65_520, 1],
      [128, -1],
    ] as const)
      expect(
        run(core(`${put(4, at(16), at(1))} ${put(36, at(ptr), at(count))} ${DONE}`, undefined, data)),
      ).toMatchObject({
        code: "handler_invalid",
      });
  });

  test.each([
    ["a result outside memory", at(65_536), "outside its memory"],
    ["a result that ends outside memory", at(65_504), "outside its memory"],
    ["a result that is not aligned", at(66), "unaligned"],
    ["a variant that is none", `${flag(0, 2)} ${DONE}`, "variant 2"],
    ["an option that is none", `${put(4, at(16), at(1))} ${flag(24, 9)} ${DONE}`, "variant 9"],
    ["a string outside memory", `${put(4, at(65_000), at(1000))} ${DONE}`, "outside its memory"],
    ["a string of 4 GB", `${put(4, at(16), at(-1))} ${DONE}`, "more bytes than may be"],
    [
      "a string that is not UTF-8",
      `(i32.store8 (i32.const 16) (i32.const 255)) ${put(4, at(16), at(1))} ${DONE}`,
      "not UTF-8",
    ],
    ["a reply that is no JSON", `${put(4, at(17), at(2))} ${DONE}`, "a json that is none"],
  ])("refuses %s", (_name, body, reason) => {
    const refused = run(core(body, undefined, text(16, '7,"state":1')));
    expect(refused).toMatchObject({ code: "handler_invalid" });
    expect(JSON.stringify(refused)).toContain(reason);
  });

  test("refuses a realloc outside memory, and one that was denied memory says so", () => {
    expect(run(core(DONE, "(i32.const -1)"))).toMatchObject({ code: "handler_invalid" });
    expect(run(core(DONE, "(memory.grow (i32.const 4096))"))).toMatchObject({ code: "handler_memory" });
  });

  test("counts fuel, and bounds all strings together", () => {
    expect(run(core(`(loop (br 0)) ${DONE}`))).toMatchObject({ code: "handler_fuel" });
    const body = `${put(4, at(16), at(1))} ${DONE}`;
    const bounds: TurnBounds = { fuel: 100_000, output_bytes: 0 };
    expect(runTurn(admitted(core(body, undefined, text(16, "7"))), TURN, bounds)).toMatchObject({
      code: "handler_invalid",
    });
  });
});
