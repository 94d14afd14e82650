/**
 * `npm run chaos -- [--minutes 60] [--seed N] [--nodes 1]`: chaos for as long as you like.
 *
 * Prints a summary. Where the run fails, it says what was wrong and where its history is, and ends with exit code 1.
 */
import { parseArgs } from "node:util";
import { CLUSTER, ONE_NODE, runChaos } from "./run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    nodes: { type: "string", default: String(CLUSTER.nodes) },
  },
});

const work_ms = Number(values.minutes) * 60_000;
const seed = Number(values.seed);
const nodes = Number(values.nodes);
if (!(work_ms > 0) || !Number.isInteger(seed) || !Number.isInteger(nodes) || nodes < 1) {
  console.error("chaos: --minutes N, --seed N and --nodes N are numbers above 0");
  process.exit(2);
}
console.info(`chaos for ${values.minutes} min with ${nodes} nodes, seed ${seed}`);
const deployment = nodes === 1 ? ONE_NODE : { ...CLUSTER, nodes };
const { summary, problems } = await runChaos({ ...deployment, seed, work_ms });
console.info(summary);
for (const problem of problems) console.error(`PROBLEM ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;
