/** Behind an edge node nodes come and go; callers who only know the edge notice nothing. */
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { survey } from "../../src/cluster/survey.ts";
import { type EdgeGate, startEdgeGate } from "../support/edge.ts";
import { call, freshAccount, must, party } from "../support/gate.ts";

let gates: EdgeGate;
beforeAll(async () => {
  gates = await startEdgeGate();
});
afterAll(() => gates.end());

/** Waits until so many nodes lead shards, and every shard is led. */
async function led(count: number): Promise<void> {
  for (;;) {
    const { nodes, shards } = must(await survey(gates.store, Date.now()));
    const leading = nodes.filter(({ shards: owned }) => owned > 0).length;
    if (leading === count && shards.every(({ state }) => state === "led")) return;
    await setTimeout(50);
  }
}

it("no call fails while a second node comes, takes over and leaves", async () => {
  const actors = Array.from({ length: 8 }, freshAccount);
  const ada = party(gates.edge, "account/*");
  for (const actor of actors)
    expect(await call(ada, actor, "open", { owner: "Ada" })).toMatchObject({ status: 200 });
  const going = new AbortController();
  const failures: unknown[] = [];
  const deposits = actors.map(async (actor) => {
    let count = 0;
    for (; !going.signal.aborted; count++) {
      const outcome = await call(ada, actor, "deposit", { amount: 1 });
      if ("problem" in outcome) failures.push(outcome);
    }
    return count;
  });
  const second = await gates.startNode();
  await led(2);
  await setTimeout(300);
  await second.stop(0);
  await led(1);
  going.abort();
  const counts = await Promise.all(deposits);
  expect(failures).toEqual([]);
  for (const [i, actor] of actors.entries())
    expect(await call(ada, actor, "balance")).toMatchObject({ result: { balance: counts[i] } });
});
