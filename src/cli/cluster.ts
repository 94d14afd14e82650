/** `postern cluster`: nodes, shards and who leads them, read from the store alone; no node is asked. */
import { type Survey, survey } from "../cluster/survey.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import { type Command, type Environment, flag, type Outcome, printable, UsageProblem } from "./command.ts";
import { DEFAULT_STORE, openStore } from "./inputs.ts";

const WATCH_MS = 1_000;

export const cluster: Command = {
  name: "cluster",
  summary: "show nodes, shards, leaders and log positions",
  usage: "[--store URL] [--watch]",
  options: { store: { type: "string" }, watch: { type: "boolean" } },
  help: {
    store: `the store of the cluster (default ${DEFAULT_STORE})`,
    watch: "show it anew every second, until Ctrl-C; with --json one document a line",
  },
  async run(environment, values) {
    const opened = await openStore(environment, values, "read");
    if (opened instanceof UsageProblem || isRefusal(opened)) return opened;
    try {
      const look = () => survey(opened.store, environment.now_ms());
      return flag(values, "watch")
        ? await watch(environment, look, flag(values, "json"))
        : outcomeOf(await look());
    } finally {
      await opened.store.close();
    }
  },
};

async function watch(
  environment: Environment,
  look: () => Promise<Survey | Refusal>,
  json: boolean,
): Promise<Outcome> {
  const stopped = environment.interrupted().then(() => true);
  for (;;) {
    const found = await look();
    if (isRefusal(found)) return found;
    // A terminal is cleared and written anew from its upper left corner.
    environment.write(json ? `${JSON.stringify(found)}\n` : `\u001b[2J\u001b[H${tableOf(found)}\n`);
    if (await Promise.race([stopped, environment.pause(WATCH_MS)])) return outcomeOf(found);
  }
}

function outcomeOf(found: Survey | Refusal): Outcome {
  return isRefusal(found) ? found : { json: found, text: tableOf(found) };
}

function tableOf({ nodes, shards }: Survey): string {
  const names = new Map(nodes.map(({ session, url }) => [session, printable(url)]));
  const nodeRows = nodes.map((node) => [
    printable(node.url),
    printable(node.session),
    node.state,
    String(node.shards),
    `${seconds(node.lease_age_ms)} of ${seconds(node.ttl_ms)}`,
  ]);
  const shardRows = shards.map(({ shard, owner, epoch, seq, checkpoint, lag }) => [
    String(shard),
    owner === null ? "nobody" : (names.get(owner) ?? `${printable(owner)} (no lease)`),
    String(epoch),
    seq === null ? "–" : String(seq),
    String(checkpoint),
    lag === null ? "–" : String(lag),
  ]);
  const served = shards.filter(({ seq }) => seq !== null).length;
  return [
    ...table(["node", "session", "state", "shards", "lease age"], nodeRows),
    "",
    ...table(["shard", "leader", "epoch", "seq", "checkpoint", "lag"], shardRows),
    "",
    `${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}; ${served} of ${shards.length} shards are led`,
  ].join("\n");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
  return [head, ...rows].map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
