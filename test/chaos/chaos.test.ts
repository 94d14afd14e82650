/**
 * A minute of chaos: three nodes on Ceph's RGW behind a proxy that fails on purpose, nodes that are killed, stopped and
 * cut off, clients that call accounts through any of them, and a verdict on what they were told (`run.ts`).
 *
 * Nothing here is measured against a clock: the machine may be slow. `npm run chaos -- --minutes 60` goes on for longer.
 */
import { expect, it } from "vitest";
import { FAULTS } from "../support/fault-plan.ts";
import { describeOnRgw } from "../support/rgw.ts";
import { MISCHIEF } from "./adversary.ts";
import { runChaos } from "./run.ts";

const SEED = 1;
const WORK_MS = 60_000;
const TIMEOUT_MS = 15 * 60_000;

describeOnRgw("chaos", () => {
  it("loses nothing that was acknowledged, does nothing twice, violates no order", {
    timeout: TIMEOUT_MS,
  }, async () => {
    const log: string[] = [];
    const run = { seed: SEED, work_ms: WORK_MS, place: "s3", kinds: MISCHIEF, keep: false } as const;
    const { summary, problems, events, folder } = await runChaos({ ...run, say: (line) => log.push(line) });
    console.info(summary);
    expect(problems, `${log.join("\n")}\nhistory and logs: ${folder}`).toEqual([]);
    // That each kind of mischief and fault happened, and something of each line of accounts was acknowledged, is part of
    // the verdict. Leaders must have fallen, and successors answered.
    expect(events.mischief.keys().toArray().toSorted()).toEqual(MISCHIEF.toSorted());
    expect(events.faults.keys().toArray()).toEqual(expect.arrayContaining([...FAULTS]));
    expect(events.failovers.values().toArray().flat().length).toBeGreaterThan(0);
  });
});
