/** `postern handler check`: would these modules be admitted? */
import { readFileSync } from "node:fs";
import type { AdmissionProblem } from "../dispatch/admission.ts";
import { type Environment, type Outcome, printable, UsageProblem, type Values } from "./command.ts";
import { messageOf } from "./inputs.ts";
import { admitInChild } from "./throwaway.ts";

export interface ModuleProblem extends AdmissionProblem {
  /** Where there are several modules. */
  readonly file?: string;
}

export async function checkModules(
  _environment: Environment,
  _values: Values,
  files: readonly string[],
): Promise<Outcome> {
  if (files.length === 0) return new UsageProblem("check needs a module");
  const problems: ModuleProblem[] = [];
  const lines: string[] = [];
  for (const file of files) {
    const original = readModuleFile(file);
    if (original instanceof UsageProblem) return original;
    const admission = await admitInChild(original);
    if (admission.ok) {
      lines.push(
        `${file}: no problems; ${original.length} bytes, ${admission.instrumented.length} with metering`,
      );
      continue;
    }
    problems.push(
      ...admission.problems.map((problem) => (files.length > 1 ? { ...problem, file } : problem)),
    );
    lines.push(...printProblems(file, admission.problems));
  }
  return {
    json: { ok: problems.length === 0, problems },
    text: lines.join("\n"),
    failed: problems.length > 0,
  };
}

export function printProblems(file: string, problems: readonly AdmissionProblem[]): readonly string[] {
  return problems.map(({ code, detail }) => `${file}: ${code}: ${printable(detail)}`);
}

export function readModuleFile(file: string): Uint8Array | UsageProblem {
  try {
    return readFileSync(file);
  } catch (error) {
    return new UsageProblem(`${file} cannot be read: ${messageOf(error)}`);
  }
}
