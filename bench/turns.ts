/**
 * What a turn costs on a thread: cold, hot, and in memory. Beside it the same turn on the thread that asks.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { concat } from "../src/bytes.ts";
import { admit } from "../src/dispatch/admission.ts";
import { type Handler, type Turns, turnsHere } from "../src/dispatch/turns.ts";
import { TURN_FUEL_MAX } from "../src/limits.ts";
import { TurnPool, usualThreads } from "../src/server/turn-pool.ts";
import { expectDone } from "./callers.ts";
import { ROOT } from "./children.ts";
import { compare, measureAll, type Row, timedAsync, withMore } from "./harness.ts";
import { DEPOSIT_TURN } from "./sandbox.ts";

const ALLOWANCE = { fuel: TURN_FUEL_MAX, deadline_ms: Number.POSITIVE_INFINITY };
const TENANT = "bench";

function pool(): TurnPool {
  return new TurnPool({ threads: usualThreads(), now_ms: () => performance.now() });
}

/** The account's handler. With a section that nothing reads, no two are the same to V8: each is compiled anew. */
function accountModule(): Uint8Array<ArrayBuffer> {
  const admission = admit(readFileSync(join(ROOT, "wasm/account/account.wasm")));
  if (!admission.ok) throw new Error("the account's handler is not admitted");
  const custom = new Uint8Array([0, 18, 1, 0x78, ...randomBytes(16)]);
  return concat(admission.instrumented, custom);
}

async function compiled(turns: Turns): Promise<Handler> {
  return expectDone(await turns.compile(randomBytes(32).toString("hex"), accountModule(), TENANT));
}

const deposit = async (turns: Turns, handler: Handler): Promise<unknown> =>
  expectDone(await turns.run(handler, TENANT, DEPOSIT_TURN, ALLOWANCE));

/** One turn after the other: what the way there and back adds to each. */
async function threadVersusHere(seconds: number): Promise<Row> {
  const turns = pool();
  const [there, here] = [await compiled(turns), await compiled(turnsHere)];
  const what = "a deposit's turn on a thread, there and back, against the same turn on the thread that asks";
  const spec = { id: "sandbox.thread_vs_here", unit: "µs", better: "lower", what, seconds } as const;
  const onThread = timedAsync(() => deposit(turns, there));
  const onThis = timedAsync(() => deposit(turnsHere, here));
  const row = await compare(spec, onThread, onThis);
  await turns.close();
  return row;
}

/** A module that was never met: compiled on a thread, sent to another perhaps, and its first turn. */
async function coldStart(seconds: number): Promise<Row> {
  const turns = pool();
  await deposit(turns, await compiled(turns));
  const cold = async (): Promise<number> => {
    const bytes = accountModule();
    const started_ms = performance.now();
    const handler = expectDone(await turns.compile(randomBytes(32).toString("hex"), bytes, TENANT));
    await deposit(turns, handler);
    return (performance.now() - started_ms) * 1000;
  };
  const what = "the first turn of a module that no thread has met: compiled, and run";
  const spec = { id: "sandbox.cold_start", unit: "µs", better: "lower", what, seconds } as const;
  const [row] = await measureAll([{ spec, measure: cold }], seconds);
  await turns.close();
  if (row === undefined) throw new Error("nothing was measured");
  return row;
}

/** What threads take of the memory, before and after each has run a turn. */
async function memory(): Promise<Record<string, number>> {
  const { rss: without } = process.memoryUsage();
  const turns = pool();
  const handler = await compiled(turns);
  await Promise.all(Array.from({ length: 100 }, () => deposit(turns, handler)));
  const { rss: hot } = process.memoryUsage();
  await turns.close();
  return { thread_mb: (hot - without) / 1024 ** 2 / usualThreads() };
}

/** What it starts is stopped here. */
export async function turnCosts(ids: ReadonlySet<string>, seconds: number): Promise<readonly Row[]> {
  const rows: Row[] = [];
  if (ids.has("sandbox.cold_start")) {
    const took = await memory();
    const note = `a thread takes ${took["thread_mb"]?.toFixed(1)} MB of the process, ${usualThreads()} of them here`;
    rows.push(withMore(await coldStart(seconds), took, note));
  }
  if (ids.has("sandbox.thread_vs_here")) rows.push(await threadVersusHere(seconds));
  return rows;
}
