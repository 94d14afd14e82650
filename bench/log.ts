/**
 * Log rows: how many calls share one durable write.
 *
 * Counted in a real gateway: the puts that its store has taken, read from its database. With one connection there is never a
 * second call to share with, so that side is what no group commit would give.
 */
import { randomBytes } from "node:crypto";
import { setImmediate, setTimeout } from "node:timers/promises";
import { toHex } from "../src/bytes.ts";
import { openLog, type ShardLog } from "../src/cluster/log.ts";
import type { Records } from "../src/cluster/records.ts";
import { COMMIT_WINDOW } from "../src/limits.ts";
import type { Store } from "../src/store/contract.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { expectDone } from "./callers.ts";
import { removeFolder, temporaryFolder } from "./children.ts";
import { compare, type Row, withMore } from "./harness.ts";
import { CONNECTIONS, Load, posternTarget, putsOf, type Target } from "./http.ts";

const CALLS = 200;
/** Appends in flight at once, without any gateway before them. */
const APPENDERS = 256;

export async function callsPerPut(seconds: number): Promise<readonly Row[]> {
  const load = new Load();
  const { target, store } = await posternTarget(load);
  const counted = (side: Target) => async (): Promise<number> => {
    const before = putsOf(store);
    const { requests } = await load.run(side, CALLS);
    return requests / (putsOf(store) - before);
  };
  const what = `calls in one durable write at ${CONNECTIONS} connections, against the same gateway at 1 (no group commit)`;
  const spec = { id: "log.calls_per_put", unit: "calls/put", better: "higher", what, seconds } as const;
  const row = await compare(spec, counted(target), counted({ ...target, connections: 1 }));
  const alone = await appendersAlone();
  const note = `the log alone, ${APPENDERS} appends in flight: ${alone.toFixed(0)} calls/put`;
  return [withMore(row, { log_alone_calls_per_put: alone }, note)];
}

/** Records of which nothing is kept. */
const sink: Records = {
  restore: () => {},
  apply: () => {},
  capture: () => ({ common: [], changed: [], lines: () => [], settle: () => {} }),
};

/** A shard's log on a store in a temporary folder, as a gateway opens it. */
export async function openBenchLog(): Promise<{
  log: ShardLog;
  puts: () => number;
  close: () => Promise<void>;
}> {
  const folder = temporaryFolder();
  const inner = sqliteStore(folder);
  let puts = 0;
  const store: Store = {
    get: (key) => inner.get(key),
    put: (key, body, condition) => {
      puts++;
      return inner.put(key, body, condition);
    },
    delete: (key) => inner.delete(key),
    list: (prefix) => inner.list(prefix),
    close: () => inner.close(),
  };
  const options = {
    store,
    shard: 0,
    session: toHex(randomBytes(8)),
    nonce: () => toHex(randomBytes(16)),
    breathe: () => setImmediate(),
    clock: { now_ms: () => performance.now(), sleep: (ms: number) => setTimeout(ms) },
    window: COMMIT_WINDOW,
    leaseIsValid: () => true,
    onStepDown: () => {
      throw new Error("the bench's log was taken by somebody");
    },
  };
  const log = expectDone(await openLog(options, undefined, sink));
  const close = async (): Promise<void> => {
    await log.idle();
    await inner.close();
    removeFolder(folder);
  };
  return { log, puts: () => puts, close };
}

async function appendersAlone(): Promise<number> {
  const { log, puts, close } = await openBenchLog();
  const before = puts();
  const rounds = 10;
  const entry = JSON.stringify({ filler: "x".repeat(600) });
  const appender = async (): Promise<void> => {
    for (let i = 0; i < rounds; i++) expectDone(await log.append(entry));
  };
  await Promise.all(Array.from({ length: APPENDERS }, appender));
  const perPut = (APPENDERS * rounds) / (puts() - before);
  await close();
  return perPut;
}
