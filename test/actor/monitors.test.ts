/** Monitors of one actor: each root has its share, and what is over or back at its start takes none of it. */
import { describe, expect, test } from "vitest";

import { isRefusal } from "../../src/errors.ts";
import { CLOCK_SKEW_S_MAX, MONITORS_PER_ACTOR_MAX, MONITORS_PER_ROOT_MAX } from "../../src/limits.ts";
import { callOf, caveat, monitorsOf, NOW_MS, shardOf } from "./counter.ts";
import { loaded, Shelf, ShelfLog } from "./shelf.ts";

const TWO = "deposit ; deposit";
const UNTIL_MS = NOW_MS + 1000;
const OVER_MS = UNTIL_MS + CLOCK_SKEW_S_MAX * 1000;

async function opened() {
  const shelf = new Shelf();
  const actors = shelf.recover();
  const shard = shardOf({ actors, log: new ShelfLog(shelf), read: shelf.read });
  await shard.call(callOf("open"));
  const actor = await loaded(actors, "t/account/1");
  /** A deposit through a caveat of that id, by a token of that root. */
  const deposit = async (
    root: string,
    id: string,
    expression = TWO,
    now_ms = NOW_MS,
    until_ms = UNTIL_MS,
  ) => {
    const monitors = [caveat(id, expression, until_ms)];
    const answer = await shard.call(
      callOf("deposit", { token: { root, digest: root }, monitors, now_ms, args: {} }),
    );
    return isRefusal(answer) ? answer : "done";
  };
  return { actor, deposit, shelf, recovered: () => loaded(shelf.recover(), "t/account/1") };
}

function fill({ actor }: Awaited<ReturnType<typeof opened>>, root: string, count: number): void {
  for (let i = 0; i < count; i++)
    actor.monitors.set(root, `${root}${i}`, { state: 1, until_ms: UNTIL_MS, by: root });
}

describe("a root that has used up its share", () => {
  test("is refused more of it, goes on with what it has, and nobody else is held up", async () => {
    const node = await opened();
    fill(node, "greedy", MONITORS_PER_ROOT_MAX);
    expect(await node.deposit("greedy", "new")).toMatchObject({
      code: "quota_exceeded",
      detail: expect.stringContaining("this token and all that share its root") as unknown,
      facts: { retry_after_ms: OVER_MS - NOW_MS },
    });
    expect(await node.deposit("greedy", "greedy0")).toBe("done");
    expect(await node.deposit("other", "new")).toBe("done");
    expect(node.actor.monitors.size).toBe(MONITORS_PER_ROOT_MAX + 1);
  });

  test("has room again when its caveats can pass nowhere any more", async () => {
    const node = await opened();
    fill(node, "greedy", MONITORS_PER_ROOT_MAX);
    expect(await node.deposit("greedy", "new", TWO, OVER_MS - 1)).toMatchObject({ code: "quota_exceeded" });
    // Refused or not, looking does not change the actor: only entries do.
    expect(node.actor.monitors.size).toBe(MONITORS_PER_ROOT_MAX);
    expect(await node.deposit("greedy", "new", TWO, OVER_MS, OVER_MS + 1)).toBe("done");
    expect(monitorsOf(node.actor)).toEqual({ new: 1 });
  });

  test("may send what moves no monitor, or moves one back to its start", async () => {
    const node = await opened();
    fill(node, "greedy", MONITORS_PER_ROOT_MAX);
    expect(await node.deposit("greedy", "loop", "deposit*")).toBe("done");
    expect(await node.deposit("greedy", "greedy0", "(deposit ; deposit)*")).toBe("done");
    expect(node.actor.monitors.get("greedy", "greedy0")).toBeUndefined();
    expect(await node.deposit("greedy", "new")).toBe("done");
  });
});

test("an actor has so much room for all roots together", async () => {
  const node = await opened();
  for (let i = 0; i < MONITORS_PER_ACTOR_MAX / MONITORS_PER_ROOT_MAX; i++)
    fill(node, `root ${i}/`, MONITORS_PER_ROOT_MAX);
  expect(await node.deposit("another", "new")).toMatchObject({
    code: "quota_exceeded",
    detail: expect.stringContaining("of all tokens together") as unknown,
  });
  expect(await node.deposit("root 0/", "root 0/0")).toBe("done");
  expect(await node.deposit("another", "new", TWO, OVER_MS, OVER_MS + 1)).toBe("done");
});

test("only what has left its start is kept, in memory, in the log and after it", async () => {
  const node = await opened();
  expect(await node.deposit("r", "there and back", "(deposit ; deposit)*")).toBe("done");
  expect(monitorsOf(node.actor)).toEqual({ "there and back": 1 });
  expect(await node.deposit("r", "there and back", "(deposit ; deposit)*")).toBe("done");
  expect(await node.deposit("r", "always", "deposit*")).toBe("done");
  expect([node.actor.monitors.size, (await node.recovered()).monitors.size]).toEqual([0, 0]);
});
