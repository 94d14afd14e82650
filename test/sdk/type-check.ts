/** TypeScript's compiler on files made up by a test, under the project's own settings. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");

export interface Checked {
  /** `file(line,column): error TS…`, one a line; empty where the files are right. */
  readonly errors: readonly string[];
  /** How often a generic type was instantiated: the compiler's work, the same at each run. */
  readonly instantiations: number;
}

/** @param files their texts by name; they may import from `ROOT` by absolute path */
export async function typeCheck(files: Readonly<Record<string, string>>): Promise<Checked> {
  const directory = mkdtempSync(join(tmpdir(), "postern-types-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
    const config = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: {
        rewriteRelativeImportExtensions: false,
        noUnusedLocals: false,
        typeRoots: [join(ROOT, "node_modules/@types")],
      },
      include: ["."],
    };
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(config));
    const output = await run(directory);
    return {
      errors: output.split("\n").filter((line) => /: error TS|^error TS/.test(line)),
      instantiations: Number(/Instantiations:\s+(\d+)/.exec(output)?.[1]),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function run(directory: string): Promise<string> {
  return new Promise((resolve) => {
    const args = [TSC, "-p", directory, "--extendedDiagnostics", "--pretty", "false"];
    execFile(process.execPath, args, { maxBuffer: 64 * 1024 * 1024 }, (_, stdout) => resolve(stdout));
  });
}

/** A program that goes through a protocol: each message so many times, one after the other. */
export function chain(order: string, messages: readonly string[], times: number): string {
  const steps = messages.flatMap((message) => Array.from({ length: times }, () => message));
  return program(order, messages, steps);
}

function program(order: string, messages: readonly string[], steps: readonly string[]): string {
  return `
    import { bag, type Link, many, msg, protocol, seq, times } from "${ROOT}src/sdk/protocol.ts";
    declare const link: Link;
    const session = seq("o", many("u"), "c");
    const copies = [${"session, ".repeat(20)}] as const;
    const actor = protocol({ ${messages.map((name) => `${name}: msg()`).join(", ")} }, ${order});
    export async function run() {
      const r0 = actor.connect(link);
      ${steps.map((name, i) => `const r${i + 1} = (await r${i}.${name}()).next;`).join("\n")}
      return r${steps.length};
    }`;
}

const TWENTY = Array.from({ length: 20 }, (_, i) => i);
const FIVE_HUNDRED = Array.from({ length: 500 }, (_, i) => `m${i}`);

/** Twenty sessions, each with messages of its own, all opened before any is closed. */
export const INTERLEAVED = program(
  `bag(${TWENTY.map((i) => `seq("open${i}", many("use${i}"), "close${i}")`).join(", ")})`,
  TWENTY.flatMap((i) => [`open${i}`, `use${i}`, `close${i}`]),
  ["open", "use", "close"].flatMap((verb) => TWENTY.map((i) => `${verb}${i}`)),
);

export const LONG = program(
  `seq(${FIVE_HUNDRED.map((name) => `"${name}"`).join(", ")})`,
  FIVE_HUNDRED,
  FIVE_HUNDRED,
);
