/** The style of the project, as a test: layout, import rule, purity of the stages, sizes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What git tracks or would track; deleted files that are still in the index do not count. */
const files = execFileSync(
  "git",
  ["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"],
  {
    cwd: ROOT,
    encoding: "utf8",
  },
)
  .split("\n")
  .filter((path) => path !== "" && isThere(path));
const sources = files.filter((path) => /^src\/.*\.ts$/.test(path) && !path.endsWith(".d.ts"));
const text = (path: string): string => readFileSync(join(ROOT, path), "utf8");

function isThere(path: string): boolean {
  try {
    readFileSync(join(ROOT, path));
    return true;
  } catch {
    return false;
  }
}

/** `[path, line]` of every line of these files that matches. */
function matches(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    text(path)
      .split("\n")
      .flatMap((line, index) =>
        pattern.test(withoutComment(line)) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
      ),
  );
}

const withoutComment = (line: string): string =>
  line.replace(/^\s*(\/\/|\*|\/\*).*$/, "").replace(/\s\/\/ .*$/, "");

describe("layout", () => {
  const TOP =
    /^(package\.json|package-lock\.json|tsconfig\.json|README\.md|ARCHITECTURE\.md|LICENSE|\..*|(src|policies|test|wasm|bench)\/.*)$/;

  it("has the fixed top level and nothing else", () => {
    expect(files.filter((path) => !TOP.test(path))).toEqual([]);
  });

  it("commits nothing that is built or installed", () => {
    expect(files.filter((path) => /(^|\/)(node_modules|dist)\/|\.wasm$/.test(path))).toEqual([]);
  });
});

describe("imports", () => {
  const STAGES = new Set([
    "request",
    "token",
    "signature",
    "authorize",
    "protocol",
    "dispatch",
    "actor",
    "store",
    "cluster",
    "record",
  ]);
  /** What every stage may use: leaves without state. The store's contract includes how its outcomes are settled. */
  const COMMON =
    /^src\/(errors|limits|bytes|json|handles|crc32|checked|names|secret|ip|stretches)\.ts$|^src\/store\/(contract|settle)\.ts$/;
  const IMPORT = /^import (type )?(?:(\{[^}]*\})|[^;]*?)? ?(?:from )?"(\.[^"]+)";/gms;

  const folderOf = (path: string): string => /^src\/([^/]+)\//.exec(path)?.[1] ?? "";
  const onlyTypes = (list: string | undefined): boolean =>
    list !== undefined &&
    list
      .replace(/[{}\s]/g, " ")
      .trim()
      .split(",")
      .filter((name) => name.trim() !== "")
      .every((name) => name.trim().startsWith("type "));

  it("a stage imports other stages' types only, plus the common leaves", () => {
    const wrong: string[] = [];
    for (const path of sources.filter((source) => STAGES.has(folderOf(source)))) {
      for (const [, typeOnly, list, target = ""] of text(path).matchAll(IMPORT)) {
        const imported = normalize(join(dirname(path), target));
        const foreign = folderOf(imported) !== folderOf(path) && !COMMON.test(imported);
        if (foreign && typeOnly === undefined && !onlyTypes(list)) wrong.push(`${path} imports ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("what calls a gate or discharges carries no reader of conditions: CEL is larger than all the rest of it", () => {
    const entries = ["client", "protocol", "third-party", "discharge", "discharges"];
    const reached = new Set(entries.map((name) => `src/sdk/${name}.ts`));
    for (const path of reached)
      for (const [, typeOnly, , target = ""] of text(path).matchAll(IMPORT))
        if (typeOnly === undefined) reached.add(normalize(join(dirname(path), target)));
    expect(reached.size).toBeGreaterThan(20);
    expect(matches([...reached], /from "@bufbuild\//)).toEqual([]);
  });

  it("nothing imports the command line or the server but themselves", () => {
    const wrong = sources
      .filter((path) => !/^src\/(cli\/|cli\.ts|server\.ts)/.test(path))
      .filter((path) => /from "\.{1,2}\/(cli|server)[./]/.test(text(path)));
    expect(wrong).toEqual([]);
  });
});

describe("purity", () => {
  /** Where the clock, randomness, the network and the environment enter. The SDK's callers bring their own. */
  const SHELL = /^src\/(server|worker|cli)\.ts$|^src\/(server|cli)\//;
  const pure = sources.filter((path) => !SHELL.test(path));

  it("only the shell touches clock, randomness, network, timers and the process", () => {
    const impure =
      /\bDate\.now\(|new Date\(\)|performance\.now\(|Math\.random\(|getRandomValues|randomUUID|randomBytes|\bprocess\.|setTimeout\(|setInterval\(|setImmediate\(|globalThis\.fetch|[^.\w]fetch\("/;
    expect(matches(pure, impure)).toEqual([]);
  });

  it("only the shell and the embedded store need Node", () => {
    expect(
      matches(
        pure.filter((path) => !/^src\/store\/(sqlite|sqlite-thread|threaded)\.ts$/.test(path)),
        /from "node:/,
      ),
    ).toEqual([]);
  });

  it("nothing makes MACs with node:crypto's createHmac, which is ten times slower on some builds of Node", () => {
    expect(matches(sources, /\bcreateHmac\b/)).toEqual([]);
  });

  it("nothing prints but the command line's runner, and a worker its request lines", () => {
    expect(
      matches(sources, /\bconsole\.|process\.std(out|err)/).filter(
        (line) => !/^src\/(cli|worker)\.ts:/.test(line),
      ),
    ).toEqual([]);
  });
});

describe("style", () => {
  it("a source file has at most 300 lines and says at its head what it guarantees", () => {
    // A list may be as long as what it lists.
    const isLong = (path: string) => path !== "src/limits.ts" && text(path).split("\n").length > 301;
    expect(sources.filter((path) => isLong(path) || !text(path).startsWith("/**"))).toEqual([]);
  });

  it("no `any`, no non-null assertion", () => {
    const loose = /(:|<|as) any\b|\w!\.|\w!;/;
    expect(matches(sources, loose)).toEqual([]);
  });

  it("switches no check off, in a comment either", () => {
    const switched = /@ts-(ignore|nocheck|expect-error)|(oxlint|eslint|biome)-(disable|ignore)/;
    expect(sources.filter((path) => switched.test(text(path)))).toEqual([]);
  });

  it("no notes to self", () => {
    const notes = new RegExp(["TO", "DO|FIX", "ME|XX", "X|HA", "CK"].join(""));
    const read = files.filter(
      (path) => /\.(ts|js|md|yaml|json|wit)$/.test(path) && path !== "package-lock.json",
    );
    expect(read.filter((path) => notes.test(text(path)))).toEqual([]);
  });

  it("every limit has a reason, and is used", () => {
    const lines = text("src/limits.ts").split("\n");
    const everything = sources
      .filter((path) => path !== "src/limits.ts")
      .map(text)
      .join("\n");
    for (const [index, line] of lines.entries()) {
      const [, name] = /^export const (\w+)/.exec(line) ?? [];
      if (name === undefined) continue;
      const before = lines[index - 1] ?? "";
      expect(before.endsWith("*/") || before.startsWith("export const"), `${name} has no reason`).toBe(true);
      const uses = new RegExp(`\\b${name}\\b`);
      expect(
        uses.test(everything) || lines.some((other, at) => at !== index && uses.test(other)),
        `${name} is not used`,
      ).toBe(true);
    }
  });
});
