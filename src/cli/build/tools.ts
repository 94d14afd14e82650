/** Compilers of other people: found on the PATH, run without a shell, and what they say is passed on. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** What came of a build: a module, or what is wrong in words for who builds. */
export class BuildProblem {
  readonly detail: string;

  constructor(detail: string) {
    this.detail = detail;
  }
}

/** Longest output of a compiler that is passed on. */
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** Every program on the PATH with such a name, the first one first; of one folder the newest version first. */
export function findPrograms(path: string, name: RegExp): readonly string[] {
  return path.split(delimiter).flatMap((folder) => {
    try {
      const names = readdirSync(folder).filter((entry) => name.test(entry));
      return names
        .toSorted((a, b) => b.localeCompare(a, "en", { numeric: true }))
        .map((entry) => join(folder, entry));
    } catch {
      return []; // A PATH may name folders that are not there.
    }
  });
}

/** @returns what it printed, or the problem */
export function runProgram(program: string, args: readonly string[]): Promise<string | BuildProblem> {
  return new Promise((resolve) => {
    execFile(program, args, { maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else resolve(new BuildProblem(`${stderr}${stdout}`.trim() || error.message));
    });
  });
}
