/** The simulation finds bugs: each is planted in a copy of the source, and some seed must fail. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BUGS, type Change } from "./planted-bugs.ts";

const SEEDS_MAX = 2000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SIMULATION = "test/cluster/simulation";
const folder = mkdtempSync(join(tmpdir(), "postern-planted-"));
const found: string[] = [];

beforeAll(() => {
  for (const part of ["package.json", "src", SIMULATION]) {
    mkdirSync(dirname(join(folder, part)), { recursive: true });
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  console.info(found.join("\n"));
});

function plant({ file, from, to }: Change): void {
  const path = join(folder, "src", file);
  const text = readFileSync(path, "utf8");
  if (text.split(from).length !== 2) throw new Error(`${file} does not hold exactly once: ${from}`);
  writeFileSync(
    path,
    text.replace(from, () => to),
  );
}

test.each(BUGS)(
  "$name",
  ({ name, changes }) => {
    for (const change of changes) plant(change);
    const args = [join(folder, SIMULATION, "main.ts"), "--seeds", String(SEEDS_MAX), "--fail-fast"];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    for (const { file } of changes) cpSync(join(ROOT, "src", file), join(folder, "src", file));
    const [, seed, why] = /^seed (\d+) fails: (.*)$/m.exec(stderr) ?? [];
    found.push(`${String(seed).padStart(5)}  ${name}: ${why}`);
    expect({ status, seed }).toMatchObject({ status: 1, seed: expect.any(String) });
  },
  120_000,
);
