/** Around each run of the suite: collects what is written and what is secret, and fails the run where they meet. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { COLLECTED, leaksIn } from "./leaks.ts";

export default function setup(): () => void {
  const directory = mkdtempSync(join(tmpdir(), "postern-collected-"));
  process.env[COLLECTED] = directory;
  return () => {
    const leaks = leaksIn(directory);
    rmSync(directory, { recursive: true, force: true });
    if (leaks.length === 0) return;
    const shown = leaks
      .slice(0, 10)
      .map(({ what, source, text }) => `${what}, written by ${source}: ${text}`);
    throw new Error([`${leaks.length} secrets were written (law 7)`, ...shown].join("\n"));
  };
}
