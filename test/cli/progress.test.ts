/** Progress: a line that is replaced in place, with the time that is left, and gone at the end; not one byte into a pipe. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { progressBar } from "../../src/cli/progress.ts";
import { postern } from "../support/postern.ts";

/** A terminal, and a clock of this test's. */
function terminal() {
  const lines: string[] = [];
  const clock = { ms: 5000 };
  const bar = progressBar({ status: (line) => lines.push(line), now_ms: () => clock.ms }, "checking");
  return { lines, clock, bar };
}

describe("a progress bar", () => {
  it("shows the share that is done, and the time that the rest will take at that pace", () => {
    const { lines, clock, bar } = terminal();
    for (let done = 1; done <= 100; done++) {
      clock.ms += 100;
      bar(done, 100, done * 1e6);
    }
    expect(lines[0]).toBe("checking ░░░░░░░░░░░░░░░░░░░░░░░░ 1 of 100 objects, 1.0 MB, about 10 s left");
    expect(lines[24]).toBe("checking ██████░░░░░░░░░░░░░░░░░░ 25 of 100 objects, 25.0 MB, about 8 s left");
    expect(lines[98]).toBe("checking ████████████████████████ 99 of 100 objects, 99.0 MB, about 1 s left");
    expect(lines.at(-1)).toBe("");
  });

  it("tells minutes and hours where it takes so long", () => {
    const { lines, clock, bar } = terminal();
    clock.ms += 60_000;
    bar(1, 11, 0);
    clock.ms += 3_600_000;
    bar(2, 11, 0);
    expect(lines.map((line) => line.replace(/^.*about /, ""))).toEqual(["10 min left", "4 h 35 min left"]);
  });

  it("is not drawn more often than can be seen, however many objects there are", () => {
    const { lines, clock, bar } = terminal();
    for (let done = 1; done < 100_000; done++) {
      clock.ms += 0.01;
      bar(done, 100_000, 0);
    }
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.length).toBeLessThanOrEqual(11);
  });

  it("of nothing is nothing", () => {
    const { lines, bar } = terminal();
    bar(0, 0, 0);
    expect(lines.join("")).toBe("");
  });
});

it("into a pipe goes the result alone", async () => {
  const directory = mkdtempSync(join(tmpdir(), "postern-progress-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const [from, to] = [`file:${join(directory, "from")}`, `file:${join(directory, "to")}`];
  expect(await postern(["apply", "policies", "--store", from])).toMatchObject({ code: 0 });
  const checked = await postern(["store", "check", "--store", from]);
  expect(checked).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringMatching(/^\d+ objects, .*\n$/),
  });
  const copied = await postern(["store", "copy", from, to]);
  expect(copied).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringMatching(/^\d+ objects copied.*\n$/),
  });
  expect(checked.stdout + copied.stdout).not.toContain("\u001b");
});
