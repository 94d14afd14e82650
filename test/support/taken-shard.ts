/** Somebody who takes a shard of a real node's store from it, or in its absence, and writes to the log what he likes. */
import { Actors } from "../../src/actor/actors.ts";
import { openLog, type ShardLog } from "../../src/cluster/log.ts";
import { readOwnership } from "../../src/cluster/ownership.ts";
import { shardOf } from "../../src/cluster/pages.ts";
import { SHARDS_DEFAULT } from "../../src/limits.ts";
import type { Store } from "../../src/store/contract.ts";
import { TestClock } from "../cluster/clock.ts";
import { must } from "./gate.ts";

/** @param actor `type/id` of the tenant `demo`, whose shard it is */
export async function takenShard(store: Store, actor: string): Promise<ShardLog> {
  const shard = shardOf(`demo/${actor}`, SHARDS_DEFAULT);
  let nonces = 0;
  const options = {
    store,
    shard,
    session: "taker",
    clock: new TestClock(),
    nonce: () => `taker-${++nonces}`,
    breathe: async () => {},
    window: 1,
    leaseIsValid: () => true,
    onStepDown: () => {},
  };
  return must(await openLog(options, must(await readOwnership(store, shard)), new Actors()));
}
