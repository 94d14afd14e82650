/** How long a commit waits for company: not at all for who is alone, and never long. */
import { describe, expect, test } from "vitest";
import { Gathering } from "../../src/cluster/gathering.ts";
import { COMMIT_GATHER_MS_MAX, COMMIT_GATHER_SLICES } from "../../src/limits.ts";
import { TestClock } from "./clock.ts";
import { quiet } from "./harness.ts";

/** A gathering that has seen so many commits of so many entries, each so long. */
async function seasoned(commits: number, entries: number, commit_ms: number) {
  const clock = new TestClock();
  const gathering = new Gathering(clock, async () => {});
  for (let i = 0; i < commits; i++) {
    const ended = gathering.sent(entries);
    clock.jump(commit_ms);
    ended();
  }
  return { clock, gathering };
}

/** How long it waits while calls come at these times, in ms. */
async function waitOf(
  { clock, gathering }: { clock: TestClock; gathering: Gathering },
  arrivals_ms: readonly number[],
): Promise<number> {
  const begun_ms = clock.now_ms();
  const waiting = gathering.wait(
    () => arrivals_ms.filter((at_ms) => begun_ms + at_ms <= clock.now_ms()).length,
  );
  await quiet();
  let waited_ms = 0;
  for (; clock.sleeping > 0 && waited_ms < 10_000; waited_ms++) await clock.pass(1);
  await waiting;
  return waited_ms;
}

const steadily = (every_ms: number, for_ms: number): number[] =>
  Array.from({ length: Math.floor(for_ms / every_ms) }, (_, i) => i * every_ms);

describe("a commit", () => {
  test("of a call that is alone is sent at once", async () => {
    expect(await waitOf(await seasoned(0, 1, 0), [0])).toBe(0);
    expect(await waitOf(await seasoned(20, 1, 80), steadily(1, 1000))).toBe(0);
  });

  test("on a store that answers in a moment is sent at once, however many share it", async () => {
    const commit_ms = COMMIT_GATHER_SLICES - 1;
    expect(await waitOf(await seasoned(20, 50, commit_ms), steadily(1, 1000))).toBe(0);
  });

  test("after a shared one waits for a slice of a commit, and no longer where nobody comes", async () => {
    const commit_ms = 80;
    const waited_ms = await waitOf(await seasoned(60, 2, commit_ms), [0]);
    expect(waited_ms).toBeGreaterThan(0);
    expect(waited_ms).toBeLessThanOrEqual(Math.ceil((2 * commit_ms) / COMMIT_GATHER_SLICES));
  });

  test("waits on while calls keep coming, up to two commits' time", async () => {
    const commit_ms = 80;
    const waited_ms = await waitOf(await seasoned(60, 2, commit_ms), steadily(2, 1000));
    expect(waited_ms).toBeGreaterThan(commit_ms);
    expect(waited_ms).toBeLessThanOrEqual(2 * commit_ms + commit_ms / COMMIT_GATHER_SLICES);
  });

  test("waits no longer than its bound on the slowest store", async () => {
    const commit_ms = 2000;
    const waited_ms = await waitOf(await seasoned(60, 2, commit_ms), steadily(10, 9000));
    expect(waited_ms).toBeLessThanOrEqual(COMMIT_GATHER_MS_MAX + commit_ms / COMMIT_GATHER_SLICES);
  });

  test("stops waiting when the last one went out with one call", async () => {
    const all = await seasoned(60, 2, 80);
    all.gathering.sent(1)();
    expect(await waitOf(all, steadily(1, 1000))).toBe(0);
  });

  test("lets other work run first, in any case", async () => {
    let breaths = 0;
    const gathering = new Gathering(new TestClock(), async () => {
      breaths++;
    });
    await gathering.wait(() => 1);
    expect(breaths).toBe(1);
  });
});
