/** Real threads, real modules: what a turn does to its thread stays there. */
import { setImmediate } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { admit } from "../../src/dispatch/admission.ts";
import { runTurn } from "../../src/dispatch/sandbox.ts";
import { type Handler, type Turns, turnsHere } from "../../src/dispatch/turns.ts";
import { isRefusal } from "../../src/errors.ts";
import { TURN_FUEL_MAX } from "../../src/limits.ts";
import { TurnPool } from "../../src/server/turn-pool.ts";
import { answer, answering, guest, TURN } from "../dispatch/guests.ts";
import { must } from "../support/gate.ts";

const ALLOWANCE = { fuel: TURN_FUEL_MAX, deadline_ms: Number.POSITIVE_INFINITY };
const pools: TurnPool[] = [];

function pool(
  threads: number,
  more: { readonly heap_mb?: number; readonly now_ms?: () => number } = {},
): TurnPool {
  const opened = new TurnPool({ threads, now_ms: () => performance.now(), ...more });
  pools.push(opened);
  return opened;
}

afterEach(async () => {
  for (const opened of pools.splice(0)) await opened.close();
});

let hashes = 0;
async function handler(turns: Turns, original: Uint8Array, tenant = "t"): Promise<Handler> {
  const admission = admit(original);
  if (!admission.ok) throw new Error(JSON.stringify(admission.problems));
  return must(await turns.compile(`hash ${++hashes}`, admission.instrumented, tenant));
}

const endless = guest("(loop $l (br $l)) (i64.const 0)");
const replying = answering('{"reply":{"a":[1,"é"]},"state":{"n":"ü"}}');

describe("a turn on a thread", () => {
  const guests: Record<string, Uint8Array> = {
    "that replies": replying,
    "that becomes something": answering('{"reply":null,"become":"frozen"}'),
    "that refuses": answering('{"error":{"code":"too_little","detail":"no"}}'),
    "that answers no JSON": answering("{"),
    "that answers from outside its memory": guest(answer(1 << 30, 8)),
    "that traps": guest("(unreachable)"),
    "that does not end": endless,
    "that recurses": guest("(call $r) (i64.const 0)", "(func $r (call $r))"),
  };

  test.each(Object.entries(guests))("%s ends as it does here", async (_name, original) => {
    const turns = pool(1);
    const [there, here] = [await handler(turns, original), await handler(turnsHere, original)];
    const answered = await turns.run(there, "t", TURN, ALLOWANCE);
    expect(answered).toEqual(await turnsHere.run(here, "t", TURN, ALLOWANCE));
    expect(answered).toEqual(runTurn(here.module, TURN));
  });

  test("is given its state and arguments", async () => {
    // Answers its own input as its reply: `{"reply":` before it, `}` behind it.
    const echo = guest(
      `(memory.copy (i32.const 9) (local.get 0) (local.get 1))
       (memory.copy (i32.const 0) (i32.const 60000) (i32.const 9))
       (i32.store8 (i32.add (i32.const 9) (local.get 1)) (i32.const 125))
       (i64.extend_i32_u (i32.add (local.get 1) (i32.const 10)))`,
      `(data (i32.const 60000) "{\\22reply\\22:")`,
    );
    const turns = pool(1);
    const turn = { ...TURN, state: '{"é":1}', args: { many: ["ü", 2] } };
    const answered = must(await turns.run(await handler(turns, echo), "t", turn, ALLOWANCE));
    expect(answered.reply).toMatchObject({ state: { é: 1 }, args: { many: ["ü", 2] }, actor: "guest/1" });
  });

  test("what does not compile is refused, and the thread goes on", async () => {
    const turns = pool(1);
    const bytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 9, 9, 9, 9]);
    expect(await turns.compile("x", bytes, "t")).toMatchObject({ code: "store_unavailable" });
    expect(await turns.run(await handler(turns, replying), "t", TURN, ALLOWANCE)).toMatchObject({ fuel: 5 });
  });
});

describe("a slow turn", () => {
  test("leaves the loop free: what this thread does meanwhile is done", async () => {
    const turns = pool(1);
    const slow = await handler(turns, endless);
    let steps = 0;
    const turn = turns.run(slow, "t", TURN, ALLOWANCE);
    for (let over: unknown = "not yet"; over === "not yet"; steps++)
      over = await Promise.race([turn, setImmediate("not yet")]);
    expect(await turn).toMatchObject({ code: "handler_fuel" });
    expect(steps).toBeGreaterThan(10);
  });

  test("of one tenant keeps no other waiting, though it has sent many", async () => {
    const turns = pool(2);
    const [slow, brief] = [await handler(turns, endless, "slow"), await handler(turns, replying, "brief")];
    let ended = 0;
    const attack = Array.from({ length: 6 }, () =>
      turns.run(slow, "slow", TURN, ALLOWANCE).finally(() => ended++),
    );
    for (let i = 0; i < 20; i++) must(await turns.run(brief, "brief", TURN, ALLOWANCE));
    // All of them together would have taken half a second.
    expect(ended).toBeLessThan(6);
    for (const outcome of await Promise.all(attack)) expect(outcome).toMatchObject({ code: "handler_fuel" });
  });

  test("is reported, and how long it has lasted", async () => {
    const turns = pool(1);
    const slow = await handler(turns, endless);
    expect(turns.beat()).toEqual([]);
    const turn = turns.run(slow, "t", TURN, ALLOWANCE);
    const reports = [turns.beat(), turns.beat(), turns.beat()].flat();
    expect(reports.map(({ beats }) => beats)).toEqual([1, 2, 3]);
    expect(reports[2]).toMatchObject({ hash: slow.hash, tenant: "t", cpu_ms: expect.any(Number) });
    await turn;
    expect(turns.beat()).toEqual([]);
  });
});

test("a turn that waited past its deadline is not begun", async () => {
  let now_ms = 0;
  const turns = pool(1, { now_ms: () => now_ms });
  const [slow, brief] = [await handler(turns, endless), await handler(turns, replying)];
  const first = turns.run(slow, "t", TURN, ALLOWANCE);
  const late = turns.run(brief, "t", TURN, { ...ALLOWANCE, deadline_ms: 10 });
  const later = turns.run(brief, "t", TURN, { ...ALLOWANCE, deadline_ms: 11 });
  now_ms = 10;
  expect(await first).toMatchObject({ code: "handler_fuel" });
  expect(await late).toMatchObject({ code: "deadline" });
  expect(isRefusal(await later)).toBe(false);
});

test("a thread that runs out of memory fails its turn, and another takes its place", async () => {
  const many = `{"reply":[${'{"a":{}},'.repeat(33_000)}{}]}`;
  const data = `(data (i32.const 65536) "${many.replaceAll('"', "\\22")}")`;
  // A thread starts with so much, and cannot read such an answer.
  const turns = pool(1, { heap_mb: 12 });
  const [large, brief] = [
    await handler(turns, guest(answer(65_536, many.length), data, "16")),
    await handler(turns, replying),
  ];
  const outcomes = [turns.run(large, "t", TURN, ALLOWANCE), turns.run(brief, "t", TURN, ALLOWANCE)];
  expect(await Promise.all(outcomes)).toMatchObject([{ code: "handler_memory" }, { reply: { a: [1, "é"] } }]);
});
