/** `postern handler build`: a folder with a handler's source, to the module beside it; and whether it is admitted. */
import { buildHandler } from "./build/build.ts";
import { BuildProblem } from "./build/tools.ts";
import { type Environment, type Outcome, UsageProblem, type Values } from "./command.ts";
import { type ModuleProblem, printProblems } from "./handler-check.ts";
import { isDirectory } from "./policy-folder.ts";
import { admitInChild } from "./throwaway.ts";

interface BuiltHandler {
  readonly folder: string;
  readonly language: string;
  readonly file: string;
  readonly size_bytes: number;
}

export async function buildFolders(
  { env }: Environment,
  _values: Values,
  folders: readonly string[],
): Promise<Outcome> {
  const stranger = folders.find((folder) => !isDirectory(folder));
  if (folders.length === 0) return new UsageProblem("build needs the folder of a handler");
  if (stranger !== undefined) return new UsageProblem(`${stranger} is no folder`);
  const built: BuiltHandler[] = [];
  const problems: (Omit<ModuleProblem, "code"> & { readonly code: string })[] = [];
  const lines: string[] = [];
  for (const folder of folders) {
    const result = await buildHandler(folder, env["PATH"] ?? "");
    if (result instanceof BuildProblem) {
      problems.push({ file: folder, code: "build_failed", detail: result.detail });
      lines.push(`${folder}: not built`, result.detail);
      continue;
    }
    const { language, file, module } = result;
    built.push({ folder, language, file, size_bytes: module.length });
    lines.push(`${file}: ${module.length} bytes, from ${language}`);
    const admission = await admitInChild(module);
    if (admission.ok) continue;
    problems.push(...admission.problems.map((problem) => ({ ...problem, file })));
    lines.push(...printProblems(file, admission.problems));
  }
  const json = { ok: problems.length === 0, problems, built };
  return { json, text: lines.join("\n"), failed: problems.length > 0 };
}
