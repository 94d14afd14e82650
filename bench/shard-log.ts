/** A shard's log alone, on the embedded store in a temporary folder, as a node opens it. */
import { randomBytes } from "node:crypto";
import { setImmediate, setTimeout } from "node:timers/promises";
import { toHex } from "../src/bytes.ts";
import { openLog, type ShardLog } from "../src/cluster/log.ts";
import { readOwnership } from "../src/cluster/ownership.ts";
import type { Records } from "../src/cluster/records.ts";
import type { Store } from "../src/store/contract.ts";
import { expectDone } from "./callers.ts";

/** Keeps nothing of its history, and never needs a checkpoint. */
const FORGETFUL: Records = {
  restore: () => {},
  apply: () => {},
  capture: () => ({ common: [], changed: [], lines: () => [], settle: () => {} }),
};

/** Takes the shard over from whoever had it, and recovers it. */
export async function openBenchLog(store: Store, window = 1): Promise<ShardLog> {
  const options = {
    store,
    shard: 0,
    session: toHex(randomBytes(8)),
    clock: { now_ms: () => performance.now(), sleep: (ms: number) => setTimeout(ms) },
    nonce: () => toHex(randomBytes(16)),
    breathe: () => setImmediate(),
    window,
    leaseIsValid: () => true,
    onStepDown: () => {
      throw new Error("the bench's log was taken by somebody");
    },
    checkpointLogBytesMin: Number.POSITIVE_INFINITY,
  };
  const found = expectDone(await readOwnership(store, 0));
  return expectDone(await openLog(options, found, FORGETFUL));
}
