/** Policies and handlers on disk: a tenant's folder, or a folder of them, with `wasm/` beside. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { parsePolicies, type TenantPolicy } from "../config.ts";
import { isRefusal, type Refusal } from "../errors.ts";
import type { PolicyProblem } from "../policy-file.ts";
import { type Admit, admitHandlers, type Modules, publish } from "../publish.ts";
import { caretLines, type Done, UsageProblem } from "./command.ts";
import { messageOf, type OpenStore } from "./inputs.ts";
import { admitInChild } from "./throwaway.ts";

export interface TenantFolder {
  readonly policy: TenantPolicy;
  readonly modules: ReadonlyMap<string, Modules>;
}

export interface FolderProblem {
  /** A file with line and column, or a handler. */
  readonly place: string;
  readonly code: string;
  readonly detail: string;
  readonly position?: PolicyProblem["position"];
  readonly word?: PolicyProblem["word"];
}

export type PolicyFolder =
  | { readonly ok: true; readonly tenants: readonly TenantFolder[] }
  | { readonly ok: false; readonly problems: readonly FolderProblem[] };

export interface Policies {
  readonly tenants: readonly { readonly folder: string; readonly policy: TenantPolicy }[];
  /** Of the other folders. */
  readonly problems: readonly FolderProblem[];
}

/** Reads and parses the policies alone; nothing needs to be built. All problems at once. */
export function readPolicies(directory: string): Policies | UsageProblem {
  const folders = tenantFolders(directory);
  if (folders instanceof UsageProblem) return folders;
  const tenants: { folder: string; policy: TenantPolicy }[] = [];
  const problems: FolderProblem[] = [];
  for (const folder of folders) {
    const policy = parsePolicies(displayPath(folder), readYaml(folder));
    if (Array.isArray(policy)) problems.push(...policy.map(describePolicyProblem));
    else tenants.push({ folder, policy });
  }
  return { tenants, problems };
}

/** Reads, parses and admits everything before anything is published; all problems at once. */
export async function readPolicyFolder(
  directory: string,
  wasmDirectory?: string,
  admit: Admit = admitInChild,
): Promise<PolicyFolder | UsageProblem> {
  const policies = readPolicies(directory);
  if (policies instanceof UsageProblem) return policies;
  const tenants: TenantFolder[] = [];
  const problems: FolderProblem[] = [...policies.problems];
  for (const { folder, policy } of policies.tenants) {
    const handlers = await readHandlers(policy, wasmDirectory ?? join(dirname(folder), "..", "wasm"), admit);
    if (handlers.ok) tenants.push({ policy, modules: handlers.modules });
    else problems.push(...handlers.problems);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, tenants };
}

export function folderFailed(problems: readonly FolderProblem[]): Done {
  const lines = problems.map(
    ({ place, detail, position }) =>
      `${place}: ${detail}${position === undefined ? "" : `\n${caretLines(position)}`}`,
  );
  return { json: { ok: false, problems }, text: lines.join("\n"), failed: true };
}

export function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function tenantFolders(directory: string): readonly string[] | UsageProblem {
  const root = resolve(directory);
  try {
    const entries = readdirSync(root, { withFileTypes: true });
    if (entries.some(({ name }) => name === "tenant.yaml")) return [root];
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(root, name));
    if (folders.length > 0) return folders;
    return new UsageProblem(`${directory} holds no tenant: a folder with a tenant.yaml`);
  } catch (error) {
    return new UsageProblem(`${directory} cannot be read: ${messageOf(error)}`);
  }
}

function readYaml(folder: string): ReadonlyMap<string, string> {
  const names = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  return new Map(names.toSorted().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

function displayPath(folder: string): string {
  const path = relative(process.cwd(), folder);
  return path === "" || path.startsWith("..") ? folder : path;
}

function describePolicyProblem({ file, line, column, ...problem }: PolicyProblem): FolderProblem {
  return { place: `${file}:${line}:${column}`, code: "policy_invalid", ...problem };
}

type Handlers =
  | { readonly ok: true; readonly modules: ReadonlyMap<string, Modules> }
  | { readonly ok: false; readonly problems: readonly FolderProblem[] };

async function readHandlers(policy: TenantPolicy, wasmDirectory: string, admit: Admit): Promise<Handlers> {
  const bytes = new Map<string, Uint8Array>();
  for (const { actor, handler } of Object.values(policy.actors)) {
    const path = join(wasmDirectory, handler.wasm, `${handler.wasm}.wasm`);
    try {
      bytes.set(handler.wasm, readFileSync(path));
    } catch {
      const detail = `actor ${actor} needs ${displayPath(path)}, which is not there; \`postern handler build ${displayPath(dirname(path))}\` builds it`;
      return {
        ok: false,
        problems: [{ place: `${policy.tenant}/${actor}`, code: "handler_missing", detail }],
      };
    }
  }
  const admitted = await admitHandlers(bytes, admit);
  if (admitted.ok) return admitted;
  const problems = admitted.problems.map(({ handler, code, detail }) => ({
    place: `${basename(wasmDirectory)}/${handler}`,
    code,
    detail,
  }));
  return { ok: false, problems };
}

/** @returns the names of the tenants that changed. */
export async function publishAll(
  tenants: readonly TenantFolder[],
  { store, master }: OpenStore,
  random: (length: number) => Uint8Array,
): Promise<readonly string[] | Refusal> {
  const changed: string[] = [];
  for (const { policy, modules } of tenants) {
    const published = await publish(store, policy, modules, master, random);
    if (isRefusal(published)) return published;
    if (published) changed.push(policy.tenant);
  }
  return changed;
}
