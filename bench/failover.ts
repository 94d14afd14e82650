/**
 * How long nobody answers when the leader of a shard is lost: from its end to the first call that its successor
 * acknowledges, against the TTL of its lease.
 *
 * Two nodes with one shard on an embedded store. The leader is stopped (SIGSTOP), which is how a lost machine looks from
 * outside: no lease renewed, no answer, no end that anybody could see. A process killed on the same machine is seen to have ended,
 * and needs no TTL; that is measured beside.
 */
import { setTimeout } from "node:timers/promises";
import { fetch } from "undici";
import { survey } from "../src/cluster/survey.ts";
import { send, signCall } from "../src/sdk/client.ts";
import { sqliteStore } from "../src/store/sqlite.ts";
import { callerOf, embeddedIdentities, expectDone, type Identity, TENANT } from "./callers.ts";
import { type ServerProcess, signalAll, startPostern, stop, temporaryFolder } from "./children.ts";
import { compare, median, type Row, withMore } from "./harness.ts";

const TTL_MS = 2000;
/** Between two calls; one that gets no answer is given up after a while, and others are under way. */
const EVERY_MS = 20;
const CALL_MS_MAX = 500;
const RECOVERY_MS_MAX = 20 * TTL_MS;

export async function failover(seconds: number): Promise<readonly Row[]> {
  const what = `from the leader's end to the first call that its successor acknowledged (one shard, embedded store), against a TTL of ${TTL_MS / 1000} s`;
  const spec = { id: "log.failover", unit: "ms", better: "lower", what, seconds } as const;
  const killed_ms: number[] = [];
  const row = await compare(
    spec,
    async () => {
      killed_ms.push(await failoverAfter("SIGKILL"));
      return failoverAfter("SIGSTOP");
    },
    () => TTL_MS,
  );
  const note = `the leader's process killed on the same machine: ${median(killed_ms).toFixed(0)} ms (${Math.min(...killed_ms).toFixed(0)}–${Math.max(...killed_ms).toFixed(0)})`;
  return [withMore(row, { killed_on_same_machine_ms: median(killed_ms) }, note)];
}

async function failoverAfter(signal: "SIGKILL" | "SIGSTOP"): Promise<number> {
  const folder = temporaryFolder();
  const options = ["--lease", `${TTL_MS}ms`, "--shards", "1"];
  const nodes = [await startPostern(folder, ...options), await startPostern(folder, ...options)];
  const [identity] = await embeddedIdentities(folder, 1);
  if (identity === undefined) throw new Error("no identity");
  await acknowledged(nodes[0], identity, "open", { owner: "Bench" });
  const leader = await leaderOf(folder);
  const [lost, successor] = nodes.toSorted((a) => (a.url === leader ? -1 : 1));
  await acknowledged(successor, identity, "deposit", { amount: 1 });

  if (lost !== undefined) signalAll(lost.child, signal);
  const started_ms = performance.now();
  const took_ms = await firstAcknowledged(successor, identity, started_ms);
  await Promise.all(nodes.map(({ child }) => stop(child)));
  return took_ms;
}

async function leaderOf(folder: string): Promise<string> {
  const store = sqliteStore(folder);
  const { nodes } = expectDone(await survey(store, Date.now()));
  await store.close();
  const leader = nodes.find(({ shards }) => shards === 1);
  if (!leader?.url) throw new Error("nobody leads the shard");
  return leader.url;
}

async function firstAcknowledged(
  node: ServerProcess | undefined,
  identity: Identity,
  started_ms: number,
): Promise<number> {
  const acknowledged_ms: number[] = [];
  const call = async (): Promise<void> => {
    try {
      await acknowledged(node, identity, "deposit", { amount: 1 });
      acknowledged_ms.push(performance.now() - started_ms);
    } catch {
      // Nobody has answered yet.
    }
  };
  const calls: Promise<void>[] = [];
  while (acknowledged_ms.length === 0) {
    if (performance.now() - started_ms > RECOVERY_MS_MAX) throw new Error("nobody has taken over");
    calls.push(call());
    await setTimeout(EVERY_MS);
  }
  await Promise.all(calls);
  return Math.min(...acknowledged_ms);
}

async function acknowledged(
  node: ServerProcess | undefined,
  identity: Identity,
  message: string,
  args: Record<string, string | number>,
): Promise<void> {
  if (node === undefined) throw new Error("there is no such node");
  const { actor } = identity;
  const signed = signCall(callerOf(identity, node.url), {
    tenant: TENANT,
    actor,
    message,
    args,
    timeout_ms: CALL_MS_MAX,
  });
  const outcome = await send(signed, fetch);
  if ("problem" in outcome) throw new Error(outcome.problem.detail);
}
